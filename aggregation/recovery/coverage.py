"""Spans of time in which trades of a symbol may have been lost. Pure; milliseconds, rows of the table."""

from collections import defaultdict

MOST_PER_ROW = 200  # beyond it the two oldest become one span, which doubts more, never less


class CoverageGaps:
    """What is not proven, per row. A span is healed by removing it."""

    def __init__(self) -> None:
        self._spans: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def add(self, row: int, from_ms: int, until_ms: int) -> None:
        """Nothing is known of `row` in [from_ms, until_ms)."""
        spans = self._spans[row]
        spans.append((from_ms, until_ms))
        if len(spans) > MOST_PER_ROW:
            first, second = spans[:2]
            spans[:2] = [(min(first[0], second[0]), max(first[1], second[1]))]

    def remove(self, row: int, from_ms: int, until_ms: int) -> None:
        """It is known now; a span that was never added is none."""
        spans = self._spans[row]
        if (from_ms, until_ms) in spans:
            spans.remove((from_ms, until_ms))

    def clear(self, row: int) -> None:
        """Forget everything about `row`."""
        self._spans.pop(row, None)

    def overlaps(self, row: int, start_ms: int, end_ms: int) -> bool:
        """Whether the window [start_ms, end_ms) of `row` is in doubt."""
        return any(start_ms < until and end_ms > since for since, until in self._spans[row])

    def last_until(self, row: int) -> int:
        """When the last span of `row` ends, 0 where there is none."""
        return max((until for _, until in self._spans[row]), default=0)
