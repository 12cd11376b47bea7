"""Spans of time in which trades of a symbol may have been lost. Pure; milliseconds, rows of the table."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

MOST_PER_ROW = 200  # beyond it the two oldest become one span, which covers more, never less
NO_END = 2**62


class CoverageGaps:
    """The spans of each row that are not verified. A span is verified by removing it."""

    def __init__(self) -> None:
        self._spans: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def add(self, row: int, from_ms: int, until_ms: int) -> None:
        """Mark [from_ms, until_ms) of `row` as unverified."""
        spans = self._spans[row]
        spans.append((from_ms, until_ms))
        if len(spans) > MOST_PER_ROW:
            first, second = spans[:2]
            spans[:2] = [(min(first[0], second[0]), max(first[1], second[1]))]

    def remove(self, row: int, from_ms: int, until_ms: int) -> None:
        """Mark a span as verified; one that was never added is ignored."""
        spans = self._spans[row]
        if (from_ms, until_ms) in spans:
            spans.remove((from_ms, until_ms))

    @contextmanager
    def without_end(self, row: int, since_ms: Iterable[int]) -> Iterator[None]:
        """Mark spans whose end is not known yet as unverified, for the time of a with block."""
        begins = list(since_ms)
        for from_ms in begins:
            self.add(row, from_ms, NO_END)
        yield
        for from_ms in begins:
            self.remove(row, from_ms, NO_END)

    def clear(self, row: int) -> None:
        """Drop all spans of `row`."""
        self._spans.pop(row, None)

    def overlaps(self, row: int, start_ms: int, end_ms: int) -> bool:
        """Whether a span of `row` overlaps the window [start_ms, end_ms)."""
        return any(start_ms < until and end_ms > since for since, until in self._spans[row])

    def last_until(self, row: int) -> int:
        """When the last span of `row` ends, 0 where there is none."""
        return max((until for _, until in self._spans[row]), default=0)
