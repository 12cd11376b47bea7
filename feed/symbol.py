"""The order book and the trades of a symbol, as the collector's page gets them: the same form for every exchange.

The collector subscribes them for those who look, keeps the book from snapshots and changes, and sends its best 15
levels five times a second, and trades ten times a second. A thread per symbol reads, and connects anew.
"""

import difflib
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from .api import Api
from .records import FeedError, UnknownSymbolError, UnreachableError, need, read_json
from .sources import quiet
from .table import Table

CONNECT_S, SILENT_S = 5.0, 6.0  # the collector sends something every second
RETRY_FIRST_S, RETRY_CAP_S = 0.5, 8.0
FIRST_S = 15.0  # until the first book has to be there
KEPT = 100_000  # trades
TRY_LATER = 1013


class Best(NamedTuple):
    """The best bid and ask; None where that side is empty."""

    bid: float | None
    bid_size: float | None
    ask: float | None
    ask_size: float | None


class BookState(NamedTuple):
    """An order book at a moment: levels of price and size, best first. `ts`: the exchange's time in ms.

    `unsure`: messages are missing since, for the reason in `why`.
    """

    ts: int = 0
    bids: tuple[tuple[float, float], ...] = ()
    asks: tuple[tuple[float, float], ...] = ()
    unsure: bool = True
    why: str = "nothing has come yet"

    @property
    def best(self) -> Best:
        """The best bid and ask."""
        return Best(*(self.bids[0] if self.bids else (None, None)), *(self.asks[0] if self.asks else (None, None)))


class Trade(NamedTuple):
    """A trade; `side` is the taker's: buy, sell, or "" where the exchange does not say."""

    timestamp: int
    price: float
    size: float
    side: str


