"""OKX's names of bars, and where they begin: from six hours on the plain names in UTC+8 (trap T5). Pure."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType

from ..truth import MINUTE_MS, Candle, CandleRule, Interval, end_of, start_of

HOUR_MS = 60 * MINUTE_MS
EAST_MS = 8 * HOUR_MS
INTERVALS: Mapping[str, Interval] = MappingProxyType(
    {
        "1s": 1000,
        **{f"{minutes}m": minutes * MINUTE_MS for minutes in (1, 3, 5, 15, 30)},
        **{f"{hours}H": hours * HOUR_MS for hours in (1, 2, 4)},
        "6Hutc": 6 * HOUR_MS,
        "12Hutc": 12 * HOUR_MS,
        "1Dutc": 24 * HOUR_MS,
        "1Wutc": 168 * HOUR_MS,
        "1Mutc": "M",
    }
)
"""The bars that begin at multiples in UTC; those without the suffix, from six hours on, REST alone has here."""

EASTERN: Mapping[str, Interval] = MappingProxyType(
    {name.removesuffix("utc"): interval for name, interval in INTERVALS.items() if name.endswith("utc")}
)
"""Those that begin at multiples in UTC+8."""


def end_of_bar(bar: str, start: int) -> int:
    """When the bar that begins then ends."""
    if bar in EASTERN:
        return end_of(start + EAST_MS, EASTERN[bar]) - EAST_MS
    return end_of(start, INTERVALS[bar])


def start_of_bar(bar: str, now_ms: int) -> int:
    """The start of the bar that holds a moment."""
    if bar in EASTERN:
        return start_of(now_ms + EAST_MS, EASTERN[bar]) - EAST_MS
    return start_of(now_ms, INTERVALS[bar])


def eastern(bar: str, hours: Sequence[Candle], rule: CandleRule) -> Iterator[Candle]:
    """Bars of UTC+8 out of hours, both oldest first."""
    for start, group in groupby(hours, key=lambda candle: start_of_bar(bar, candle.start)):
        yield rule.merge(start, list(group))
