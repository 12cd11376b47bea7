"""What the page needs of the collector: options and ports, and the markets that a page may look at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from consumers.web.live.history import Past, ReadCandles
from model.intervals import Interval

Level = Sequence[str]
"""Price and size."""

Trade = Sequence[Any]
"""Time in ms, price, size, and the taker's side: buy, sell or ""."""


@dataclass(frozen=True)
class Book:
    """The best levels of an order book, best first; `ts` is the exchange's time, ms."""

    ts: int
    bids: Sequence[Level]
    asks: Sequence[Level]


class SymbolFeed(Protocol):
    """The order book and the trades of one symbol, subscribed for pages alone. Never blocks."""

    def states(self) -> tuple[str, str, str]:
        """The state of the book and of the tape (connecting, live, lost, none), and a sentence where one is needed."""

    def book(self, levels: int, *, changed: bool) -> Book | None:
        """The book; None where there is none, or `changed` and it is still the one of the last call."""

    def take_trades(self, most: int) -> tuple[list[Trade], int]:
        """The newest trades since the last call, oldest first, and how many more there were."""

    def recent_trades(self) -> list[Trade]:
        """The newest trades that are known, oldest first, whether taken or not."""

    def close(self) -> object:
        """End its connections."""


@dataclass(frozen=True)
class PageMarket:
    """One market as pages show it. `klines`: they are made here, of `intervals`; else those are the exchange's."""

    symbols: Sequence[str]
    intervals: Sequence[Interval]
    kinds: Sequence[str]
    klines: bool
    has_book: bool
    has_tape: bool


Markets = Mapping[str, PageMarket]
"""By name; another object whenever something changed."""


def no_past(_market: str, _symbol: str, _interval: Interval, _from_ms: int, _until_ms: int) -> Past:
    """Read nothing: the ReadCandles where the exchange's REST API is not asked."""
    return Past(note="The exchange's history is not read here.")


@dataclass(frozen=True)
class PageOptions:
    """Where pages get what they show.

    `watch(market, symbol)` opens the book and the trades of a symbol; `strip()` returns the figures of the strip, every
    second while a page is open; `tick()` is called twice a second while a symbol is watched. `now_ms()` is the
    exchange's clock. `has_klines`: some are made here. `facts` go into `hello`.
    """

    exchange: str
    version: str
    markets: Callable[[], Markets]
    watch: Callable[[str, str], SymbolFeed]
    read_candles: ReadCandles = no_past
    strip: Callable[[], Mapping[str, Any]] = dict
    tick: Callable[[], object] = lambda: None
    now_ms: Callable[[], int] = lambda: 0
    has_klines: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)
