"""Bybit's names of kline intervals (docs: enum#interval), the one table of them. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from model.intervals import DAY_MS, MINUTE_MS, MONTH, WEEK_MS

MINUTES = (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)
INTERVALS: Mapping[int, str] = MappingProxyType(
    {**{m * MINUTE_MS: str(m) for m in MINUTES}, DAY_MS: "D", WEEK_MS: "W", MONTH: "M"}
)
"""Step in ms (model.intervals) -> Bybit's name."""