class SymbolReader:
    """Reads one symbol on a thread of its own, from the first wait until `close`. `changed` wakes who waits."""

    def __init__(self, api: Api, symbol: str, market: str | None) -> None:
        self._websockets = need("websockets", "An order book or trades")
        self._api, self.symbol, self._market = api, symbol, market
        self.changed = threading.Condition()
        self.state = BookState()
        self.trades: deque[Trade] = deque(maxlen=KEPT)
        self.taken = self.skipped = 0  # trades that came; that the collector left out
        self.outages = 0  # times that trades may have been missed
        self.is_closed = False
        self.error: FeedError | None = None
        self._has_first = False  # what was known of trades when this began
        self._is_fresh = self._was_sure = False  # a book came since it was lost last; ever
        self._book_is = self._tape_is = ""  # states of the collector's own subscriptions; "" before it has answered
        self._thread = threading.Thread(target=self._run, name=f"feed-{symbol}", daemon=True)

    def wait_for_book(self) -> None:
        """Wait for the first order book; FeedError where there is none."""
        self._wait_for("order book", lambda: self._was_sure, lambda: self._book_is == "none")

    def wait_for_trades(self) -> None:
        """Wait until trades are subscribed; FeedError where there are none."""
        self._wait_for("trades", lambda: self._tape_is == "live" and self._has_first, lambda: self._tape_is == "none")

    def _wait_for(self, what: str, is_there: Callable[[], object], is_none: Callable[[], bool]) -> None:
        if self._thread.ident is None:
            self._thread.start()
        with self.changed:
            came = self.changed.wait_for(lambda: self.error or is_there() or is_none(), FIRST_S)
        if self.error is None and is_none():
            self.error = FeedError(f"There is no {what} of {self.symbol} here.")
        elif not came:
            self.error = UnreachableError(f"{self.symbol}: no {what} within {FIRST_S:g} s: {self.state.why}.")
        if self.error:
            self.close()
            raise self.error

    def close(self) -> None:
        """End the thread; does not wait."""
        self.is_closed = True
        with self.changed:
            self.changed.notify_all()

    def next_state(self, known: BookState | None) -> BookState | None:
        """Wait for another book than the one that is known; None where this is closed."""
        with self.changed:
            self.changed.wait_for(lambda: self.is_closed or self.state is not known)
            return None if self.is_closed else self.state

    def next_trades(self, taken: int) -> tuple[list[Trade], int]:
        """Wait for more trades than were taken; returns them, and the count by now; none where this is closed."""
        with self.changed:
            self.changed.wait_for(lambda: self.is_closed or self.taken > taken)
            count = 0 if self.is_closed else min(self.taken - taken, len(self.trades))
            return list(islice(self.trades, len(self.trades) - count, None)), self.taken

    # -- its thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self.is_closed:
            begun_s = time.monotonic()
            try:
                self._read()
            except FeedError as error:
                self._doubt(str(error))
                if not self._book_is:  # a mistake of the user's, or nothing listens
                    self.error = error
                    self.close()
                    return
            except (OSError, ValueError, LookupError, TypeError, self._websockets.WebSocketException) as error:
                self._doubt(f"the connection to the collector ended: {error or type(error).__name__}")
            failures = 0 if time.monotonic() - begun_s > RETRY_CAP_S else failures + 1
            with self.changed:
                self.changed.wait_for(lambda: self.is_closed, min(RETRY_FIRST_S * 2 ** min(failures, 9), RETRY_CAP_S))

    def _read(self) -> None:
        from websockets.exceptions import InvalidStatus
        from websockets.sync.client import connect

        try:
            socket = connect(
                self._api.live_url,
                additional_headers=self._api.headers,
                open_timeout=CONNECT_S,
                close_timeout=1,
                max_size=None,
                logger=quiet(),
            )
        except InvalidStatus as error:
            body = error.response.body or b""
            raise FeedError(
                f"{self._api.live_url} refuses ({error.response.status_code}): {body.decode(errors='replace').strip()}"
            ) from None
        except OSError as error:
            raise UnreachableError(f"No collector answers at {self._api.base} ({error}).") from None
        with socket as opened:
            while not self.is_closed:
                try:
                    message = read_json(opened.recv(SILENT_S))
                except TimeoutError:
                    raise OSError(f"nothing came for {SILENT_S:g} s") from None
                except self._websockets.ConnectionClosed:
                    if opened.close_code == TRY_LATER:
                        raise FeedError(f"{self._api.base}: {opened.close_reason}") from None
                    raise
                if view := self._take(message):
                    opened.send(json.dumps(view))

    def _take(self, message: dict[str, Any]) -> dict[str, str] | None:
        """Take a message; returns the request to look at the symbol where it is due."""
        kind = message["type"]
        if kind in ("hello", "symbols"):
            return self._view(message["markets"]) if kind == "hello" or not self._book_is else None
        if kind == "error":
            raise FeedError(f"{self._api.base}: {message['text']}")
        if message.get("symbol") != self.symbol:
            return None
        with self.changed:
            if kind == "book":
                self._take_book(message)
            elif kind == "trades":
                self._take_trades(message)
            elif kind == "feed":
                self._take_feed(message)
            self.changed.notify_all()
        return None

    def _take_book(self, message: dict[str, Any]) -> None:
        """Take a book. It may come before the state does that says that it is live: states follow every half second."""
        self._is_fresh, is_live = True, self._book_is == "live"
        sides = _levels(message["bids"]), _levels(message["asks"])
        self.state = BookState(message["ts"], *sides, not is_live, "" if is_live else self.state.why)
        self._was_sure = self._was_sure or is_live

    def _take_feed(self, message: dict[str, Any]) -> None:
        """Take the states of the collector's own subscriptions."""
        book, tape = message["book"], message["tape"]
        if "busy" in (book, tape) and not self._book_is:
            raise FeedError(f"{self._api.base}: {message['text']}")
        if book != "live":
            self._is_fresh = False
            self.state = self.state._replace(unsure=True, why=message["text"] or f"the order book is {book}")
        elif self._is_fresh:
            self.state = self.state._replace(unsure=False, why="")
        self._was_sure = self._was_sure or not self.state.unsure
        self.outages += tape == "lost" and self._tape_is != "lost"
        self._book_is, self._tape_is = book, tape

    def _take_trades(self, message: dict[str, Any]) -> None:
        trades = [Trade(ms, float(price), float(size), side) for ms, price, size, side in message["rows"]]
        if message["is_first"]:
            trades = _unknown(trades, self.trades)
        self._has_first = True
        self.trades.extend(trades)
        self.taken += len(trades)
        self.skipped += message["skipped"]

    def _view(self, markets: dict[str, Any]) -> dict[str, str] | None:
        if not markets:
            return None  # it is starting: the symbols follow
        market = self._market or next((name for name, each in markets.items() if self.symbol in each["symbols"]), None)
        market = market or next(iter(markets))
        if market not in markets:
            raise FeedError(f"{market} is not collected at {self._api.base}, but {', '.join(markets)}.")
        spec = markets[market]
        if self.symbol not in spec["symbols"]:
            near = difflib.get_close_matches(self.symbol.upper(), spec["symbols"]) or spec["symbols"][:5]
            raise UnknownSymbolError(f"{self.symbol} is not collected in {market}.", near)
        return {"op": "view", "market": market, "symbol": self.symbol, "interval": spec["intervals"][0]}

    def _doubt(self, why: str) -> None:
        with self.changed:
            self.state, self._is_fresh = self.state._replace(unsure=True, why=why), False
            self.outages += bool(self._book_is)
            self.changed.notify_all()


