"""Candles that begin at multiples in UTC+8, as the plain daily ones of OKX and Bitget do.

Event loop thread only.
"""

from itertools import groupby

from .klines import Klines
from .symbol_market import SymbolMarket
from .truth import MINUTE_MS, Candle, Interval, end_of, start_of

HOUR_MS = 60 * MINUTE_MS
EAST_MS = 8 * HOUR_MS


def eastern_start(interval: Interval, event_ms: int) -> int:
    """The start of the candle that holds `event_ms`."""
    return start_of(event_ms + EAST_MS, interval) - EAST_MS


def eastern_end(interval: Interval, start: int) -> int:
    """The start of the next candle."""
    return end_of(start + EAST_MS, interval) - EAST_MS


def eastern(
    klines: Klines, symbol: SymbolMarket, interval: Interval, end: int, limit: int, now_ms: int
) -> list[Candle]:
    """At most `limit` candles that begin up to `end`, newest first, out of hours."""
    long = 31 * 24 if isinstance(interval, str) else interval // HOUR_MS
    until = min(eastern_end(interval, eastern_start(interval, end)) - 1, now_ms)
    hours = klines.candles(symbol, HOUR_MS, None, until, (limit + 1) * long, now_ms)[::-1]
    groups = groupby(hours, key=lambda candle: eastern_start(interval, candle.start))
    found = [symbol.truth.rule.merge(start, list(group)) for start, group in groups]
    return found[:0:-1][:limit]  # the oldest may be cut
