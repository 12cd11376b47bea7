"""The closed windows of one interval, which can still be corrected: slots of each row, and what has left them.

Pure numpy; one thread. A window stays for REVISABLE_MS, and longer where it is incomplete (retired.py): a repair may
come later. The last that has left and is not flat stays, too: all after it are flat, so that they can be made again.
"""

import math

import numpy as np

from aggregation.klines import bars as b
from aggregation.klines.bars import FAR, Ints
from aggregation.klines.retired import RetiredWindows
from model.intervals import Interval

# What a closed window adds to the columns of a bar. OPEN_MS: when the trade was matched that the open comes from.
# FROM_EXCHANGE: 1 where the values are the exchange's own, and are final. CONTRACT: the index of the contract size.
OPEN, OPEN_MS, REVISION, FROM_EXCHANGE, CONTRACT = range(b.COLUMNS, b.COLUMNS + 5)
CLOSED_COLUMNS = b.COLUMNS + 5

REVISABLE_MS = 60_000  # a closed window can be corrected for this long, and always the last two
RESTORED_MOST = 3_600  # flat windows before these that are made again at once, an hour of seconds; others stay as sent
NO_WINDOW = -1


class ClosedWindows:
    """The closed windows of all rows. A slot names one of its row: the start of a window that has left the others."""

    def __init__(self, interval: Interval, dtype: type) -> None:
        self._interval, self._dtype = interval, dtype
        self.slots = 2 + (math.ceil(REVISABLE_MS / interval.step_ms) if interval.step_ms else 0)
        # Behind the slots, in one more: the last window that has left them and is not flat.
        self._closed: Ints = np.zeros((CLOSED_COLUMNS, 0, self.slots + 1), dtype)
        self._retired = RetiredWindows()

    def grow(self, added: int) -> None:
        """Add so many rows."""
        fresh: Ints = np.full((CLOSED_COLUMNS, added, self.slots + 1), NO_WINDOW, self._dtype)
        self._closed = np.concatenate((self._closed, fresh), axis=1)

    def forget(self, row: int) -> None:
        """Reset `row` to the state of a symbol never seen."""
        self._closed[:, row] = NO_WINDOW
        self._retired.forget(row)

    def move_from(self, other: "ClosedWindows", row: int) -> None:
        """Take over all that `other`, windows in int64, holds of `row`."""
        self._closed[:, row] = widened(other._closed[:, row])
        for start, window in other._retired.of(row).items():
            self._retired.add(row, start, widened(window[:, None])[:, 0])

    def keep(self, closed: Ints, rows: Ints) -> None:
        """Put windows, sorted by row and start, into the slots of their rows; what was there is retired."""
        slots = self._interval.number_of(b.ints(closed[b.START])) % self.slots
        if len(rows) > self.slots:
            turn = (np.arange(len(rows)) - np.searchsorted(rows, rows)) // self.slots
            if turn.any():  # one row has more windows than slots
                for number in range(int(turn.max()) + 1):
                    self.keep(closed[:, turn == number], rows[turn == number])
                return
        self._retire(rows, slots)
        self._closed[:, rows, slots] = closed

    def _retire(self, rows: Ints, slots: Ints) -> None:
        """Retire windows, sorted by row and start, whose slots are needed."""
        closed, last = self._closed, self.slots
        is_known = closed[b.START, rows, slots] != NO_WINDOW
        is_flat = (closed[b.COUNT, rows, slots] == 0) & (closed[FROM_EXCHANGE, rows, slots] != 1)
        if (valued := np.flatnonzero(is_known & ~is_flat)).size:
            its_rows, its_slots = rows[valued], slots[valued]
            is_left = np.append(its_rows[1:] == its_rows[:-1], False)  # for a later one of the same row
            self._retire_incomplete(its_rows, np.full(len(its_rows), last))
            self._retire_incomplete(its_rows[is_left], its_slots[is_left])
            closed[:, its_rows, last] = closed[:, its_rows, its_slots]
        flat = np.flatnonzero(is_known & is_flat)
        self._retire_incomplete(rows[flat], slots[flat])
        for i in flat[closed[REVISION, rows[flat], slots[flat]] > 0].tolist():  # no less than of all made again
            row, revision = int(rows[i]), closed[REVISION, rows[i], slots[i]]
            closed[REVISION, row, last] = max(closed[REVISION, row, last], revision)

    def _retire_incomplete(self, rows: Ints, slots: Ints) -> None:
        closed = self._closed
        is_incomplete = (closed[b.START, rows, slots] != NO_WINDOW) & (closed[b.VERIFIED, rows, slots] == 0)
        for i in np.flatnonzero(is_incomplete).tolist():
            window = closed[:, rows[i], slots[i]]
            self._retired.add(int(rows[i]), int(window[b.START]), window.copy())

    def slot_of(self, row: int, start: int) -> int | None:
        """The slot of the closed window of `row` that begins at `start`, None where it is not kept any more.

        That of a retired window is its start.
        """
        slot = int(self._interval.number_of(np.array([start]))[0]) % self.slots
        for each in (slot, self.slots):
            if self._closed[b.START, row, each] == start:
                return each
        return start if start in self._retired.of(row) else None

    def window(self, row: int, slot: int) -> Ints:
        """The closed window of a slot, to be changed in its place."""
        if slot > self.slots:
            return self._retired.of(row)[slot]
        window: Ints = self._closed[:, row, slot]
        return window

    def revise(self, row: int, slots: list[int]) -> Ints:
        """Raise the revision of closed windows; returns them."""
        windows = [self.window(row, slot) for slot in slots]
        for window in windows:
            window[REVISION] += 1
        return np.stack(windows, axis=1)

    def revision_left(self, row: int) -> int:
        """No less than the revisions of a row's windows since the last with trades that are not kept any more."""
        return max(int(self._closed[REVISION, row, self.slots]), 0)

    def restore(self, row: int, from_ms: int) -> None:
        """Make the windows of `row` since `from_ms` again that were flat, and complete, and are not kept any more."""
        oldest, valued = int(self._closed[b.START, row, : self.slots].min()), self._closed[:, row, self.slots]
        step_ms, first = self._interval.step_ms, int(valued[b.START])
        if not step_ms or from_ms >= oldest or first == NO_WINDOW:
            return
        begin = max(first, self._retired.dropped_until(row), oldest - (RESTORED_MOST + 1) * step_ms)
        begin = max(self._interval.window_end(begin), self._interval.window_start(max(from_ms, begin)))
        before = max((start for start in self._retired.of(row) if first < start < begin), default=None)
        last = valued if before is None else self._retired.of(row)[before]
        for start in range(begin, oldest, step_ms):
            if start not in self._retired.of(row):
                is_flat = not last[b.COUNT] and not last[FROM_EXCHANGE]
                window: Ints = np.zeros(CLOSED_COLUMNS, self._dtype)
                window[: b.COLUMNS] = b.empty_bars(np.array([row]), np.array([start]), self._dtype)[:, 0]
                window[[OPEN, b.CLOSE]], window[OPEN_MS] = last[b.CLOSE], last[OPEN_MS if is_flat else b.LAST_MS]
                window[b.COVERED_MS], window[b.VERIFIED], window[CONTRACT] = step_ms, 1, valued[CONTRACT]
                window[REVISION] = valued[REVISION]
                self._retired.add(row, start, window)
            last = self._retired.of(row).get(start, last)

    # -- all of a row -----------------------------------------------------------------------------------

    def slots_since(self, row: int, from_ms: int) -> list[int]:
        """The slots of a row's windows that end after `from_ms`, oldest first."""
        starts = b.ints(self._closed[b.START, row])
        since = np.flatnonzero((starts != NO_WINDOW) & (self._interval.end_of(starts) > from_ms))
        found = list(zip(starts[since].tolist(), since.tolist(), strict=True))
        found += [(start, start) for start in self._retired.of(row) if self._interval.window_end(start) > from_ms]
        return [slot for _, slot in sorted(found)]

    def parts(self, row: int) -> list[Ints]:
        """All windows of a row in matrices, to be changed in their place; some columns may be of no window."""
        return [self._closed[:, row], *(window[:, None] for window in self._retired.of(row).values())]

    def starts(self, row: int) -> set[int]:
        """The starts of a row's windows."""
        return {*self._closed[b.START, row].tolist(), *self._retired.of(row)}

    def newest_start(self, row: int) -> int:
        """The start of a row's last window, NO_WINDOW where there is none."""
        return int(self._closed[b.START, row].max())

    def largest(self, column: int) -> Ints:
        """The largest value of a column, of each row."""
        values: Ints = self._closed[column].max(axis=1)
        for row, windows in self._retired.rows():
            values[row] = max([values[row], *(window[column] for window in windows.values())])
        return values


def widened(columns: Ints) -> Ints:
    """Columns of one row as Python's integers, far marks as far as theirs."""
    wide = columns.astype(object)
    for column in (b.HIGH, b.LOW):
        is_far = np.abs(columns[column]) == FAR
        wide[column] = np.where(is_far, wide[column] * (b.WIDE_FAR // FAR), wide[column])
    return wide
