"""One interval's windows for every symbol of a market: the open one, and the last closed ones.

Pure numpy, one row per symbol. Bars are added; windows that are over come out, oldest first, and are kept for a while,
so that a late trade or a gap found later can still correct them (closed.py).
"""

from fractions import Fraction

import numpy as np
import numpy.ma  # np.unique imports it at its first call, which is no time to open files
import numpy.typing as npt

from aggregation.klines import bars as b
from aggregation.klines.bars import Ints
from aggregation.klines.closed import (
    CLOSED_COLUMNS,
    CONTRACT,
    FROM_EXCHANGE,
    NO_WINDOW,
    OPEN,
    OPEN_MS,
    ClosedWindows,
    widened,
)
from aggregation.klines.contracts import UNKNOWN, SymbolContracts
from aggregation.klines.decimals import EXACT_LIMIT
from aggregation.klines.retired import NEVER
from aggregation.recovery.coverage import CoverageGaps
from model.intervals import Interval

MAX_FLAT_RUN = 10_000  # windows without trades filled in at once: beyond a week of minutes a symbol starts anew
SUMS_MOST = 2**56  # what finer ticks and lots may make of the sums of a window


class IntervalWindows:
    """The windows of one interval. Not thread-safe; rows are added by `grow`.

    `prev_close_opens`: a candle opens at the close before it, and its high and low include that; else at its first
    trade, and windows without a trade give a longer one nothing. `contracts` are the sizes of the rows' contracts.
    `dtype` object holds integers of any size.
    """

    def __init__(
        self, interval: Interval, contracts: SymbolContracts, *, prev_close_opens: bool, dtype: type = np.int64
    ) -> None:
        self.interval, self._contracts = interval, contracts
        self.dtype = dtype
        self.prev_close_opens = prev_close_opens
        self.open_bars: Ints = np.zeros((b.COLUMNS, 0), dtype)
        self.prev_close: Ints = np.zeros(0, dtype)
        self.prev_close_ms: Ints = np.zeros(0, np.int64)
        self.closed = ClosedWindows(interval, dtype)
        self.skipped = 0

    def grow(self, rows: int) -> None:
        """Add rows for up to `rows` symbols; those there keep their state."""
        added = np.arange(self.open_bars.shape[1], rows)
        fresh = b.empty_bars(added, np.full(len(added), NO_WINDOW), self.dtype)
        self.open_bars = np.concatenate((self.open_bars, fresh), axis=1)
        self.prev_close = np.concatenate((self.prev_close, np.zeros(len(added), self.dtype)))
        self.prev_close_ms = np.concatenate((self.prev_close_ms, np.full(len(added), NEVER)))
        self.closed.grow(len(added))

    def forget(self, row: int) -> None:
        """Reset `row` to the state of a symbol never seen."""
        self.open_bars[:, [row]] = b.empty_bars(np.array([row]), np.array([NO_WINDOW]), self.dtype)
        self.prev_close[row], self.prev_close_ms[row] = 0, NEVER
        self.closed.forget(row)

    def move_from(self, other: "IntervalWindows", row: int) -> None:
        """Take over all that `other`, windows in int64, holds of `row`."""
        self.open_bars[:, [row]] = widened(other.open_bars[:, [row]])
        self.closed.move_from(other.closed, row)
        self.prev_close[row], self.prev_close_ms[row] = int(other.prev_close[row]), other.prev_close_ms[row]
        other.forget(row)

    def add_children(self, children: Ints, source: Interval) -> Ints:
        """Add closed windows (n > 0, sorted by row and start) of `source`, which divides this interval.

        Returns the windows of this interval that are over now, sorted by row and start.
        """
        segs, last_child = self._merged_with_open(children)
        reached = source.end_of(last_child) >= self.interval.end_of(b.ints(segs[b.START]))
        return self._close(segs, over=reached)

    def add_trades(self, bars: Ints, unverified_until: Ints) -> Ints:
        """Add bars of trades, or empty bars that only carry the time; none older than its row's open window.

        The latest window of each row stays open; windows between without a trade are filled in, flat.
        A window that begins before its row's `unverified_until` (ms, per row) is not verified, nor is one that
        opens at a close from before it: trades since may have moved the price.
        """
        bars = self._beyond_open(bars, unverified_until)
        if not bars.shape[1]:
            return np.zeros((CLOSED_COLUMNS, 0), self.dtype)
        segs, _ = self._merged_with_open(bars)
        segs = self._with_flats(segs)
        segs[b.COVERED_MS] = self.interval.step_ms
        unverified_until = unverified_until[b.ints(segs[b.ROW])]
        segs[b.VERIFIED] &= segs[b.START] >= unverified_until
        return self._close(segs, over=np.zeros(segs.shape[1], np.bool_), open_since=unverified_until)

    def _beyond_open(self, bars: Ints, unverified_until: Ints) -> Ints:
        """Count bars into the open windows they belong to, as nearly all do; returns the others."""
        is_open = bars[b.START] == self.open_bars[b.START].take(b.ints(bars[b.ROW]))
        inside = bars.compress(is_open, axis=1)
        rows = b.ints(inside[b.ROW])
        total = b.added(self.open_bars.take(rows, axis=1), inside)
        total[b.VERIFIED] &= total[b.START] >= unverified_until[rows]
        self.open_bars[:, rows] = total
        return bars.compress(~is_open, axis=1)

    def _merged_with_open(self, bars: Ints) -> tuple[Ints, Ints]:
        rows = np.unique(b.ints(bars[b.ROW]))
        pending = self.open_bars[:, rows]
        parts = np.concatenate((pending[:, pending[b.START] != NO_WINDOW], bars), axis=1)
        return b.merge(parts, self.interval.start_of(b.ints(parts[b.START])))

    def _with_flats(self, segs: Ints) -> Ints:
        rows, starts = b.ints(segs[b.ROW]), b.ints(segs[b.START])
        step = self.interval.step_ms
        missing = np.zeros(len(rows), np.int64)
        missing[:-1] = np.where(rows[1:] == rows[:-1], (starts[1:] - starts[:-1]) // step - 1, 0)
        if not missing.any():
            return segs
        too_long = missing > MAX_FLAT_RUN
        self.skipped += int(missing[too_long].sum())
        segs[b.VERIFIED, 1:] &= ~too_long[:-1]
        missing[too_long] = 0
        index = np.repeat(np.arange(len(rows)), missing + 1)
        offset = np.arange(len(index)) - np.repeat(np.cumsum(missing + 1) - missing - 1, missing + 1)
        flats = b.empty_bars(rows[index], starts[index] + offset * step, self.dtype)
        return np.where(offset == 0, segs[:, index], flats)

    def _close(self, segs: Ints, over: npt.NDArray[np.bool_], open_since: Ints | int = NEVER) -> Ints:
        """Split `segs` into windows that are over (returned, and kept for a while) and the open one of each row.

        Windows whose open comes from a trade before `open_since` (ms) are not verified.
        """
        rows = b.ints(segs[b.ROW])
        last_of_row = np.append(rows[1:] != rows[:-1], True)
        windows = self._with_opens(segs, np.append(True, last_of_row[:-1]))
        windows[b.VERIFIED] &= windows[OPEN_MS] >= open_since
        is_over = ~last_of_row | over
        closed = windows[:, is_over]
        still_open = last_of_row & ~over
        self.open_bars[b.START, rows[last_of_row]] = NO_WINDOW
        self.open_bars[:, rows[still_open]] = segs[:, still_open]
        rows = b.ints(closed[b.ROW])
        self.prev_close[rows] = closed[b.CLOSE]
        self.prev_close_ms[rows] = np.where(closed[b.COUNT] > 0, closed[b.LAST_MS], closed[OPEN_MS])
        self.closed.keep(closed, rows)
        return closed

    def _with_opens(self, segs: Ints, first_of_row: npt.NDArray[np.bool_]) -> Ints:
        """Add open and revision to windows sorted by row and start; a window without trades closes as it opened."""
        rows, traded = b.ints(segs[b.ROW]), segs[b.COUNT] > 0
        position = np.arange(len(rows))
        source = np.maximum.accumulate(np.where(traded | first_of_row, position, 0))
        close = np.where(traded, segs[b.CLOSE], self.prev_close[rows])[source]
        close_ms = np.where(traded, segs[b.LAST_MS], self.prev_close_ms[rows])[source]
        windows: Ints = np.zeros((CLOSED_COLUMNS, len(rows)), self.dtype)
        windows[: b.COLUMNS] = segs
        windows[b.CLOSE] = close
        windows[CONTRACT] = self._contracts.of_row[rows]
        windows[OPEN] = np.where(first_of_row, self.prev_close[rows], np.roll(close, 1))
        windows[OPEN_MS] = np.where(first_of_row, self.prev_close_ms[rows], np.roll(close_ms, 1))
        fallback = traded & (windows[OPEN_MS] == NEVER)
        if not self.prev_close_opens:
            windows[OPEN_MS] = np.where(traded, segs[b.FIRST_MS], windows[OPEN_MS])
            fallback = traded
        windows[OPEN] = np.where(fallback, segs[b.FIRST], windows[OPEN])
        return windows

    def open_windows(self, children: Ints | None) -> tuple[Ints, Ints]:
        """The windows open now, as bars for the next longer interval and with their opens; changes nothing.

        `children` are the bars that are open in the interval this one is rolled up from; None: there is none.
        """
        parts = self.open_bars[:, self.open_bars[b.START] != NO_WINDOW]
        if children is not None:
            parts = np.concatenate((parts, children), axis=1)
        segs, _ = b.merge(parts, self.interval.start_of(b.ints(parts[b.START])))
        rows = segs[b.ROW]
        return segs, self._with_opens(segs, np.append(True, rows[1:] != rows[:-1]))

    # -- corrections: rare, one row at a time -----------------------------------------------------------

    def forgotten(self, row: int, past_ms: list[int]) -> list[int]:
        """The times whose window is over and not kept any more."""
        starts = self.interval.start_of(np.array(past_ms, np.int64))
        kept = self.closed.starts(row) | {int(self.open_bars[b.START, row])}
        return [ms for ms, start in zip(past_ms, starts.tolist(), strict=True) if start not in kept]

    def amend_open(self, row: int, late: Ints) -> bool:
        """Count late trades (one bar) into the open window, if that is the one they belong to."""
        if self.open_bars[b.START, row] != self.interval.window_start(int(late[b.START, 0])):
            return False
        self.open_bars[:, row] = self._amended(self.open_bars[:, [row]], late)
        return True

    def amend_closed(self, row: int, late: Ints) -> list[int]:
        """Count late trades (one bar) into their closed window; the changed slots, oldest first, [] where forgotten."""
        start = self.interval.window_start(int(late[b.START, 0]))
        self.closed.restore(row, start)
        if (slot := self.closed.slot_of(row, start)) is None:
            return []
        window = self.closed.window(row, slot)
        window[: b.COLUMNS] = self._amended(window[: b.COLUMNS, None], late)
        if not self.prev_close_opens:
            window[[OPEN, OPEN_MS]] = window[[b.FIRST, b.FIRST_MS]]
        elif window[OPEN_MS] == NEVER:
            window[OPEN] = window[b.FIRST]
        return [slot, *self._carry_close(row, slot)]

    @staticmethod
    def _amended(window: Ints, late: Ints) -> Ints:
        merged, _ = b.merge(np.concatenate((window, late), axis=1), np.repeat(window[b.START], 2))
        merged[b.COVERED_MS] = window[b.COVERED_MS]
        column: Ints = merged[:, 0]
        return column

    def has_exchange_values(self, row: int, late: Ints) -> bool:
        """Whether the window of late trades (one bar) holds the exchange's own values, which have counted them."""
        slot = self.closed.slot_of(row, self.interval.window_start(int(late[b.START, 0])))
        return slot is not None and bool(self.closed.window(row, slot)[FROM_EXCHANGE])

    def replace(self, row: int, slot: int, prices: list[int], volume: int, turnover: int) -> list[int]:
        """Put the exchange's own open, high, low, close (ticks), volume (lots) and turnover into a closed window.

        Returns the changed slots, oldest first: the next window opens at the new close.
        """
        window = self.closed.window(row, slot)
        end = self.interval.window_end(int(window[b.START]))
        window[[OPEN, b.HIGH, b.LOW, b.CLOSE]] = prices
        window[[b.VOLUME, b.TURNOVER_HIGH, b.TURNOVER_LOW]] = volume, turnover >> b.LIMB_BITS, turnover & b.LIMB_MASK
        window[[OPEN_MS, b.LAST_MS, b.COVERED_MS]] = window[b.START], end - 1, end - window[b.START]
        window[[b.VERIFIED, FROM_EXCHANGE]] = 1
        return [slot, *self._carry_close(row, slot)]

    def _carry_close(self, row: int, slot: int) -> list[int]:
        """Open the windows after `slot` at its close, as far as that changes anything."""
        changed: list[int] = []
        amended = self.closed.window(row, slot)
        close, close_ms, start = int(amended[b.CLOSE]), int(amended[b.LAST_MS]), int(amended[b.START])
        while (following := self.closed.slot_of(row, self.interval.window_end(start))) is not None:
            window = self.closed.window(row, following)
            traded = bool(window[b.COUNT])
            if window[FROM_EXCHANGE] or (traded and not self.prev_close_opens):
                return changed
            if window[OPEN] != close:
                window[OPEN] = close
                changed.append(following)
            window[OPEN_MS] = close_ms
            if traded:
                return changed
            window[b.CLOSE] = close
            start = int(window[b.START])
        if start == self.closed.newest_start(row):
            self.prev_close[row], self.prev_close_ms[row] = close, close_ms
        return changed

    def mark_unverified(self, row: int, from_ms: int) -> list[int]:
        """Mark windows of `row` since `from_ms` as unverified: its feed was not proven alive.

        Those that hold the exchange's own values stay verified, for these came from no feed. Returns the slots of
        those that had closed as verified, oldest first.
        """
        if self.open_bars[b.START, row] != NO_WINDOW:
            self.open_bars[b.VERIFIED, row] = 0
        self.closed.restore(row, from_ms)
        marked = []
        for slot in self.closed.slots_since(row, from_ms):
            window = self.closed.window(row, slot)
            if window[b.VERIFIED] and not window[FROM_EXCHANGE]:
                window[b.VERIFIED] = 0
                marked.append(slot)
        return marked

    def mark_verified(self, row: int, from_ms: int, coverage: CoverageGaps) -> list[int]:
        """Mark windows of `row` as verified where no gap in the coverage is left since the trade each opens at.

        Returns the slots of closed windows that are verified again, oldest first.
        """
        start = int(self.open_bars[b.START, row])
        if start != NO_WINDOW and not coverage.overlaps(row, self._open_since(row), self.interval.window_end(start)):
            self.open_bars[b.VERIFIED, row] = 1
        verified = []
        for slot in self.closed.slots_since(row, from_ms):
            window = self.closed.window(row, slot)
            start = int(window[b.START])
            if window[b.VERIFIED] or window[OPEN_MS] == NEVER:
                continue
            if not coverage.overlaps(row, min(start, int(window[OPEN_MS])), self.interval.window_end(start)):
                window[b.VERIFIED] = 1
                verified.append(slot)
        return verified

    def _open_since(self, row: int) -> int:
        """The time since which all must be covered for the open window to be verified: its open is of a trade then."""
        start = int(self.open_bars[b.START, row])
        if self.open_bars[b.COUNT, row] and not self.prev_close_opens:
            return start
        return min(start, int(self.prev_close_ms[row]))

    def size_known(self, row: int) -> None:
        """Use the size of `row`, which has become known, for the windows that closed before."""
        for windows in self.closed.parts(row):
            windows[CONTRACT, windows[CONTRACT] == UNKNOWN] = self._contracts.of_row[row]

    def size_changed(self, row: int, share: Fraction) -> None:
        """Mark the open window of `row` as unverified: part of it is in contracts of another size.

        `share` of a new contract that one of before is: of what is open so much is left, at most.
        """
        bar, left = self.open_bars[:, row], min(share, Fraction(1))
        turnover = turnover_of(int(bar[b.TURNOVER_HIGH]), int(bar[b.TURNOVER_LOW])) * left
        bar[[b.TURNOVER_HIGH, b.TURNOVER_LOW]] = int(turnover) >> b.LIMB_BITS, int(turnover) & b.LIMB_MASK
        bar[b.VOLUME], bar[b.VERIFIED] = int(int(bar[b.VOLUME]) * left), 0

    def is_complete(self, row: int, slot: int) -> bool:
        """Whether a closed window is verified, and was covered from its begin to its end."""
        window = self.closed.window(row, slot)
        start = int(window[b.START])
        return bool(window[b.VERIFIED]) and int(window[b.COVERED_MS]) == self.interval.window_end(start) - start

    def set_first_open(self, row: int, start: int, price: int) -> None:
        """Open the first window of `row`, where it begins at `start`, at the price before it, verified until then."""
        if self.interval.window_start(start) != start:
            return
        slot = self.closed.slot_of(row, start)
        if slot is not None and (window := self.closed.window(row, slot))[OPEN_MS] == NEVER:
            window[[OPEN, OPEN_MS]] = price, start
        elif self.prev_close_ms[row] == NEVER:
            self.prev_close[row], self.prev_close_ms[row] = price, start

    def has_traded(self, row: int) -> bool:
        """Whether `row` has any trade, and so anything to rescale; of the base level."""
        return bool(self.open_bars[b.START, row] != NO_WINDOW)

    def largest_sum(self, column: int) -> Ints:
        """The largest sum of each row: what is open, and the most that any closed window holds."""
        return b.ints(self.open_bars[column] + self.closed.largest(column))

    def can_rescale(self, row: int, price: int, size: int, turnover: int) -> bool:
        """Whether int64 still holds all of `row`, with headroom, when multiplied."""
        closed = np.concatenate(self.closed.parts(row), axis=1)
        held = np.concatenate((self.open_bars[:, [row]], closed[: b.COLUMNS]), axis=1)
        held = held[:, held[b.START] != NO_WINDOW]
        highest = max(int(self.prev_close[row]), int(closed[OPEN].max()), int(held[b.HIGH].max(initial=0)))
        turnover_high = int(held[b.TURNOVER_HIGH].max(initial=0)) + 1
        return (
            highest * price < EXACT_LIMIT
            and int(held[b.VOLUME].max(initial=0)) * size < SUMS_MOST
            and turnover_high * turnover < SUMS_MOST
        )

    def rescale(self, row: int, price: int, size: int, turnover: int) -> None:
        """Multiply all of `row`'s prices, sizes and turnovers: its ticks or lots have become finer."""
        _multiply(self.prev_close[row : row + 1], price)
        for windows in (self.open_bars[:, row : row + 1], *self.closed.parts(row)):
            for column in (b.FIRST, b.HIGH, b.LOW, b.CLOSE):
                _multiply(windows[column], price)
            _multiply(windows[OPEN:OPEN_MS], price)  # of open bars there is none
            _multiply(windows[b.VOLUME], size)
            _multiply_limbs(windows, turnover)


def _multiply(values: Ints, factor: int) -> None:
    within = np.abs(values) < b.far_of(values.dtype)  # the far marks of empty bars stay what they are
    values[within] *= factor


def _multiply_limbs(columns: Ints, factor: int) -> None:
    if factor == 1:
        return
    for i in range(columns.shape[1]):
        if columns[b.START, i] == NO_WINDOW:
            continue
        total = turnover_of(int(columns[b.TURNOVER_HIGH, i]), int(columns[b.TURNOVER_LOW, i])) * factor
        columns[b.TURNOVER_HIGH, i], columns[b.TURNOVER_LOW, i] = total >> b.LIMB_BITS, total & b.LIMB_MASK


def turnover_of(high: int, low: int) -> int:
    """The two limbs of a turnover as one integer."""
    return (high << b.LIMB_BITS) + low
