"""Bybit's public WebSocket protocol as a server speaks it: the topics there are, and the state of each.

Implements model/dialect.py. The event loop's thread. Raw payloads go on byte for byte; the snapshot that a new
subscriber begins with is made of the payloads that passed.
"""

import json
import re
from collections.abc import Callable, Collection, Sequence

import msgspec
import structlog

from exchanges.bybit.dialect.klines import OpenKlines, kline_message, kline_topic
from exchanges.bybit.dialect.session import BybitSession
from exchanges.bybit.dialect.state import DEPTHS, Book, ShallowBook, Ticker
from exchanges.bybit.intervals import INTERVALS
from model.clock import now_ms
from model.dialect import DialectClient, DialectOptions, RawPayload, Topic, TopicPublisher
from model.intervals import parse_interval
from model.pacing import ThrottledLogger
from model.records import Kline

log = structlog.get_logger()

PREFIX = "/v5/public/"
KINDS = {"publicTrade": "trades", "tickers": "ticker", "allLiquidation": "liquidations"}
BOOK = "orderbook."
TOPICS_LIMIT = 50_000  # books and tickers kept; topics that are only delisted pile up slowly
TOPIC = re.compile(rb'"topic"\s*:\s*"([^"]+)"')
TOPIC_BEGIN = b'{"topic":"'


