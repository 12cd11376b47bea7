"""Closed windows of one interval that are incomplete and have left the slots of their row, in the order they left.

Pure; one thread. A repair that comes later still finds them here; bounded over all rows.
"""

from collections import deque
from collections.abc import Iterator

from aggregation.klines.bars import Ints

RETIRED_MOST = 100_000  # windows of an interval, some 35 MB; beyond it the first that left stay incomplete
NEVER = -1


class RetiredWindows:
    """Windows by row and start; a window is a column as in `IntervalWindows.closed`, and is changed in its place."""

    def __init__(self, most: int = RETIRED_MOST) -> None:
        self._most = most
        self._of_row: dict[int, dict[int, Ints]] = {}
        self._order: deque[tuple[int, int]] = deque()
        self._dropped: dict[int, int] = {}

    def add(self, row: int, start: int, window: Ints) -> None:
        """Keep a window, which the caller hands over."""
        windows = self._of_row.setdefault(row, {})
        if start not in windows:
            self._order.append((row, start))
        windows[start] = window
        while len(self._order) > self._most:
            first_row, first_start = self._order.popleft()
            del self._of_row[first_row][first_start]
            self._dropped[first_row] = max(first_start, self.dropped_until(first_row))

    def of(self, row: int) -> dict[int, Ints]:
        """The windows of a row, by start."""
        return self._of_row.get(row, {})

    def rows(self) -> Iterator[tuple[int, dict[int, Ints]]]:
        """All rows, with their windows."""
        yield from self._of_row.items()

    def dropped_until(self, row: int) -> int:
        """The latest start of the windows of a row that were dropped, NEVER where none was."""
        return self._dropped.get(row, NEVER)

    def forget(self, row: int) -> dict[int, Ints]:
        """Take out the windows of a row, as of one never seen; returns them."""
        self._dropped.pop(row, None)
        windows = self._of_row.pop(row, {})
        if windows:
            self._order = deque(key for key in self._order if key[0] != row)
        return windows