class Book:
    """An order book that follows the market: its attributes are of now. Iterating waits for each change."""

    def __init__(self, reader: SymbolReader) -> None:
        self._reader = reader

    @property
    def state(self) -> BookState:
        """The whole book at one moment."""
        return self._reader.state

    @property
    def best(self) -> Best:
        """The best bid and ask, with their sizes."""
        return self.state.best

    @property
    def bids(self) -> tuple[tuple[float, float], ...]:
        """Price and size of each bid, best first."""
        return self.state.bids

    @property
    def asks(self) -> tuple[tuple[float, float], ...]:
        """Price and size of each ask, best first."""
        return self.state.asks

    @property
    def unsure(self) -> bool:
        """Whether messages are missing since: between a gap and its repair, over an outage."""
        return self.state.unsure

    def __iter__(self) -> Iterator[BookState]:
        state: BookState | None = None
        while (state := self._reader.next_state(state)) is not None:
            yield state

    def __repr__(self) -> str:
        return f"Book({self._reader.symbol}, {self.best}{', unsure: ' + self.state.why if self.unsure else ''})"

    def close(self) -> None:
        """Follow it no more."""
        self._reader.close()


class Trades:
    """The trades of the last seconds, since they were asked for. Iterating waits for each."""

    def __init__(self, reader: SymbolReader, seconds: float) -> None:
        self._reader, self._seconds = reader, seconds

    @property
    def skipped(self) -> int:
        """How many the collector left out in floods of more than 1,000 a second."""
        return self._reader.skipped

    @property
    def outages(self) -> int:
        """How many times some may have been missed: the connection to the collector, or its own, was away."""
        return self._reader.outages

    def rows(self) -> list[Trade]:
        """Return those of the last seconds, oldest first."""
        with self._reader.changed:
            trades = list(self._reader.trades)
        since_ms = (time.time() - self._seconds) * 1000
        return [trade for trade in trades if trade.timestamp >= since_ms]

    def table(self) -> Table:
        """Return them as a table."""
        rows = self.rows()
        columns: dict[str, list[Any]] = {"symbol": [self._reader.symbol] * len(rows)}
        return Table(columns | {name: [getattr(row, name) for row in rows] for name in Trade._fields})

    def to_pandas(self) -> Any:
        """Return them as a DataFrame."""
        return self.table().to_pandas()

    def __len__(self) -> int:
        return len(self.rows())

    def __iter__(self) -> Iterator[Trade]:
        return self._since(self._reader.taken)

    def _since(self, taken: int) -> Iterator[Trade]:
        trades, taken = self._reader.next_trades(taken)
        while trades:
            yield from trades
            trades, taken = self._reader.next_trades(taken)

    def close(self) -> None:
        """Follow them no more."""
        self._reader.close()


def _levels(rows: list[list[str]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(price), float(size)) for price, size in rows)


def _unknown(trades: list[Trade], known: deque[Trade]) -> list[Trade]:
    """What is new of the newest trades after an outage: later than those that are known, or more of the same moment."""
    if not known:
        return trades
    last_ms = known[-1].timestamp
    had = Counter(trade for trade in known if trade.timestamp == last_ms)
    found = []
    for trade in trades:
        if trade.timestamp > last_ms:
            found.append(trade)
        elif trade.timestamp == last_ms:
            had[trade] -= 1
            if had[trade] < 0:
                found.append(trade)
    return found
