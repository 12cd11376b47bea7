"""Klines the slow and obvious way, in Decimal: the oracle that the numpy table is held against."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal


@dataclass
class Trade:
    symbol: str
    event_ms: int
    price: Decimal
    size: Decimal


def candles(trades: Sequence[Trade], step_ms: int, until_ms: int) -> list[tuple]:
    """(start, open, high, low, close, volume, turnover, count) of one symbol's windows that end by `until_ms`."""
    out, close = [], None
    start = min(t.event_ms for t in trades) // step_ms * step_ms
    while start + step_ms <= until_ms:
        inside = sorted((t for t in trades if start <= t.event_ms < start + step_ms), key=lambda t: t.event_ms)
        opening = close if close is not None else inside[0].price
        prices = [opening, *(t.price for t in inside)]
        close = prices[-1]
        volume = sum((t.size for t in inside), Decimal(0))
        turnover = sum((t.price * t.size for t in inside), Decimal(0))
        out.append((start, opening, max(prices), min(prices), close, volume, turnover, len(inside)))
        start += step_ms
    return out


def true_candle(trades: Sequence[Trade], start_ms: int, length_ms: int, prev_close_opens: bool = True) -> tuple:
    """(open, high, low, close, volume, turnover, count) of one window of one symbol, none before its first trade's."""
    in_order = sorted(trades, key=lambda t: t.event_ms)
    before = [t.price for t in in_order if t.event_ms < start_ms]
    inside = [t for t in in_order if start_ms <= t.event_ms < start_ms + length_ms]
    prices = [t.price for t in inside]
    if not prices or (prev_close_opens and before):
        prices.insert(0, before[-1])
    volume = sum((t.size for t in inside), Decimal(0))
    turnover = sum((t.price * t.size for t in inside), Decimal(0))
    return (prices[0], max(prices), min(prices), prices[-1], volume, turnover, len(inside))
