"""Bitget's names of candles: one on the sockets, one on spot's REST, one on that of futures. Pure.

From six hours on the plain names begin in UTC+8, those with the suffix in UTC.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ..eastern import eastern, eastern_start
from ..klines import Klines
from ..symbol_market import SymbolMarket
from ..truth import DAY_MS, MINUTE_MS, WEEK_MS, Candle, Interval, start_of

HOUR_MS = 60 * MINUTE_MS
MINUTES = (1, 3, 5, 15, 30)
MONTH_DAYS = 30
REACH_DAYS = {1: 30, 3: 30, 5: 30, 15: 52, 30: 62, 60: 83, 120: 120, 240: 240, 360: 360}  # by minutes, of /candles


class Length(NamedTuple):
    """The length of a candle, and whether it begins in UTC+8."""

    interval: Interval
    is_eastern: bool = False

    def start(self, now_ms: int) -> int:
        """The start of the candle that holds a moment."""
        return eastern_start(self.interval, now_ms) if self.is_eastern else start_of(now_ms, self.interval)

    def reach_ms(self) -> int:
        """How far back the recent candles go."""
        days = None if isinstance(self.interval, str) else REACH_DAYS.get(self.interval // MINUTE_MS)
        return 10_000 * DAY_MS if days is None else days * DAY_MS

    def candles(self, klines: Klines, symbol: SymbolMarket, end: int, limit: int, now_ms: int) -> list[Candle]:
        """At most `limit` candles that begin up to `end`, newest first."""
        if self.is_eastern:
            return eastern(klines, symbol, self.interval, end, limit, now_ms)
        return klines.candles(symbol, self.interval, None, end, limit, now_ms)


LONG: Mapping[str, Interval] = MappingProxyType(
    {"6H": 6 * HOUR_MS, "12H": 12 * HOUR_MS, "1D": DAY_MS, "3D": 3 * DAY_MS, "1W": WEEK_MS, "1M": "M"}
)
_IN_UTC = {f"{name}utc": Length(interval) for name, interval in LONG.items()}
_SPOT_LONG = {"6H": "6h", "12H": "12h", "1D": "1day", "3D": "3day", "1W": "1week", "1M": "1M"}

FUTURES: Mapping[str, Length] = MappingProxyType(
    {f"{each}m": Length(each * MINUTE_MS) for each in MINUTES}
    | {f"{each}H": Length(each * HOUR_MS) for each in (1, 2, 4)}
    | {name: Length(interval, is_eastern=True) for name, interval in LONG.items()}
    | _IN_UTC
)
"""REST of futures, and the channels of all sockets after `candle`."""

SPOT: Mapping[str, Length] = MappingProxyType(
    {f"{each}min": Length(each * MINUTE_MS) for each in MINUTES}
    | {f"{each}h": Length(each * HOUR_MS) for each in (1, 4)}
    | {_SPOT_LONG[name]: Length(interval, is_eastern=True) for name, interval in LONG.items()}
    | _IN_UTC
)
"""REST of spot, without two hours."""
