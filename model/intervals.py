"""Kline intervals, the one home: how they are written, how they are named, where their windows begin and end.

Pure arithmetic on UTC milliseconds; `start_of`, `end_of` and `number_of` take numpy arrays, all else plain integers.
Weeks begin on Monday, months on the calendar's first: neither is a multiple of the epoch. A *step* is the length of an
interval in ms, MONTH (0) for a calendar month, whose *length* varies: a Kline has a length, an exchange serves steps.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # importing this module is quick: the methods on arrays need no name of numpy's
    import numpy as np
    import numpy.typing as npt

    Milliseconds = npt.NDArray[np.int64]

SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000
WEEK_MS = 7 * DAY_MS
MONDAY_MS = 4 * DAY_MS  # 1970-01-01 was a Thursday; the first Monday is four days later
MONTH = 0  # the step of a calendar month
SHORTEST_MONTH_MS, LONGEST_MONTH_MS = 28 * DAY_MS, 31 * DAY_MS
UNITS_MS = {"d": DAY_MS, "h": HOUR_MS, "m": MINUTE_MS, "s": SECOND_MS}  # largest first: names use the largest that fits
WRITTEN = re.compile(r"([1-9][0-9]*)([smhdDwWM])")


@dataclass(frozen=True)
class Interval:
    """One kline interval. `step_ms` is its length; a month has none (0) and follows the calendar.

    `start_of`, `end_of` and `number_of` take and return int64 arrays of UTC milliseconds, `window_start` and
    `window_end` do the same for one integer.
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

    def window_start(self, ms: int) -> int:
        """The start of the window that holds `ms`."""
        return ms - (ms - self.anchor_ms) % self.step_ms if self.step_ms else month_start(ms)

    def window_end(self, start_ms: int) -> int:
        """The first millisecond after the window that begins at `start_ms`."""
        return end_of_step(self.step_ms, start_ms)

    def divides(self, other: Interval) -> bool:
        """Whether every window of `other` is an exact run of windows of this interval."""
        if not self.step_ms:
            return False
        if not other.step_ms:
            return DAY_MS % self.step_ms == 0
        return other.step_ms % self.step_ms == 0 and (other.anchor_ms - self.anchor_ms) % self.step_ms == 0


def _month_of(ms: Milliseconds) -> Milliseconds:
    months: Milliseconds = ms.astype("datetime64[ms]").astype("datetime64[M]").astype("int64")
    return months


def _month_start(month: Any) -> Milliseconds:
    start: Milliseconds = month.astype("datetime64[M]").astype("datetime64[ms]").astype("int64")
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
        return Interval("1M", MONTH)
    if unit in "wW":
        return Interval("1w", WEEK_MS, MONDAY_MS)
    return Interval(f"{number}{unit.lower()}", number * UNITS_MS[unit.lower()])


def month_start(ms: int, months: int = 0) -> int:
    """The start of the calendar month that holds `ms`, or of the one so many `months` later."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    return int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp()) * 1000


def end_of_step(step_ms: int, start_ms: int) -> int:
    """The first millisecond after a window of a step, months by the calendar."""
    return start_ms + step_ms if step_ms else month_start(start_ms, 1)


def step_of(length_ms: int, start_ms: int) -> int:
    """The step of a window: its length, MONTH where it is a month of the calendar."""
    return MONTH if is_calendar_month(length_ms, start_ms) else length_ms


def is_calendar_month(length_ms: int, start_ms: int) -> bool:
    """Whether a window is a month of the calendar."""
    if not SHORTEST_MONTH_MS <= length_ms <= LONGEST_MONTH_MS:  # nearly every kline: the calendar takes a microsecond
        return False
    return month_start(start_ms) == start_ms and month_start(start_ms, 1) == start_ms + length_ms


@functools.lru_cache(maxsize=1_000)
def step_name(step_ms: int) -> str:
    """A step as settings and topics write it: 15s, 1m, 4h, 1d, 1w, 1M."""
    if step_ms in (MONTH, WEEK_MS):
        return "1w" if step_ms else "1M"
    unit = next((unit for unit, unit_ms in UNITS_MS.items() if step_ms % unit_ms == 0), None)
    return f"{step_ms // UNITS_MS[unit]}{unit}" if unit else f"{step_ms}ms"


def interval_name(length_ms: int, start_ms: int) -> str:
    """`step_name` of a kline's window."""
    return step_name(step_of(length_ms, start_ms))


def legacy_name(length_ms: int) -> str:
    """A kline's length as the legacy systems wrote it, and the console and storage keys still do: 1D, 2w, 1M, 4h."""
    if length_ms % DAY_MS == 0 and SHORTEST_MONTH_MS <= length_ms <= LONGEST_MONTH_MS:
        return "1M"
    return step_name(length_ms).replace("d", "D") if length_ms % WEEK_MS else f"{length_ms // WEEK_MS}w"


def longest_step(steps_ms: Iterable[int], length_ms: int, start_ms: int) -> int | None:
    """The longest of an exchange's `steps_ms` that a window is made of exactly; None where there is none."""
    steps = set(steps_ms)
    if MONTH in steps and is_calendar_month(length_ms, start_ms):
        return MONTH
    anchors = {WEEK_MS: MONDAY_MS}
    fitting = [step for step in steps if step and not (length_ms % step or (start_ms - anchors.get(step, 0)) % step)]
    return max(fitting, default=None)


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
