"""Prices and order books kept from streams, for `client.data`; where none is fresh, REST is asked.

Messages come on the streams' threads; `price` and `book` are for any.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Generic

import structlog

from exchanges.bybit.client.base_client import BaseClient
from exchanges.bybit.client.book import LocalBook
from exchanges.bybit.client.dispatch import Message, Subscription
from exchanges.bybit.client.errors import BadAnswerError, RequestError
from exchanges.bybit.client.models import OrderBook
from exchanges.bybit.client.steps import N, Sync
from exchanges.bybit.client.values import decimal_of

log = structlog.get_logger()

FRESH_S = 5.0  # a stream that was silent for longer may be dead: REST is asked instead
BOOK_DEPTH = 200  # levels of the local books
BOOK_DEPTHS = {"option": 100}
REST_DEPTHS = {"option": 25}  # the most market/orderbook gives; the others have more than the local books
BOOKS_MOST = 100  # the books of further symbols come from REST

Key = tuple[str, str]
"""category, symbol"""


@dataclass
class _Book:
    """A local book, its lock, and when its last message came (monotonic seconds)."""

    book: LocalBook = field(default_factory=LocalBook)
    lock: threading.Lock = field(default_factory=threading.Lock)
    updated_s: float = float("-inf")


class Live(Generic[N]):
    """The prices and books of running streams. Thread safe."""

    def __init__(self, client: BaseClient[Sync, N], clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._clock = client, clock
        self._lock = threading.Lock()
        self._prices: dict[Key, tuple[str, float]] = {}  # text, and when it came (monotonic seconds)
        self._books: dict[Key, _Book] = {}
        self._subscriptions: list[Subscription] = []

    def keep(self, subscription: Subscription) -> Subscription:
        """Keep a subscription for `stop`, and start the streams."""
        with self._lock:
            self._subscriptions.append(subscription)
        self._client.websocket.start()
        return subscription

    def stop(self) -> None:
        """Cancel all subscriptions and drop local prices and books."""
        with self._lock:
            gone, self._subscriptions = self._subscriptions, []
            self._prices, self._books = {}, {}
        for subscription in gone:
            subscription.cancel()

    # prices

    def take_ticker(self, key: Key, message: Message) -> None:
        """Record the last price of a ticker message."""
        text = message["data"].get("lastPrice")
        if text:
            with self._lock:
                self._prices[key] = str(text), self._clock()

    def price(self, key: Key) -> N:
        """The last price; raises BybitError."""
        with self._lock:
            text, updated_s = self._prices.get(key, ("", float("-inf")))
        if self._is_fresh(updated_s):
            with contextlib.suppress(RequestError):  # text that is no number: REST is asked
                number: N = self._client.number(decimal_of(text, "lastPrice"))
                return number
        tickers = self._client.market.get_tickers(category=key[0], symbol=key[1]).models
        last = next((ticker.last_price for ticker in tickers if ticker.symbol == key[1]), None)
        if last is None:
            raise BadAnswerError(f"{key[1]} has no last price")
        return last

    # books

    def book(self, key: Key, depth: int) -> OrderBook[N]:
        """The best levels of the local book, or REST's while the local book is unknown; raises BybitError."""
        self._subscribe(key)
        row = self.local_row(key, depth)
        if row is not None:
            return self._typed(row)
        most = min(depth, REST_DEPTHS.get(key[0], depth))
        return self._client.market.get_orderbook(category=key[0], symbol=key[1], limit=most).model

    def local_row(self, key: Key, depth: int) -> dict[str, Any] | None:
        """The best levels of the local book as a row of Bybit's; None where there is none, or it is unknown or old."""
        with self._lock:
            held = self._books.get(key)
        if held is None or not self._is_fresh(held.updated_s):
            return None
        with held.lock:
            return held.book.row(depth)

    @property
    def jumps(self) -> int:
        """How often a local book became unknown because a delta was missing."""
        with self._lock:
            return sum(held.book.jumps for held in self._books.values())

    def _typed(self, row: dict[str, Any]) -> OrderBook[N]:
        model: Any = OrderBook[Decimal] if self._client.number is Decimal else OrderBook[float]
        typed: OrderBook[N] = model.model_validate(row)
        return typed

    def _subscribe(self, key: Key) -> None:
        """Subscribe the book of a symbol, once; not where there are too many, or no streams."""
        with self._lock:
            if key in self._books or len(self._books) >= BOOKS_MOST or not self._client.connection.has_streams:
                return
            begun = self._books[key] = _Book()
        depth = BOOK_DEPTHS.get(key[0], BOOK_DEPTH)
        take = self._taker(begun)
        self.keep(self._client.websocket.subscribe_to_orderbook(key[1], take, depth=depth, category=key[0]))

    def _taker(self, held: _Book) -> Callable[[Message], None]:
        def take(message: Message) -> None:
            with held.lock:
                if not held.book.apply(message):
                    log.info("local_book_unknown", topic=message.get("topic"), jumps=held.book.jumps)
                held.updated_s = self._clock()

        return take

    def _is_fresh(self, updated_s: float) -> bool:
        return self._clock() - updated_s < FRESH_S
