"""What outages cost: the candles that are incomplete, how what was missed was repaired. Pure; main thread.

Candles shorter than a minute are left out: no exchange has them, and what could be repaired of them was by trades.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from model.events import Repaired, StatusEvent
from model.intervals import interval_name
from model.records import Kline

SHORTEST_MS = 60_000
STAYS_S = 300.0  # so long after it went out a candle counts as one that stays incomplete: repairs take seconds
SETTLED_S, GIVEN_UP_S = 75.0, 180.0  # after an outage: a candle of 1m has closed and is repaired; nothing more comes
CANDLES_MOST = 200_000  # incomplete ones that are remembered, some 20 MB; beyond it the oldest are forgotten
FORGOTTEN_S = 86_400.0  # so long is remembered which candles were told
REPAIRS_MOST = 10_000


class Window(NamedTuple):
    """The window of candles of one market."""

    market: str
    start_ms: int
    interval_ms: int

    @property
    def end_ms(self) -> int:
        """The first millisecond after it."""
        return self.start_ms + self.interval_ms

    @property
    def name(self) -> str:
        """Its interval, as settings write it."""
        return interval_name(self.interval_ms, self.start_ms)


@dataclass
class Incomplete:
    """The symbols whose candle of a window is incomplete since `at_s`: those a person was told of, and the others."""

    at_s: float
    symbols: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Cost:
    """What an outage of trades cost. `candles` stay incomplete: by interval. `hows`: how others were repaired."""

    hows: tuple[str, ...] = ()
    candles: tuple[tuple[str, int], ...] = ()


class Outage(NamedTuple):
    """An outage of trades that is not over."""

    market: str
    symbols: frozenset[str]
    begin_ms: int


class Lost(NamedTuple):
    """Candles that stay incomplete, of one window."""

    window: Window
    symbols: frozenset[str]


class Losses:
    """Incomplete candles and repairs, as they come. `has_klines`: any are made."""

    def __init__(self, *, has_klines: bool) -> None:
        self._has_klines = has_klines
        self._windows: dict[Window, Incomplete] = {}
        self._count = 0
        self._told_count = 0
        self._repairs: deque[Repaired] = deque(maxlen=REPAIRS_MOST)

    def take_klines(self, market: str, klines: Iterable[Kline], now_s: float) -> None:
        """Take klines that went out: incomplete ones, and revisions."""
        for kline in klines:
            window = Window(market, kline.timestamp, kline.interval)
            found = self._windows.get(window)
            if kline.interval < SHORTEST_MS or (kline.complete and found is None):
                continue
            found = found or self._windows.setdefault(window, Incomplete(now_s))
            self._count -= len(found.symbols) + len(found.told)
            if kline.complete:
                found.symbols.discard(kline.symbol)
                found.told.discard(kline.symbol)
            elif kline.symbol not in found.told:
                found.symbols.add(kline.symbol)
            self._count += len(found.symbols) + len(found.told)
            if not (found.symbols or found.told):
                del self._windows[window]
        while self._count > CANDLES_MOST:
            self._forget(next(iter(self._windows)))

    def take(self, event: StatusEvent) -> None:
        """Take one status event."""
        if isinstance(event, Repaired) and event.how in ("ids", "trades", "candle"):
            self._repairs.append(event)

    def is_settled(self, market: str, symbols: Collection[str], span_ms: tuple[int, int], up_s: float) -> bool:
        """Whether what an outage cost is known by now, `up_s` after its end."""
        if not self._has_klines or up_s >= GIVEN_UP_S:
            return True
        if any(lost & found.symbols for _, found, lost in self._overlapping(market, symbols, span_ms)):
            return False
        whole = (each for each in self._of(market, span_ms) if each.how != "candle" or _reaches(each, span_ms[1]))
        return up_s >= SETTLED_S or {*symbols} <= {symbol for event in whole for symbol in event.symbols or ()}

    def cost(self, market: str, symbols: Collection[str], span_ms: tuple[int, int]) -> Cost | None:
        """What an outage of these symbols' trades cost; its incomplete candles count as told. None without klines."""
        if not self._has_klines:
            return None
        wanted = {*symbols}
        hows = {event.how for event in self._of(market, span_ms) if wanted & {*(event.symbols or ())}}
        candles: Counter[str] = Counter()
        for window, found, lost in self._overlapping(market, wanted, span_ms):
            candles[window.name] += len(lost)
            self._tell(found, lost & found.symbols)
        return Cost(tuple(how for how in ("ids", "trades", "candle") if how in hows), tuple(candles.items()))

    def take_lasting(self, spared: Collection[Outage], now_s: float) -> list[Lost]:
        """Take out what stays incomplete and was not told, for a person to be told of it now.

        `spared` are outages that are not over: their end tells what they cost.
        """
        lost = []
        for window, found in self._windows.items():
            if found.symbols and now_s - found.at_s >= STAYS_S and not _is_spared(window, found, spared):
                lost.append(Lost(window, frozenset(found.symbols)))
                self._tell(found, {*found.symbols})
        return lost

    def take_completed(self, now_s: float) -> int:
        """How many candles that were told have become complete, once all have; else 0."""
        for window, found in list(self._windows.items()):
            if found.told and now_s - found.at_s > FORGOTTEN_S:
                self._forget(window)
        if not self._told_count or any(found.told for found in self._windows.values()):
            return 0
        count, self._told_count = self._told_count, 0
        return count

    def _tell(self, found: Incomplete, symbols: set[str]) -> None:
        found.symbols -= symbols
        found.told |= symbols
        self._told_count += len(symbols)

    def _forget(self, window: Window) -> None:
        found = self._windows.pop(window)
        self._count -= len(found.symbols) + len(found.told)
        self._told_count -= len(found.told)  # nobody can say any more that they are complete

    def _overlapping(
        self, market: str, symbols: Collection[str], span_ms: tuple[int, int]
    ) -> Iterator[tuple[Window, Incomplete, set[str]]]:
        wanted = {*symbols}
        for window, found in self._windows.items():
            is_within = window.start_ms <= span_ms[1] and window.end_ms > span_ms[0]
            if window.market == market and is_within and (lost := wanted & (found.symbols | found.told)):
                yield window, found, lost

    def _of(self, market: str, span_ms: tuple[int, int]) -> Iterator[Repaired]:
        """The repairs of a market that overlap a span."""
        for event in self._repairs:
            is_before = event.until_ms is not None and event.until_ms <= span_ms[0]
            if event.market == market and not is_before and (event.from_ms or 0) <= span_ms[1]:
                yield event


def _reaches(event: Repaired, end_ms: int) -> bool:
    """Whether a candle that was replaced is the last one that an outage can have cost, for they close in order."""
    return event.until_ms is not None and event.until_ms >= end_ms


def _is_spared(window: Window, found: Incomplete, spared: Collection[Outage]) -> bool:
    return any(
        each.market == window.market and window.end_ms > each.begin_ms and not found.symbols.isdisjoint(each.symbols)
        for each in spared
    )
