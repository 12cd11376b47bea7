"""Everything the Bybit-speaking paths know: which topics there are, what each says now, who listens.

The event loop's thread. Raw payloads go on byte for byte; snapshots for newcomers are made from what passed.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import msgspec
import structlog

from consumers.web.bridge import Raw, Topic, topic_of
from consumers.web.fanout import Fanout
from consumers.web.frames import Message
from exchanges.bybit.dialect.depth import DEPTHS, ShallowBook
from exchanges.bybit.dialect.klines import OpenKlines, kline_message, kline_topic
from exchanges.bybit.dialect.state import Book, Ticker
from exchanges.bybit.intervals import INTERVALS
from model.clock import now_ms
from model.intervals import parse_interval
from model.pacing import LogThrottle
from model.records import Kline

log = structlog.get_logger()

PREFIX = "/v5/public/"
KINDS = {"publicTrade": "trades", "tickers": "ticker", "allLiquidation": "liquidations"}
BOOK = "orderbook."
TOPICS_LIMIT = 50_000  # books and tickers kept; topics that are only delisted pile up slowly


def _no_symbols(_market: str) -> Collection[str]:
    return ()


@dataclass(frozen=True)
class BybitOptions:
    """What can be asked for: `intervals` as the settings name them (1m, 1D), `kinds` as RAW_STREAMS does.

    `symbols` gives a market's symbols as they are now. `mode` is off, auth (a login as on the other path, or Bybit's
    own) or open.
    """

    mode: str = "off"
    markets: tuple[str, ...] = ("linear",)
    kinds: tuple[str, ...] = ("trades", "orderbook", "ticker", "liquidations")
    depth: int = 50
    intervals: tuple[str, ...] = ("1m",)
    symbols: Callable[[str], Collection[str]] = field(default=_no_symbols)
    open_klines_s: float = 1.0

    @property
    def paths(self) -> frozenset[str]:
        """The paths served."""
        return frozenset(PREFIX + market for market in self.markets) if self.mode != "off" else frozenset()


class BybitMarkets:
    """The state of all topics of all markets."""

    def __init__(self, options: BybitOptions, fanout: Fanout) -> None:
        self.options = options
        self._fanout = fanout
        self._states: dict[Topic, Book | Ticker] = {}
        self._shallow: dict[Topic, ShallowBook] = {}
        self._open = OpenKlines()
        steps_ms = (parse_interval(text).step_ms for text in options.intervals)
        self._intervals = {INTERVALS[step_ms] for step_ms in steps_ms if step_ms in INTERVALS}
        self._throttle = LogThrottle()
        self.unreadable = self.withheld = 0

    def has(self, market: str, topic: str) -> bool:
        """Say whether there is such a topic here."""
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
        """Return what a new subscriber gets at once; None where the topic has no state, or none yet."""
        state = self._states.get((market, topic))
        if state is not None:
            return state.snapshot()
        if topic.startswith(BOOK):
            return self._first_shallow(market, topic)
        kline = self._open.get(market, topic)
        return kline_message(topic, kline, now_ms(), confirm=False) if kline else None

    def take_raw(self, raws: Sequence[Raw], lost: Collection[Topic]) -> None:
        """Take payloads in their order; `lost` names the topics of which older ones are missing."""
        for topic in lost:
            if state := self._states.get(topic):
                state.lost()
        for market, payload in raws:
            topic_name = topic_of(payload)
            if self._keep(market, topic_name, payload):
                self._publish(market, topic_name, payload)
                if self._shallow and topic_name.startswith(BOOK):
                    self._publish_shallow(market, topic_name, payload)

    def closed(self, market: str, klines: Sequence[Kline]) -> None:
        """Send closed klines."""
        at_ms = now_ms()
        for kline in klines:
            topic = kline_topic(kline)
            if topic is not None:
                self._open.closed(market, topic, kline)
                self._publish_made(market, topic, kline, at_ms, confirm=True)

    def opened(self, klines: Sequence[tuple[str, Kline]]) -> None:
        """Send the present state of open klines that changed."""
        for market, kline in klines:
            if topic := kline_topic(kline):
                self._open.opened(market, topic, kline)
        at_ms = now_ms()
        for market, topic, kline in self._open.take_changed():
            self._publish_made(market, topic, kline, at_ms, confirm=False)

    def _publish_made(self, market: str, topic: str, kline: Kline, at_ms: int, *, confirm: bool) -> None:
        if groups := self._fanout.wanting(key_of(market, topic)):
            payload = kline_message(topic, kline, at_ms, confirm=confirm)
            message = Message(payload, None if confirm else (market, topic, kline.timestamp))
            for group in groups:
                self._fanout.put(group, message)

    def _publish(self, market: str, topic: str, payload: bytes) -> None:
        groups = self._fanout.wanting(key_of(market, topic))
        if groups:
            message = Message(payload)
            for group in groups:
                self._fanout.put(group, message)

    def _first_shallow(self, market: str, topic: str) -> bytes | None:
        _, depth, symbol = topic.split(".", 2)
        if int(depth) >= self.options.depth:
            return None
        book = self._states.get((market, f"{BOOK}{self.options.depth}.{symbol}"))
        if not isinstance(book, Book):
            book = self._states[market, f"{BOOK}{self.options.depth}.{symbol}"] = Book()
        shallow = self._shallow.setdefault((market, topic), ShallowBook(topic, int(depth)))
        return shallow.snapshot(book)

    def _publish_shallow(self, market: str, topic: str, payload: bytes) -> None:
        """Send what listeners of shallower books see of a change."""
        book, symbol = self._states[market, topic], topic.split(".", 2)[2]
        for depth in DEPTHS:
            name = f"{BOOK}{depth}.{symbol}"
            shallow = self._shallow.get((market, name))
            if shallow is None or not isinstance(book, Book):
                continue
            groups = self._fanout.wanting(key_of(market, name))
            if not groups:
                del self._shallow[market, name]
            elif made := shallow.follow(book, is_new=b'"snapshot"' in payload):
                message = Message(made, (market, name) if depth == 1 else None)
                for group in groups:
                    self._fanout.put(group, message)

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
            self._complain(topic)
            return False
        self.withheld += not is_kept
        return is_kept

    def _complain(self, topic: str) -> None:
        held = self._throttle.allow("unreadable", time.monotonic())
        if held is not None:
            log.warning("websocket_payload_unreadable", topic=topic, held_back=held)


def key_of(market: str, topic: str) -> str:
    """Name a topic among those of all markets."""
    return f"{market}:{topic}"
