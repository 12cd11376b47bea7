"""OKX's names of bars, and where they begin: from six hours on the plain names in UTC+8 (trap T5). Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from ..eastern import HOUR_MS, eastern_end, eastern_start
from ..truth import MINUTE_MS, Interval, end_of, start_of

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
    return eastern_end(EASTERN[bar], start) if bar in EASTERN else end_of(start, INTERVALS[bar])


def start_of_bar(bar: str, now_ms: int) -> int:
    """The start of the bar that holds a moment."""
    return eastern_start(EASTERN[bar], now_ms) if bar in EASTERN else start_of(now_ms, INTERVALS[bar])
