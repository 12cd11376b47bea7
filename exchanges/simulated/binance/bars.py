"""Binance's names of kline intervals. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from ..truth import MINUTE_MS, Interval

HOUR_MS = 60 * MINUTE_MS
INTERVALS: Mapping[str, Interval] = MappingProxyType(
    {
        "1s": 1000,
        **{f"{minutes}m": minutes * MINUTE_MS for minutes in (1, 3, 5, 15, 30)},
        **{f"{hours}h": hours * HOUR_MS for hours in (1, 2, 4, 6, 8, 12)},
        "1d": 24 * HOUR_MS,
        "1w": 168 * HOUR_MS,
        "1M": "M",
    }
)
"""All but 3d, whose beginning is not documented; 1s is spot's alone."""
