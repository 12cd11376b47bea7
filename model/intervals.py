"""Kline intervals: how they are written, where their windows begin and end.

Pure arithmetic on UTC milliseconds, one value or a numpy array of them. Weeks begin on Monday,
months on the calendar's first: neither is a multiple of the epoch.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Milliseconds = npt.NDArray[np.int64]

UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "D": 86_400_000}
DAY_MS = UNIT_MS["d"]
WEEK_MS = 7 * DAY_MS
MONDAY_MS = 4 * DAY_MS  # 1970-01-01 was a Thursday; the first Monday is four days later
WRITTEN = re.compile(r"([1-9][0-9]*)([smhdDwWM])")


@dataclass(frozen=True)
class Interval:
    """One kline interval. `step_ms` is its length; a month has none (0) and follows the calendar.

    All methods take and return int64 arrays of UTC milliseconds.
    """

    name: str
    step_ms: int
    anchor_ms: int = 0

    def start_of(self, ms: Milliseconds) -> Milliseconds:
        """The start of the window that holds each `ms`; a window holds its start and not its end."""
        if self.step_ms:
            return ms - (ms - self.anchor_ms) % self.step_ms
        return _month_start(_month_of(ms))

    def end_of(self, start: Milliseconds) -> Milliseconds:
        """The first millisecond after the window that begins at `start`."""
        if self.step_ms:
            return start + self.step_ms
        return _month_start(_month_of(start) + 1)

    def number_of(self, start: Milliseconds) -> Milliseconds:
        """Consecutive windows have consecutive numbers."""
        if self.step_ms:
            return (start - self.anchor_ms) // self.step_ms
        return _month_of(start)

    def divides(self, other: "Interval") -> bool:
        """Whether every window of `other` is an exact run of windows of this interval."""
        if not self.step_ms:
            return False
        if not other.step_ms:
            return DAY_MS % self.step_ms == 0
        return other.step_ms % self.step_ms == 0 and (other.anchor_ms - self.anchor_ms) % self.step_ms == 0


def _month_of(ms: Milliseconds) -> Milliseconds:
    months: Milliseconds = ms.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    return months


def _month_start(month: Any) -> Milliseconds:
    start: Milliseconds = month.astype("datetime64[M]").astype("datetime64[ms]").astype(np.int64)
    return start


def parse_interval(text: str) -> Interval:
    """Read `15s`, `1m`, `4h`, `1d` or `1D`, `1w`, `1M` (`1m` is a minute, `1M` a month).

    Raises ValueError naming the text and what is allowed.
    """
    match = WRITTEN.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no kline interval: a number and s, m, h or d, or 1w, or 1M")
    number, unit = int(match[1]), match[2]
    if unit in "wWM" and number != 1:
        raise ValueError(f"{text!r} is no kline interval: weeks and months come one at a time (1w, 1M)")
    if unit == "M":
        return Interval("1M", 0)
    if unit in "wW":
        return Interval("1w", WEEK_MS, MONDAY_MS)
    return Interval(f"{number}{unit.lower()}", number * UNIT_MS[unit])


def base_of(intervals: Sequence[Interval]) -> Interval:
    """The longest interval that divides all of them: trades are counted into it once, the rest is roll-up."""
    steps = [interval.step_ms for interval in intervals if interval.step_ms and not interval.anchor_ms]
    if any(not interval.step_ms or interval.anchor_ms for interval in intervals):
        steps.append(DAY_MS)
    step = math.gcd(*steps)
    return next((i for i in intervals if i.step_ms == step and not i.anchor_ms), Interval(f"{step}ms", step))


def sources_of(intervals: Sequence[Interval]) -> list[int]:
    """For each interval the index of the longest earlier one that divides it; -1 for the first.

    `intervals` is sorted, shortest first, and its first divides all others (see `base_of`).
    """
    sources = [-1]
    for index, interval in enumerate(intervals[1:], start=1):
        sources.append(max(i for i in range(index) if intervals[i].divides(interval)))
    return sources
