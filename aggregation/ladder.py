"""The intervals of one market: windows folded from the shortest to the longest, corrected, and made klines.

Pure; one thread. Trades are counted once, into the longest interval that divides all asked for; every longer interval
is rolled up from closed windows of a shorter one. Knows nothing of feeds, gaps and doubles.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from aggregation import bars as b
from aggregation.bars import Ints
from aggregation.doubts import Doubts
from aggregation.intervals import DAY_MS, Interval, base_of, sources_of
from aggregation.kline import Kline
from aggregation.level import FROM_EXCHANGE, NO_WINDOW, REVISION, Level
from aggregation.mailbox import CandleLike
from aggregation.records import klines_of, turnover_units
from aggregation.symbols import Symbols

TOGETHER = 500  # klines that leave at once where many close together: some three milliseconds of work with them

Changes = dict[tuple[int, int, int], None]
"""Closed windows as (level, row, slot), in the order in which they changed."""


@dataclass
class TableCounts:
    """What happened to trades, since the start."""

    trades: int = 0
    late_amended: int = 0
    late_dropped: int = 0
    refused: int = 0
    klines: int = 0
    revisions: int = 0
    gaps: int = 0
    duplicates: int = 0
    forgotten: int = 0  # of the refused: so old that nobody knows any more whether they were counted


class Ladder:
    """The levels, shortest first. `grown(rows)` is told when there are more symbols; counts go to `counts`."""

    def __init__(
        self,
        intervals: Iterable[Interval],
        counts: TableCounts,
        grown: Callable[[int], None],
        *,
        prev_close_opens: bool,
        inverse: bool,
    ) -> None:
        distinct = {(interval.step_ms, interval.anchor_ms): interval for interval in intervals}  # 60s is 1m
        wanted = sorted(distinct.values(), key=lambda i: i.step_ms or 31 * DAY_MS)
        if not wanted:
            raise ValueError("no kline interval given: name at least one, for example 1m")
        base = base_of(wanted)
        ladder = wanted if base in wanted else [base, *wanted]
        self._wanted = [interval in wanted for interval in ladder]
        self._sources = sources_of(ladder)
        self.levels = [Level(interval, prev_close_opens=prev_close_opens) for interval in ladder]
        self.symbols = Symbols(self._grow, self._rescaled)
        self._counts, self._grown, self._inverse = counts, grown, inverse

    @property
    def base(self) -> Level:
        """The level that trades are counted into."""
        return self.levels[0]

    def folded(self, bars: Ints, unproven_until: Ints) -> Iterator[list[Kline]]:
        """Fold bars into the base and its closed windows into the longer intervals, shortest first.

        All of it is done before the first klines come out: these are made batch by batch, as somebody takes them.
        """
        closed = [self.levels[0].fold_trades(bars, unproven_until)]
        for level, source in zip(self.levels[1:], self._sources[1:], strict=True):
            children = closed[source][: b.COLUMNS]
            over = level.fold_children(children, self.levels[source].interval) if children.shape[1] else children
            closed.append(over)
        klines: list[Kline] = []
        for level, windows, wanted in zip(self.levels, closed, self._wanted, strict=True):
            if wanted and windows.shape[1]:
                klines += klines_of(level, windows, self.symbols, inverse=self._inverse)
                if len(klines) >= TOGETHER:
                    self._counts.klines += len(klines)
                    yield klines
                    klines = []
        self._counts.klines += len(klines)
        yield klines

    def open_klines(self) -> list[Kline]:
        """Every candle that is open, as it is now; none of them is complete. Changes nothing."""
        klines: list[Kline] = []
        bars: list[Ints] = []
        if not (self.levels[0].open_bars[b.START] != NO_WINDOW).any():
            return klines
        for number, level in enumerate(self.levels):
            segs, windows = level.open_windows(bars[self._sources[number]] if number else None)
            bars.append(segs)
            if self._wanted[number]:
                klines += klines_of(level, windows, self.symbols, inverse=self._inverse)
        return klines

    # -- late trades ------------------------------------------------------------------------------------

    def amend(self, late: Ints) -> Changes:
        """Correct the windows that late trades (bars) belong to; the closed ones that changed."""
        changed: Changes = {}
        for i in range(late.shape[1]):
            bar = late[:, [i]]
            slots, is_counted = self._amend_one(int(bar[b.ROW, 0]), bar)
            changed |= dict.fromkeys(slots)
            if is_counted:
                self._counts.late_amended += int(bar[b.COUNT, 0])
            else:
                self._counts.late_dropped += int(bar[b.COUNT, 0])
        return changed

    def reissued(self, changed: Changes) -> list[Kline]:
        """One revision of each changed window, however much changed in it."""
        klines: list[Kline] = []
        for index, row, slot in sorted(changed, key=self._by_level_and_start):
            klines += self.revised(row, [(self.levels[index], [slot])])
        return klines

    def _by_level_and_start(self, key: tuple[int, int, int]) -> tuple[int, int, int]:
        index, row, slot = key
        return index, row, int(self.levels[index].closed[b.START, row, slot])

    def _amend_one(self, row: int, late: Ints) -> tuple[list[tuple[int, int, int]], bool]:
        """Count late trades (one bar) once at every interval.

        Returns the closed windows that changed as (level, row, slot), and whether any window took the trades in.
        A window still open takes them in and hands them on when it closes, so the intervals above must not.
        """
        changed: list[tuple[int, int, int]] = []
        passed_on, is_counted = [False] * len(self.levels), False
        for index, level in enumerate(self.levels):
            source = self._sources[index]
            if (source >= 0 and passed_on[source]) or level.amend_open(row, late):
                passed_on[index] = True
            elif level.knows_better(row, late):
                is_counted = True
            else:
                changed += [(index, row, slot) for slot in level.amend_closed(row, late)]
        return changed, is_counted or bool(changed) or any(passed_on)

    # -- the exchange's own candles --------------------------------------------------------------------

    def correct(self, kline: Kline, candle: CandleLike) -> list[Kline]:
        """Put the exchange's candle in the place of a kline that went out; returns revisions of all that changes.

        A window that was healed meanwhile stays as it is; one that is forgotten leaves as a record of its own.
        """
        row = int(self.symbols.rows([kline.symbol])[0])
        level, slot = self._window_of(row, kline)
        units = self.symbols.exact_units(row, (candle.open, candle.high, candle.low, candle.close), candle.volume)
        if level is None or slot is None or units is None:
            self._counts.revisions += 1
            return [_as_the_exchange_has_it(kline, candle)]
        if level.closed[FROM_EXCHANGE, row, slot] or (not kline.complete and level.is_complete(row, slot)):
            return []
        scales = int(self.symbols.price_scale[row]), int(self.symbols.size_scale[row])
        turnover = turnover_units(candle.turnover, *scales, inverse=self._inverse)
        return self.revised(row, [(level, level.replace(row, slot, *units, turnover))])

    def _window_of(self, row: int, kline: Kline) -> tuple[Level | None, int | None]:
        start = np.array([kline.timestamp])
        for level in self.levels:
            interval = level.interval
            if interval.start_of(start) == start and interval.end_of(start) == start + kline.interval:
                return level, level.slot_of(row, kline.timestamp)
        return None, None

    def revised(self, row: int, changes: Iterable[tuple[Level, list[int]]]) -> list[Kline]:
        """Closed windows of `row` that changed, as klines of one revision more."""
        klines: list[Kline] = []
        for level, slots in changes:
            level.closed[REVISION, row, slots] += 1
            if slots and self._wanted[self.levels.index(level)]:
                klines += klines_of(level, level.closed[:, row, slots], self.symbols, inverse=self._inverse)
        self._counts.revisions += len(klines)
        return klines

    # -- one symbol ------------------------------------------------------------------------------------

    def forget(self, row: int) -> None:
        """Be as if `row` had never been seen."""
        for level in self.levels:
            level.forget(row)

    def distrust(self, row: int, from_ms: int) -> list[Kline]:
        """Nothing is proven of `row` since `from_ms`; revisions of what went out as complete."""
        return self.revised(row, [(level, level.distrust(row, from_ms)) for level in self.levels])

    def trust(self, row: int, from_ms: int, doubts: Doubts) -> Changes:
        """Take that back where no doubt is left; the closed windows that changed."""
        return {
            (index, row, slot): None
            for index, level in enumerate(self.levels)
            for slot in level.trust(row, from_ms, doubts)
        }

    def seed_open(self, row: int, start_ms: int, price: int) -> None:
        """The first window of all, which begins at `start_ms`, opens at `price`."""
        for level in self.levels:
            level.seed_open(row, start_ms, price)

    def _rescaled(self, row: int, price: int, size: int) -> bool:
        if not self.levels[0].has_traded(row):
            return True
        turnover = 1 if self._inverse else price * size  # inverse: in coins, whatever the ticks and lots are
        if not all(level.can_rescale(row, price, size, turnover) for level in self.levels):
            return False
        for level in self.levels:
            level.rescale(row, price, size, turnover)
        return True

    def _grow(self, rows: int) -> None:
        for level in self.levels:
            level.grow(rows)
        self._grown(rows)


def _as_the_exchange_has_it(kline: Kline, candle: CandleLike) -> Kline:
    """A revision; the count of trades stays that of the trades seen, for the exchange does not tell it."""
    names = ("open", "high", "low", "close", "volume", "turnover")
    values = {name: getattr(candle, name) for name in names}
    return replace(kline, **values, complete=True, source="exchange", revision=kline.revision + 1)
