"""The intervals of one market: windows rolled up from the shortest to the longest, corrected, and made klines.

Pure; one thread. Trades are counted once, into the longest interval that divides all asked for; every longer interval
is rolled up from closed windows of a shorter one. Symbols whose numbers an int64 does not hold have levels of their
own, in Python's integers: some 5 us a trade, for these symbols alone. Feeds and duplicates are not handled here.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from msgspec.structs import replace

from aggregation.klines import bars as b
from aggregation.klines.arithmetic import Arithmetic
from aggregation.klines.bars import Ints
from aggregation.klines.closed import CONTRACT, FROM_EXCHANGE, NO_WINDOW, OPEN_MS
from aggregation.klines.contracts import UNKNOWN, SizeOf, SymbolContracts
from aggregation.klines.decimals import EXACT_LIMIT, WIDEST_SCALE, decimals_of, units_of
from aggregation.klines.records import klines_of, turnover_scale
from aggregation.klines.retired import NEVER
from aggregation.klines.symbols import Symbols
from aggregation.klines.windows import IntervalWindows
from aggregation.recovery.coverage import CoverageGaps
from model.intervals import DAY_MS, Interval, base_of, sources_of
from model.ports import Report
from model.records import Candle, Kline

HEADROOM = 2.0**61  # of an int64, that no sum may reach: twice as much still does not wrap
NONE: Ints = np.zeros(0, np.int64)
CORRECTED_KEPT = 10_000  # klines whose windows are forgotten and which were corrected: their revisions
KLINES_AT_ONCE = 200  # that leave together where many close: a millisecond of work with them

Changes = dict[tuple[int, int, int], None]
"""Closed windows as (level, row, slot), in the order in which they changed."""


@dataclass
class TableCounts:
    """Counts of trades by their fate, since the start."""

    trades: int = 0
    late_amended: int = 0
    late_dropped: int = 0
    refused: int = 0
    klines: int = 0
    revisions: int = 0
    gaps: int = 0
    duplicates: int = 0
    forgotten: int = 0  # of the refused: so old that their ids are forgotten, and they may have been counted


class IntervalRollup:
    """The windows of all intervals, a level each, shortest first.

    `grown(rows)` is called when there are more symbols; counts go to `counts`. `size_of` gives the contract size of a
    symbol where `arithmetic` needs one; `size_changed(row, from_ms, until_ms)` is called where it has become another.
    """

    def __init__(
        self,
        intervals: Iterable[Interval],
        counts: TableCounts,
        grown: Callable[[int], None],
        *,
        arithmetic: Arithmetic,
        size_of: SizeOf | None,
        report: Report,
        size_changed: Callable[[int, int, int], object],
        klines_at_once: int = KLINES_AT_ONCE,
    ) -> None:
        self._klines_at_once = klines_at_once
        distinct = {(interval.step_ms, interval.anchor_ms): interval for interval in intervals}  # 60s is 1m
        wanted = sorted(distinct.values(), key=lambda i: i.step_ms or 31 * DAY_MS)
        if not wanted:
            raise ValueError("no kline interval given: name at least one, for example 1m")
        base = base_of(wanted)
        made = wanted if base in wanted else [base, *wanted]
        self._wanted = [interval in wanted for interval in made]
        self._sources = sources_of(made)
        self._arithmetic, self.contracts = arithmetic, SymbolContracts(arithmetic, size_of, report)
        self._size_changed = size_changed
        self.levels = [self._windows(interval) for interval in made]
        self._wide_levels: list[IntervalWindows] = []  # none before a symbol needs them
        self._reserved = 0.0, 0.0  # no volume, no turnover (its high limb) of a window in int64 is above it
        self.symbols = Symbols(self._grow, self._rescaled, self._widened)
        self._counts, self._grown = counts, grown
        self._corrected: dict[tuple[str, int, int], Kline] = {}  # of forgotten windows, oldest first

    @property
    def base(self) -> Interval:
        """The interval that trades are counted into."""
        return self.levels[0].interval

    @property
    def skipped_windows(self) -> int:
        """Windows left out because a symbol was silent for longer than can be filled in."""
        return sum(level.skipped for level in (*self.levels, *self._wide_levels))

    def base_of(self, row: int) -> IntervalWindows:
        """The level that trades of `row` are counted into."""
        return self._levels_of(row)[0]

    def open_starts(self) -> Ints:
        """Starts of the open window of each row of the base, NO_WINDOW where there is none."""
        starts: Ints = self.levels[0].open_bars[b.START]
        if not self.symbols.has_wide:
            return starts
        wide_starts = b.ints(self._wide_levels[0].open_bars[b.START])
        return b.ints(np.where(self.symbols.is_wide, wide_starts, starts))

    def add_bars(self, bars: Ints, unverified_until: Ints) -> Iterator[list[Kline]]:
        """Add bars to the base, and its closed windows to the longer intervals, shortest first.

        All windows are closed before the first klines come out: these are made batch by batch, as the caller takes
        them. Bars are all of symbols in Python's integers and have that type, or none is.
        """
        levels = self._wide_levels if bars.dtype == object else self.levels
        klines = self._observe_sizes(levels, bars) if self.contracts.are_given else []
        closed = [levels[0].add_trades(bars, unverified_until)]
        for level, source in zip(levels[1:], self._sources[1:], strict=True):
            children = closed[source][: b.COLUMNS]
            over = level.add_children(children, levels[source].interval) if children.shape[1] else children
            closed.append(over)
        for level, windows, wanted in zip(levels, closed, self._wanted, strict=True):
            for first in range(0, windows.shape[1] if wanted else 0, self._klines_at_once):
                klines += self._klines(level, windows[:, first : first + self._klines_at_once])
                if len(klines) >= self._klines_at_once:
                    self._counts.klines += len(klines)
                    yield klines
                    klines = []
        self._counts.klines += len(klines)
        yield klines

    def closing(self, until: Ints, unverified_until: Ints) -> Iterator[list[Kline]]:
        """Close the windows of the base that begin before `until` of their row, where the open one then begins."""
        for levels in self._all_levels():
            starts = levels[0].open_bars[b.START]
            rows = np.flatnonzero((starts < until) & (starts != NO_WINDOW))
            if len(rows):
                bars = b.empty_bars(rows, until[rows], levels[0].dtype)
                yield from self.add_bars(bars, unverified_until)

    def last_close_ms(self, symbol: str, step_ms: int) -> int | None:
        """The end of the last window that has closed: each is over that ends where the base's open one begins.

        Any thread: reads single numbers, which are replaced, and arrays, which grow by being replaced.
        """
        row = self.symbols.row_of(symbol)
        if row is None or row >= len(self.symbols.is_wide):
            return None
        for level in self._levels_of(row):
            closed_ms, open_bars = level.prev_close_ms, self.base_of(row).open_bars
            if level.interval.step_ms == step_ms and row < min(len(closed_ms), open_bars.shape[1]):
                opened_ms = int(open_bars[b.START, row])
                if opened_ms != NO_WINDOW and closed_ms[row] != NEVER:
                    return level.interval.window_start(opened_ms)
        return None

    def open_klines(self, symbols: Collection[str] | None = None, unverified_until: Ints | None = None) -> list[Kline]:
        """The klines of some symbols, None: of all, that are open now. Changes nothing.

        Complete are those of which nothing is known to be missing so far: none without `unverified_until` (ms, per
        row).
        """
        rows = None if symbols is None else sorted(self.symbols.known(tuple(symbols)))
        return [kline for levels in self._all_levels() for kline in self._open_klines(levels, rows, unverified_until)]

    def _open_klines(
        self, levels: list[IntervalWindows], rows: list[int] | None, unverified_until: Ints | None
    ) -> list[Kline]:
        klines: list[Kline] = []
        bars: list[Ints] = []
        opened = levels[0].open_bars[b.START]
        if not (opened != NO_WINDOW).any():
            return klines
        sound = np.zeros(len(opened), np.bool_)  # rows whose shortest window has all since it began
        for number, level in enumerate(levels):
            segs, windows = level.open_windows(bars[self._sources[number]] if number else None)
            bars.append(segs)
            of = b.ints(windows[b.ROW])
            if number == 0 and unverified_until is not None:
                since = unverified_until[of]
                sound[of] = (windows[b.START] >= since) & (windows[OPEN_MS] >= since)
            if self._wanted[number]:
                starts = b.ints(windows[b.START])
                covered_ms = opened[of] + levels[0].interval.step_ms - starts  # the window of now included
                windows[b.VERIFIED] = sound[of] & (windows[b.VERIFIED] == 1) & (windows[b.COVERED_MS] == covered_ms)
                windows[b.COVERED_MS] = level.interval.end_of(starts) - starts
                is_shown = windows[CONTRACT] != UNKNOWN
                if rows is not None:
                    is_shown &= np.isin(windows[b.ROW], rows)
                windows = windows[:, is_shown]
                klines += klines_of(level, windows, self.symbols, self._arithmetic, self.contracts.sizes)
        return klines

    def _windows(self, interval: Interval, dtype: type = np.int64) -> IntervalWindows:
        opens = self._arithmetic.prev_close_opens
        return IntervalWindows(interval, self.contracts, prev_close_opens=opens, dtype=dtype)

    # -- sizes of contracts ----------------------------------------------------------------------------

    def _klines(self, level: IntervalWindows, windows: Ints) -> list[Kline]:
        """The klines of closed windows; those whose contract size is not known are withheld."""
        klines = klines_of(level, windows, self.symbols, self._arithmetic, self.contracts.sizes)
        unknown = windows[CONTRACT] == UNKNOWN
        if not unknown.any():
            return klines
        for i in np.flatnonzero(unknown).tolist():
            self.contracts.withhold(int(windows[b.ROW, i]), klines[i])
        return [kline for kline, is_unknown in zip(klines, unknown.tolist(), strict=True) if not is_unknown]

    def _observe_sizes(self, levels: list[IntervalWindows], bars: Ints) -> list[Kline]:
        """Look up the contract sizes of rows whose windows these bars begin or end; what waited for them.

        Windows that were open when a size changed are not verified, nor are those that are over with them.
        """
        klines: list[Kline] = []
        rows, opened = b.ints(bars[b.ROW]), b.ints(levels[0].open_bars[b.START])
        is_other = bars[b.START] != opened.take(rows)
        for row in np.unique(rows[is_other]).tolist() if is_other.any() else ():
            if (sizes := self.contracts.observe(row, self.symbols.names[row])) is None:
                continue
            before, now = sizes
            if before is None or now is None:
                klines += self.contracts.release(row)
                for level in levels:
                    level.size_known(row)
            elif opened[row] != NO_WINDOW:
                until_ms = int(bars[b.START, rows == row].max())
                bars[b.VERIFIED, (rows == row) & (bars[b.START] < until_ms)] = 0
                for level in levels:
                    level.size_changed(row, Fraction(before) / Fraction(now))
                self._size_changed(row, int(opened[row]), until_ms)
        return klines

    # -- headroom in an int64 --------------------------------------------------------------------------

    def ensure_headroom(self, rows: Ints, prices: Ints, sizes: Ints, digits: Ints | None) -> None:
        """Make sure that no sum leaves its int64 when these trades of symbols in int64 are counted.

        Symbols of which one might are moved to Python's integers. One look at the sums of all while they are far away.
        """
        volume = float(sizes.sum(dtype=np.float64))
        worth = float(prices.max()) if digits is None else 10.0 ** int(digits.max()) / float(prices.min())
        if not self._reserve(volume, volume * worth):
            self._measure(rows, prices, sizes, digits)

    def _reserve(self, volume: float, turnover: float) -> bool:
        """Reserve so much more in any window; False where an int64 might not."""
        reserved = self._reserved[0] + volume, self._reserved[1] + turnover / 2**b.LIMB_BITS
        if max(reserved) >= HEADROOM:
            return False
        self._reserved = reserved
        return True

    def _reserve_or_measure(self, volume: int, turnover: int) -> bool:
        """`_reserve`, after a look at the sums where only what was taken before may be in the way."""
        if self._reserve(volume, turnover):
            return True
        self._measure(NONE, NONE, NONE, None)
        return self._reserve(volume, turnover)

    def _measure(self, rows: Ints, prices: Ints, sizes: Ints, digits: Ints | None) -> None:
        """Measure what each symbol holds with these trades, and widen those that leave too little headroom."""
        turnovers = prices.astype(np.float64) * sizes if digits is None else sizes / prices * 10.0**digits
        count = len(self.symbols.names)
        volume, turnover = np.bincount(rows, sizes, count), np.bincount(rows, turnovers / 2**b.LIMB_BITS, count)
        for level in self.levels:
            volume += level.largest_sum(b.VOLUME)
            turnover += level.largest_sum(b.TURNOVER_HIGH)
        is_crowded = np.maximum(volume, turnover) >= HEADROOM / 4
        for row in np.flatnonzero(is_crowded).tolist():
            self.symbols.widen(row)
        self._reserved = float(volume[~is_crowded].max(initial=0.0)), float(turnover[~is_crowded].max(initial=0.0))

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
            klines += self.revised(row, [(index, [slot])])
        return klines

    def _by_level_and_start(self, key: tuple[int, int, int]) -> tuple[int, int, int]:
        index, row, slot = key
        return index, row, int(self._levels_of(row)[index].closed.window(row, slot)[b.START])

    def _amend_one(self, row: int, late: Ints) -> tuple[list[tuple[int, int, int]], bool]:
        """Count late trades (one bar) once at every interval.

        Returns the closed windows that changed as (level, row, slot), and whether any window counted the trades.
        A window still open counts them and hands them on when it closes, so the intervals above must not.
        """
        changed: list[tuple[int, int, int]] = []
        passed_on, is_counted = [False] * len(self.levels), False
        for index, level in enumerate(self._levels_of(row)):
            source = self._sources[index]
            if (source >= 0 and passed_on[source]) or level.amend_open(row, late):
                passed_on[index] = True
            elif level.has_exchange_values(row, late):
                is_counted = True
            else:
                changed += [(index, row, slot) for slot in level.amend_closed(row, late)]
        return changed, is_counted or bool(changed) or any(passed_on)

    # -- the exchange's own candles --------------------------------------------------------------------

    def correct(self, kline: Kline, candle: Candle) -> list[Kline]:
        """Put the exchange's candle in the place of a kline that went out; returns revisions of all that changes.

        A window that was repaired meanwhile stays as it is; one that is forgotten leaves as a record of its own, once
        for each value.
        """
        row = int(self.symbols.rows([kline.symbol])[0])
        index, slot = self._window_of(row, kline)
        units = None if slot is None else self._units_of(row, candle)
        if slot is None or units is None:
            left = self._levels_of(row)[index].closed.revision_left(row) if index >= 0 else 0
            return self._correct_forgotten(kline, candle, left)
        level = self._levels_of(row)[index]
        if level.closed.window(row, slot)[FROM_EXCHANGE] or (not kline.complete and level.is_complete(row, slot)):
            return []
        return self.revised(row, [(index, level.replace(row, slot, *units))])

    def _correct_forgotten(self, kline: Kline, candle: Candle, left: int) -> list[Kline]:
        """A revision beyond each that went out, and `left`: what asks for it may know only an earlier one."""
        key = kline.symbol, kline.interval, kline.timestamp
        newest = max(kline, self._corrected.pop(key, kline), key=lambda each: each.revision)
        newest = replace(newest, revision=max(newest.revision, left))
        revision = _with_values_of(newest, candle)
        is_known = replace(revision, revision=newest.revision) == newest
        self._corrected[key] = newest if is_known else revision
        if len(self._corrected) > CORRECTED_KEPT:
            del self._corrected[next(iter(self._corrected))]
        self._counts.revisions += not is_known
        return [] if is_known else [revision]

    def _window_of(self, row: int, kline: Kline) -> tuple[int, int | None]:
        start = kline.timestamp
        for index, level in enumerate(self._levels_of(row)):
            interval = level.interval
            if interval.window_start(start) == start and interval.window_end(start) == start + kline.interval:
                return index, level.closed.slot_of(row, start)
        return -1, None

    def _units_of(self, row: int, candle: Candle) -> tuple[list[int], int, int] | None:
        """Prices (ticks), volume (lots) and turnover, at scales made fine enough; None where that is not enough."""
        prices = candle.open, candle.high, candle.low, candle.close
        digits = decimals_of(candle.turnover)
        if max(map(decimals_of, (*prices, candle.volume, candle.turnover))) > WIDEST_SCALE:
            return None
        if self._arithmetic.is_inverse and digits > self._arithmetic.quotient_digits:
            return None
        self.symbols.make_finer_for(row, prices, candle.volume, 0 if self._arithmetic.is_inverse else digits)
        scales = int(self.symbols.price_scale[row]), int(self.symbols.size_scale[row])
        turnover = units_of(candle.turnover, turnover_scale(*scales, self._arithmetic))
        ticks, lots = self.symbols.exact_units(row, prices, candle.volume)
        is_exact = max(ticks) < EXACT_LIMIT
        if not self.symbols.is_wide[row] and not (is_exact and self._reserve_or_measure(lots, turnover)):
            self.symbols.widen(row)
        return ticks, lots, turnover

    def revised(self, row: int, changes: Iterable[tuple[int, list[int]]]) -> list[Kline]:
        """Closed windows of `row` that changed (level, slots), as klines of one revision more."""
        klines: list[Kline] = []
        for index, slots in changes:
            level = self._levels_of(row)[index]
            windows = level.closed.revise(row, slots) if slots else None
            if windows is not None and self._wanted[index]:
                klines += self._klines(level, windows)
        self._counts.revisions += len(klines)
        return klines

    # -- one symbol ------------------------------------------------------------------------------------

    def forget(self, row: int) -> None:
        """Reset `row` to the state of a symbol never seen."""
        for level in self._levels_of(row):
            level.forget(row)
        self.symbols.forget(row)
        self.contracts.forget(row)

    def mark_unverified(self, row: int, from_ms: int) -> list[Kline]:
        """Mark windows of `row` since `from_ms` as unverified; revisions of what went out as complete."""
        return self.revised(
            row, [(index, level.mark_unverified(row, from_ms)) for index, level in enumerate(self._levels_of(row))]
        )

    def mark_verified(self, row: int, from_ms: int, coverage: CoverageGaps) -> Changes:
        """Mark windows of `row` as verified where no gap in the coverage is left; the closed ones that changed."""
        return {
            (index, row, slot): None
            for index, level in enumerate(self._levels_of(row))
            for slot in level.mark_verified(row, from_ms, coverage)
        }

    def set_first_open(self, row: int, start_ms: int, price: int) -> None:
        """Open the first window of all, which begins at `start_ms`, at `price`."""
        for level in self._levels_of(row):
            level.set_first_open(row, start_ms, price)

    def _levels_of(self, row: int) -> list[IntervalWindows]:
        return self._wide_levels if self.symbols.is_wide[row] else self.levels

    def _rescaled(self, row: int, price: int, size: int) -> bool:
        levels = self._levels_of(row)
        if not levels[0].has_traded(row):
            return True
        is_inverse = self._arithmetic.is_inverse  # then it is in coins, whatever the ticks and lots are
        turnover = 1 if is_inverse else price * size
        if levels is self.levels:
            if not all(level.can_rescale(row, price, size, turnover) for level in levels):
                return False
            full = HEADROOM / 2  # a window at every level
            self._reserved = max(self._reserved[0], full), max(self._reserved[1], full)
        for level in levels:
            level.rescale(row, price, size, turnover)
        return True

    def _all_levels(self) -> list[list[IntervalWindows]]:
        return [self.levels, self._wide_levels] if self._wide_levels else [self.levels]

    def _widened(self, row: int) -> None:
        for level in self.levels if not self._wide_levels else ():
            wide = self._windows(level.interval, object)
            wide.grow(len(self.symbols.names))
            self._wide_levels.append(wide)
        for level, wide in zip(self.levels, self._wide_levels, strict=True):
            wide.move_from(level, row)

    def _grow(self, rows: int) -> None:
        self.contracts.grow(rows)
        for level in (*self.levels, *self._wide_levels):
            level.grow(rows)
        self._grown(rows)


def _with_values_of(kline: Kline, candle: Candle) -> Kline:
    """A revision with the exchange's values; the count of trades stays that of the trades seen here."""
    names = ("open", "high", "low", "close", "volume", "turnover")
    values = {name: getattr(candle, name) for name in names}
    return replace(kline, **values, complete=True, source="exchange", revision=kline.revision + 1)
