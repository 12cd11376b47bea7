"""Candles from before the start, made up backwards so that the last close is the first price.

Pure and seeded.
"""

from decimal import Decimal
from random import Random

from .instruments import Instrument
from .truth import MINUTE_MS, Candle, coins, flat

QUIET_SHARE = 0.1  # of minutes without a trade; nine in ten for an illiquid symbol
MAX_MOVE_TICKS = 12
MAX_LOTS = 500


def history_before(instrument: Instrument, until_ms: int, minutes: int, is_illiquid: bool, rng: Random) -> list[Candle]:
    """`minutes` one-minute candles, oldest first, the last one ending at `until_ms`."""
    price_text = instrument.price_text()
    ticks = int(instrument.first_price / instrument.tick)
    quiet = 1 - QUIET_SHARE if is_illiquid else QUIET_SHARE
    candles: list[Candle] = []
    for i in range(minutes):
        start = until_ms - (i + 1) * MINUTE_MS
        if rng.random() < quiet:
            candles.append(flat(start, Decimal(price_text(ticks))))
            continue
        opening = max(1100, ticks + rng.randint(-MAX_MOVE_TICKS, MAX_MOVE_TICKS))
        candles.append(_candle(instrument, start, opening, ticks, rng))
        ticks = opening
    candles.reverse()
    return candles


def _candle(instrument: Instrument, start: int, opening: int, closing: int, rng: Random) -> Candle:
    price_text = instrument.price_text()
    high = max(opening, closing) + rng.randint(0, MAX_MOVE_TICKS)
    low = min(opening, closing) - rng.randint(0, MAX_MOVE_TICKS)
    o, h, low_price, c = (Decimal(price_text(ticks)) for ticks in (opening, high, low, closing))
    volume = instrument.lot * rng.randint(1, MAX_LOTS)
    turnover = coins(volume, c) if instrument.category == "inverse" else volume * c
    return Candle(start, o, h, low_price, c, volume, turnover, rng.randint(1, 40), start + MINUTE_MS - 1)