class BybitDialect:
    """The state of all topics of all markets; see model.dialect.Dialect for the methods."""

    name = "Bybit"

    def __init__(self, options: DialectOptions) -> None:
        self.options = options
        self.paths = frozenset(PREFIX + market for market in options.markets)
        self.unreadable = self.withheld = 0
        self._publisher: TopicPublisher
        self._states: dict[Topic, Book | Ticker] = {}
        self._shallow: dict[Topic, ShallowBook] = {}
        self._open = OpenKlines()
        steps_ms = (parse_interval(text).step_ms for text in options.intervals)
        self._intervals = {INTERVALS[step_ms] for step_ms in steps_ms if step_ms in INTERVALS}
        self._logger = ThrottledLogger(log)

    def start(self, publisher: TopicPublisher) -> None:
        """Publish to `publisher` from now on."""
        self._publisher = publisher

    def session(self, path: str, client: DialectClient) -> Callable[[str | bytes], None]:
        """Return what answers the messages of a client on the path of one market."""
        return BybitSession(client, path.removeprefix(PREFIX), self).received

    def authorized(self, connection_id: str, req_id: str | None = None) -> str:
        """Return Bybit's answer to a right login."""
        answer = {"success": True, "ret_msg": "", "op": "auth", "conn_id": connection_id}
        return json.dumps(answer | ({"req_id": req_id} if req_id else {}), separators=(",", ":"))

    def unauthorized(self, connection_id: str) -> str:
        """Return Bybit's answer to a wrong login, or to a message that came before one."""
        answer = {"success": False, "ret_msg": "error:login first", "op": "auth", "conn_id": connection_id}
        return json.dumps(answer, separators=(",", ":"))

    def topic_of(self, payload: bytes) -> str:
        """Return the topic of a payload; "" where it has none. Fast where it stands first, as Bybit writes it."""
        if payload.startswith(TOPIC_BEGIN):
            return payload[len(TOPIC_BEGIN) : payload.find(b'"', len(TOPIC_BEGIN))].decode("utf-8", "replace")
        match = TOPIC.search(payload)
        return match[1].decode("utf-8", "replace") if match else ""

    def has(self, market: str, topic: str) -> bool:
        """Return whether a client may subscribe to the topic."""
        kind, _, rest = topic.partition(".")
        if kind in ("kline", "orderbook"):
            detail, _, symbol = rest.partition(".")
            if kind == "kline":
                return detail in self._intervals and symbol in self.options.symbols(market)
            is_here = detail in map(str, DEPTHS) and int(detail) <= self.options.depth
            return is_here and "orderbook" in self.options.kinds and symbol in self.options.symbols(market)
        if kind == "allLiquidation" and market == "spot":
            return False
        return KINDS.get(kind) in self.options.kinds and rest in self.options.symbols(market)

    def first_message(self, market: str, topic: str) -> bytes | None:
        """Return the message that a new subscriber begins with; None where the topic has no state, or none yet."""
        state = self._states.get((market, topic))
        if state is not None:
            return state.snapshot()
        if topic.startswith(BOOK):
            return self._first_shallow(market, topic)
        kline = self._open.get(market, topic)
        return kline_message(topic, kline, now_ms(), confirm=False) if kline else None

    def take_raw(self, payloads: Sequence[RawPayload], lost: Collection[Topic]) -> None:
        """Merge payloads into their topics' state and publish them; `lost` names topics that lack older ones."""
        for topic in lost:
            if state := self._states.get(topic):
                state.lost()
        for market, payload in payloads:
            name = self.topic_of(payload)
            if self._keep(market, name, payload):
                self._publisher.publish(market, name, payload)
                if self._shallow and name.startswith(BOOK):
                    self._publish_shallow(market, name, payload)

    def closed(self, market: str, klines: Sequence[Kline]) -> None:
        """Publish closed klines."""
        at_ms = now_ms()
        for kline in klines:
            topic = kline_topic(kline)
            if topic is not None:
                self._open.closed(market, topic, kline)
                self._publish_kline(market, topic, kline, at_ms, confirm=True)

    def opened(self, klines: Sequence[tuple[str, Kline]]) -> None:
        """Publish the present state of the open klines that changed."""
        for market, kline in klines:
            if topic := kline_topic(kline):
                self._open.opened(market, topic, kline)
        at_ms = now_ms()
        for market, topic, kline in self._open.take_changed():
            self._publish_kline(market, topic, kline, at_ms, confirm=False)

    def _publish_kline(self, market: str, topic: str, kline: Kline, at_ms: int, *, confirm: bool) -> None:
        if self._publisher.is_wanted(market, topic):
            payload = kline_message(topic, kline, at_ms, confirm=confirm)
            self._publisher.publish(market, topic, payload, None if confirm else (market, topic, kline.timestamp))

    def _first_shallow(self, market: str, topic: str) -> bytes | None:
        _, depth, symbol = topic.split(".", 2)
        if int(depth) >= self.options.depth:
            return None
        book = self._states.setdefault((market, f"{BOOK}{self.options.depth}.{symbol}"), Book())
        assert isinstance(book, Book)
        shallow = self._shallow.setdefault((market, topic), ShallowBook(topic, int(depth)))
        return shallow.snapshot(book)

    def _publish_shallow(self, market: str, topic: str, payload: bytes) -> None:
        """Publish what a change of the collected book changes in the shallower ones that have subscribers."""
        book, symbol = self._states[market, topic], topic.split(".", 2)[2]
        for depth in DEPTHS:
            name = f"{BOOK}{depth}.{symbol}"
            shallow = self._shallow.get((market, name))
            if shallow is None or not isinstance(book, Book):
                continue
            if not self._publisher.is_wanted(market, name):
                del self._shallow[market, name]
            elif made := shallow.follow(book, is_new=b'"snapshot"' in payload):
                self._publisher.publish(market, name, made, (market, name) if depth == 1 else None)

    def _keep(self, market: str, topic: str, payload: bytes) -> bool:
        """Merge the payload into its topic's state; False where subscribers could not use it."""
        is_book = topic.startswith(BOOK)
        if not (is_book or topic.startswith("tickers.")):
            return bool(topic)
        state = self._states.get((market, topic))
        if state is None:
            if len(self._states) >= TOPICS_LIMIT:
                del self._states[next(iter(self._states))]
            state = self._states[market, topic] = Book() if is_book else Ticker()
        try:
            is_kept = state.apply(payload)
        except (msgspec.DecodeError, ValueError, RecursionError):
            self.unreadable += 1
            state.lost()
            self._logger.warning("websocket_payload_unreadable", topic=topic)
            return False
        self.withheld += not is_kept
        return is_kept
