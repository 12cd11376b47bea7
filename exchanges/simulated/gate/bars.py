"""Gate's names of intervals, and where they begin: 7d on Thursdays, 1w on Mondays, 30d with the month. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType

from ..truth import DAY_MS, MINUTE_MS, WEEK_MS, Candle, CandleRule, Interval, end_of, start_of

HOUR_MS = 60 * MINUTE_MS
INTERVALS: Mapping[str, Interval] = MappingProxyType(
    {
        "1s": 1000,
        "10s": 10_000,
        **{f"{minutes}m": minutes * MINUTE_MS for minutes in (1, 3, 5, 15, 30)},
        **{f"{hours}h": hours * HOUR_MS for hours in (1, 2, 4, 6, 8, 12)},
        "1d": DAY_MS,
        "1w": WEEK_MS,
        "30d": "M",
    }
)
"""Of REST; 7d beside them is made of days."""

WEEKS = "7d"  # since the epoch, which was a Thursday
OF_SOCKETS = ("10s", "1m", "5m", "15m", "30m", "1h", "4h", "8h", "1d")
OF_ONE_MARKET: Mapping[str, str] = MappingProxyType({"1s": "spot", "1w": "linear"})


def is_known(name: str, category: str) -> bool:
    """Whether REST of a market has an interval."""
    return name == WEEKS or (name in INTERVALS and OF_ONE_MARKET.get(name, category) == category)


def start_of_bar(name: str, now_ms: int) -> int:
    """The start of the bar that holds a moment."""
    return now_ms - now_ms % WEEK_MS if name == WEEKS else start_of(now_ms, INTERVALS[name])


def end_of_bar(name: str, start: int) -> int:
    """When the bar that begins then ends."""
    return start + WEEK_MS if name == WEEKS else end_of(start, INTERVALS[name])


def length_of(name: str) -> int:
    """The shortest length in milliseconds."""
    length = WEEK_MS if name == WEEKS else INTERVALS[name]
    return length if isinstance(length, int) else 28 * DAY_MS


def weeks(days: Sequence[Candle], rule: CandleRule) -> Iterator[Candle]:
    """Bars of 7d out of days, both oldest first."""
    for start, group in groupby(days, key=lambda candle: start_of_bar(WEEKS, candle.start)):
        yield rule.merge(start, list(group))
