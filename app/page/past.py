"""Candles of the past as pages show them: of the store where they are whole, of the exchange for the rest.

Blocks; the history's thread.
"""

from collections.abc import Sequence

from consumers.web.live.history import Past, ReadCandles
from model.intervals import Interval
from model.ports import CandleStore, StoreError
from model.records import Candle, Kline


def read_past(
    store: CandleStore | None,
    read: ReadCandles,
    market: str,
    symbol: str,
    interval: Interval,
    from_ms: int,
    until_ms: int,
) -> Past:
    """Read candles that begin in a span, the open one included; `read` reads those of the exchange.

    At most one request is for the exchange: the candles before those of the store, or behind them, or all. The open one
    is left out where the collector's own has all since it began.
    """
    stored = _stored(store, market, symbol, interval, from_ms, until_ms)
    if not stored:
        return read(market, symbol, interval, from_ms, until_ms)
    first_ms, end_ms = stored[0].timestamp, interval.window_end(stored[-1].timestamp)
    is_open_whole = end_ms == interval.window_start(until_ms - 1) and stored[-1].source == "trades"
    begins_there = first_ms <= from_ms
    candles = [_candle(kline) for kline in stored]
    if begins_there and is_open_whole:
        return Past(candles)
    if is_open_whole:
        rest = read(market, symbol, interval, from_ms, first_ms)
    elif begins_there:
        rest = read(market, symbol, interval, end_ms, until_ms)
    else:
        rest = read(market, symbol, interval, from_ms, until_ms)
    joined = {candle.start_ms: candle for candle in (*candles, *rest.candles)}
    return Past([joined[start_ms] for start_ms in sorted(joined)], rest.note, rest.is_final)


def _stored(
    store: CandleStore | None, market: str, symbol: str, interval: Interval, from_ms: int, until_ms: int
) -> Sequence[Kline]:
    """The newest klines of the store that are complete, without a hole between them."""
    if store is None:
        return ()
    try:
        klines = store.klines(market, symbol, interval.step_ms, from_ms, until_ms)
    except StoreError:
        return ()  # the store reports it itself
    whole: list[Kline] = []
    for kline in reversed(klines):
        if not kline.complete or (whole and interval.window_end(kline.timestamp) != whole[-1].timestamp):
            break
        whole.append(kline)
    return whole[::-1]


def _candle(kline: Kline) -> Candle:
    prices = kline.open, kline.high, kline.low, kline.close
    return Candle(kline.timestamp, *prices, kline.volume, kline.turnover)
