"""Klines the slow and obvious way, in Decimal: the oracle that the numpy table is held against."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal, localcontext

Values = tuple[Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, int]
"""Open, high, low, close, volume, turnover, count."""

Row = tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, int]
"""The start before them."""


@dataclass
class Trade:
    symbol: str
    event_ms: int
    price: Decimal
    size: Decimal


def turnover_of(trade: Trade, inverse: bool = False) -> Decimal:
    """Price times size; of inverse contracts size over price, cut to eight decimals."""
    if inverse:
        return (trade.size / trade.price).quantize(Decimal("1e-8"), ROUND_DOWN)
    return trade.price * trade.size


def sums_of(trades: Sequence[Trade], inverse: bool = False) -> tuple[Decimal, Decimal]:
    """Volume and turnover to the last digit."""
    with localcontext(prec=1_000):
        return sum((t.size for t in trades), Decimal(0)), sum((turnover_of(t, inverse) for t in trades), Decimal(0))


def candles(trades: Sequence[Trade], step_ms: int, until_ms: int, inverse: bool = False) -> list[Row]:
    """(start, open, high, low, close, volume, turnover, count) of one symbol's windows that end by `until_ms`."""
    out: list[Row] = []
    close: Decimal | None = None
    start = min(t.event_ms for t in trades) // step_ms * step_ms
    while start + step_ms <= until_ms:
        inside = sorted((t for t in trades if start <= t.event_ms < start + step_ms), key=lambda t: t.event_ms)
        opening = close if close is not None else inside[0].price
        prices = [opening, *(t.price for t in inside)]
        close = prices[-1]
        out.append((start, opening, max(prices), min(prices), close, *sums_of(inside, inverse), len(inside)))
        start += step_ms
    return out


def true_candle(trades: Sequence[Trade], start_ms: int, length_ms: int, prev_close_opens: bool = True) -> Values:
    """(open, high, low, close, volume, turnover, count) of one window of one symbol, none before its first trade's."""
    in_order = sorted(trades, key=lambda t: t.event_ms)
    before = [t.price for t in in_order if t.event_ms < start_ms]
    inside = [t for t in in_order if start_ms <= t.event_ms < start_ms + length_ms]
    prices = [t.price for t in inside]
    if not prices or (prev_close_opens and before):
        prices.insert(0, before[-1])
    return (prices[0], max(prices), min(prices), prices[-1], *sums_of(inside), len(inside))
