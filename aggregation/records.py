"""Closed windows as the records that leave the room. Pure."""

from collections.abc import Callable
from decimal import Decimal

import numpy as np

from aggregation import bars as b
from aggregation.bars import Ints
from aggregation.decimals import exact, rounded
from aggregation.kline import Kline
from aggregation.level import FROM_EXCHANGE, OPEN, REVISION, Level, turnover_of
from aggregation.symbols import Symbols

INVERSE_TURNOVER_DIGITS = 8  # BYBIT: turnover of inverse candles is in the coin, with so many decimals


def klines_of(level: Level, windows: Ints, symbols: Symbols, *, inverse: bool) -> list[Kline]:
    """One kline per window, in their order; `windows` has the shape (level.CLOSED_COLUMNS, n)."""
    turnover = _quotient if inverse else _product
    lengths = level.interval.end_of(windows[b.START]) - windows[b.START]
    highs, lows = _high_low(level, windows)
    complete = (windows[b.INTACT] == 1) & (windows[b.COVERED_MS] == lengths)
    columns = (
        lengths, windows[b.START], windows[OPEN], highs, lows, windows[b.CLOSE], windows[b.VOLUME],
        windows[b.COUNT], windows[b.TURNOVER_HIGH], windows[b.TURNOVER_LOW], complete, windows[REVISION],
        windows[FROM_EXCHANGE],
    )  # fmt: skip
    rows = windows[b.ROW]
    names = (symbols.names[row] for row in rows.tolist())
    scales = (symbols.price_scale[rows].tolist(), symbols.size_scale[rows].tolist())
    return [_kline(turnover, *values) for values in zip(names, *scales, *(c.tolist() for c in columns), strict=True)]


def turnover_units(turnover: Decimal, price_scale: int, size_scale: int, *, inverse: bool) -> int:
    """A turnover as the integer that `klines_of` makes it from."""
    return int(turnover.scaleb(b.QUOTIENT_SCALE + size_scale - price_scale if inverse else price_scale + size_scale))


def _high_low(level: Level, windows: Ints) -> tuple[Ints, Ints]:
    opens, traded = windows[OPEN], (windows[b.COUNT] > 0) | (windows[FROM_EXCHANGE] == 1)
    highs, lows = windows[b.HIGH], windows[b.LOW]
    if level.prev_close_opens:
        highs, lows = np.maximum(highs, opens), np.minimum(lows, opens)
    return np.where(traded, highs, opens), np.where(traded, lows, opens)


def _product(units: int, price_scale: int, size_scale: int) -> Decimal:
    return exact(units, price_scale + size_scale)


def _quotient(units: int, price_scale: int, size_scale: int) -> Decimal:
    """To the eighth decimal, as Bybit gives it."""
    return rounded(units, b.QUOTIENT_SCALE + size_scale - price_scale, INVERSE_TURNOVER_DIGITS)


def _kline(
    turnover: Callable[[int, int, int], Decimal],
    symbol: str,
    price_scale: int,
    size_scale: int,
    length_ms: int,
    start_ms: int,
    open_: int,
    high: int,
    low: int,
    close: int,
    volume: int,
    count: int,
    turnover_high: int,
    turnover_low: int,
    complete: bool,
    revision: int,
    from_exchange: int,
) -> Kline:
    def price(ticks: int) -> Decimal:
        return exact(ticks, price_scale)

    return Kline(
        symbol=symbol,
        interval=length_ms,
        timestamp=start_ms,
        open=price(open_),
        high=price(high),
        low=price(low),
        close=price(close),
        volume=exact(volume, size_scale),
        trade_count=count,
        turnover=turnover(turnover_of(turnover_high, turnover_low), price_scale, size_scale),
        complete=complete,
        source="exchange" if from_exchange else "trades",
        revision=revision,
    )
