"""The arithmetic of the exchange's candles and recent trades: one window of several, compared, made of trades.

Pure; exact decimals.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from aggregation.klines.arithmetic import ONE, Arithmetic
from aggregation.klines.decimals import plain, total, written_decimal
from model.markets import OpenRule
from model.records import Candle, Kline, PastTrade

TURNOVER_SHARE = Decimal("0.99")  # of what we counted: the exchange may round or cut each trade's in another way


@dataclass(frozen=True, slots=True)
class TradeCandle(Candle):
    """One window as it was traded, and how many trades it had."""

    trade_count: int


def candles_of_trades(
    past: Sequence[PastTrade], windows: Iterable[tuple[int, int]], arithmetic: Arithmetic, contract_size: Decimal = ONE
) -> dict[int, TradeCandle]:
    """The windows (start, end; oldest first) that `past` (oldest first, no hole) reaches over, as candles by start.

    Windows that a trade without a size belongs to, or opens, are left out: it could not be read. So are those of a
    trade with more digits than a float has: its price or size is not certain.
    """
    found: dict[int, TradeCandle] = {}
    position = 0
    for start_ms, end_ms in windows:
        if not past or start_ms <= past[0].event_ms:  # older trades of the oldest one's millisecond may be missing
            continue
        while position < len(past) and past[position].event_ms < start_ms:
            position += 1
        last = position
        while last < len(past) and past[last].event_ms < end_ms:
            last += 1
        before, traded = past[position - 1], past[position:last]
        if all(map(_is_certain, (before, *traded))):
            found[start_ms] = _candle(start_ms, before, traded, arithmetic, contract_size)
        position = last
    return found


def _is_certain(trade: PastTrade) -> bool:
    return trade.size > 0 and written_decimal(trade.price) is not None and written_decimal(trade.size) is not None


def _candle(
    start_ms: int, before: PastTrade, traded: Sequence[PastTrade], arithmetic: Arithmetic, contract_size: Decimal
) -> TradeCandle:
    prices, sizes = [decimal_of(trade.price) for trade in traded], [decimal_of(trade.size) for trade in traded]
    opened = decimal_of(before.price) if arithmetic.prev_close_opens or not prices else prices[0]
    turnover, count = total(map(arithmetic.trade_turnover, sizes, prices)), sum(trade.matches for trade in traded)
    return TradeCandle(
        start_ms=start_ms,
        open=opened,
        high=max([opened, *prices]),
        low=min([opened, *prices]),
        close=prices[-1] if prices else opened,
        volume=arithmetic.volume_of(plain(total(sizes)), contract_size),
        turnover=plain(arithmetic.turnover_of(turnover, count, contract_size)),
        trade_count=count,
    )


def decimal_of(value: float) -> Decimal:
    """The decimal that the exchange wrote: the shortest that reads as this float."""
    return plain(Decimal(repr(value)))


def lacks_trades(candle: Candle, kline: Kline) -> bool:
    """Whether the exchange's candle lacks trades that were counted here: it is not final, or not right.

    The open may come from a trade before the window, so that only what lies beyond it was traded for sure.
    """
    if kline.source != "trades" or not kline.trade_count:
        return False
    return (
        candle.volume < kline.volume
        or candle.turnover < kline.turnover * TURNOVER_SHARE
        or not candle.low <= kline.close <= candle.high
        or kline.open < kline.high > candle.high
        or kline.open > kline.low < candle.low
    )


def rolled_up(
    by_start: Mapping[int, Candle], start_ms: int, end_ms: int, step_ms: int, opens_at: OpenRule = "prev_close"
) -> Candle | None:
    """The exchange's candles of [start_ms, end_ms) as one, `step_ms` each (0: one month); None where one is missing.

    Where the exchange opens at the first trade, candles without a trade give nothing but the last price before it.
    """
    wanted = range(start_ms, end_ms, step_ms or end_ms - start_ms)
    parts = [by_start[start] for start in wanted if start in by_start]
    if len(parts) < len(wanted):
        return None
    if opens_at == "first_trade":
        parts = [candle for candle in parts if candle.volume] or parts[:1]
    return Candle(
        start_ms=start_ms,
        open=parts[0].open,
        high=max(candle.high for candle in parts),
        low=min(candle.low for candle in parts),
        close=parts[-1].close,
        volume=total(candle.volume for candle in parts),
        turnover=total(candle.turnover for candle in parts),
    )
