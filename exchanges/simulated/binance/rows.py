"""The JSON text of Binance's events and rows: tickers, candles, trades. Pure; key order as recorded."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from ..symbol_market import SymbolMarket
from ..trades import Trade
from ..truth import DAY_MS, INVERSE_TURNOVER_STEP, Candle, printed
from .aggregates import Aggregate

FUTURES_TAG = {"linear": '"st":1', "inverse": '"st":2'}  # since 2026-06-30 (trap T10)
RETAIL, INSURANCE = "RPI", "INSURANCE_FUND"


def message(name: str, data: str) -> str:
    """A payload of a combined stream."""
    return f'{{"stream":"{name}","data":{data}}}'


def inner(body: bytes) -> bytes:
    """The payload without what `message` puts around it: as a raw stream has it."""
    return body[body.index(b',"data":') + 8 : -1]


class Day(dict[str, Any]):
    """The values of 24 hours, by the names that REST has; the volume in contracts and the turnover in the coin for
    inverse."""

    def __init__(self, symbol: SymbolMarket, now_ms: int) -> None:
        instrument, price = symbol.instrument, symbol.price_text
        first = int(instrument.first_price / instrument.tick)
        change = symbol.last_ticks - first
        sign = "-" if change < 0 else ""
        recent = symbol.recent
        lots = next((trade.lots for trade in reversed(recent) if trade.is_counted), 0)
        super().__init__(
            priceChange=sign + price(abs(change)),
            priceChangePercent=f"{change / first * 100:.3f}",
            weightedAvgPrice=price((symbol.high_ticks + symbol.low_ticks) // 2),
            lastPrice=symbol.last_price(),
            lastQty=symbol.size_text(lots),
            openPrice=price(first),
            highPrice=price(symbol.high_ticks),
            lowPrice=price(symbol.low_ticks),
            volume=symbol.size_text(symbol.volume_lots),
            quoteVolume=symbol.turnover_text(),
            openTime=now_ms - DAY_MS,
            closeTime=now_ms,
            firstId=recent[0].number if recent else -1,
            lastId=recent[-1].number if recent else -1,
            count=symbol.truth.trade_count + len(symbol.truth.pending),
        )


def best_of(symbol: SymbolMarket) -> dict[str, str]:
    """Best prices, by the names that REST has."""
    mid, bid_lots, ask_lots = symbol.own.best()
    return {
        "bidPrice": symbol.price_text(mid),
        "bidQty": symbol.size_text(bid_lots),
        "askPrice": symbol.price_text(mid + 1),
        "askQty": symbol.size_text(ask_lots),
    }


def trade_row(symbol: SymbolMarket, trade: Trade) -> dict[str, Any]:
    """One match, as REST has it."""
    category, size = symbol.instrument.category, symbol.instrument.contract_size
    price, quantity = Decimal(trade.price), Decimal(trade.size)
    row: dict[str, Any] = {"id": trade.number, "price": trade.price, "qty": trade.size}
    if category == "inverse":
        row["baseQty"] = coins(quantity * size / price)
    else:
        row["quoteQty"] = worth(symbol, quantity * price)
    row |= {"time": trade.event_ms, "isBuyerMaker": trade.side == "Sell"}
    return row | ({"isBestMatch": True} if category == "spot" else {"isRPITrade": trade.mark == RETAIL})


def aggregate_row(symbol: SymbolMarket, each: Aggregate) -> dict[str, Any]:
    """One aggregate, as REST has it."""
    row: dict[str, Any] = {"a": each.number, "p": each.price, "q": symbol.size_text(each.lots)}
    row |= {"f": each.first, "l": each.last, "T": each.event_ms, "m": each.is_sold}
    return row | ({"M": True} if symbol.instrument.category == "spot" else {})


def candle_row(symbol: SymbolMarket, candle: Candle, end: int) -> list[Any]:
    """A candle, as REST has it: contracts and coins of COIN-M (trap T9)."""
    prices = map(printed, (candle.open, candle.high, candle.low, candle.close))
    turnover, bought = worth(symbol, candle.turnover), worth(symbol, candle.buy_turnover)
    return [
        candle.start, *prices, printed(candle.volume), end - 1, turnover, candle.trade_count,
        printed(candle.buy_volume), bought, "0",
    ]  # fmt: skip


def kline_text(symbol: SymbolMarket, candle: Candle, interval: str, end: int, *, is_closed: bool, now_ms: int) -> str:
    """A candle, as its stream has it."""
    name = symbol.instrument.symbol
    o, h, low, c = map(printed, (candle.open, candle.high, candle.low, candle.close))
    return (
        f'{{"e":"kline","E":{now_ms},"s":"{name}","k":{{"t":{candle.start},"T":{end - 1},"s":"{name}",'
        f'"i":"{interval}","f":{candle.first_id},"L":{candle.last_id},"o":"{o}","c":"{c}","h":"{h}","l":"{low}",'
        f'"v":"{printed(candle.volume)}","n":{candle.trade_count},"x":{"true" if is_closed else "false"},'
        f'"q":"{worth(symbol, candle.turnover)}","V":"{printed(candle.buy_volume)}",'
        f'"Q":"{worth(symbol, candle.buy_turnover)}","B":"0"}}}}'
    )


def worth(symbol: SymbolMarket, amount: Decimal) -> str:
    """A turnover: of spot with eight decimals where they hold it, of COIN-M rounded to them."""
    category = symbol.instrument.category
    if category == "spot" and amount == (short := amount.quantize(INVERSE_TURNOVER_STEP)):
        return printed(short)
    return coins(amount) if category == "inverse" and amount else printed(amount)


def coins(amount: Decimal) -> str:
    """An amount of a coin, rounded half up to eight decimals."""
    return printed(amount.quantize(INVERSE_TURNOVER_STEP, ROUND_HALF_UP))
