"""The JSON text of BingX's messages and rows: trades, tickers, candles, instruments. Pure; key order as recorded."""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from ..symbol_market import SymbolMarket
from ..trades import Trade
from ..truth import DAY_MS, Candle, printed

TURNOVER_STEP = Decimal("0.01")
FUNDS_CUT = 10_000  # q of a swap's ticker is so many times too small (captures of 2025)
PAUSED, OFF = 25, 0
PAUSED_CONTRACT, OFF_PAIR = "NCFXEUR2JPY-USDT", "SFTY-USDT"


def swap_message(topic: str, data: str, after_topic: str = "") -> str:
    """A data message of swaps."""
    return f'{{"code":0,"dataType":"{topic}",{after_topic}"data":{data}}}'


def spot_message(topic: str, data: str, now_ms: int) -> str:
    """A data message of spot: the topic comes behind the data."""
    return f'{{"code":0,"data":{data},"dataType":"{topic}","success":true,"timestamp":{now_ms}}}'


def swap_trades(name: str, trades: Iterable[Trade]) -> str:
    """Trades as they are given: without ids; m is whether the buyer was the maker."""
    rows = [
        f'{{"q":"{t.size}","p":"{t.price}","T":{t.event_ms},"m":{truth(t.side == "Sell")},"s":"{name}"}}'
        for t in trades
    ]
    return f"[{','.join(rows)}]"


def spot_trade(name: str, t: Trade, now_ms: int) -> str:
    """A trade: T of the match, E of the push."""
    return (
        f'{{"E":{now_ms},"T":{t.event_ms},"e":"trade","m":{truth(t.side == "Sell")},"p":"{t.price}","q":"{t.size}",'
        f'"s":"{name}","t":"{t.id}"}}'
    )


def truth(value: bool) -> str:
    """A boolean."""
    return "true" if value else "false"


def swap_trade_row(t: Trade) -> dict[str, Any]:
    """A trade of swaps, as REST has it."""
    worth = (Decimal(t.price) * Decimal(t.size)).quantize(TURNOVER_STEP, ROUND_HALF_UP)
    row = {"time": t.event_ms, "isBuyerMaker": t.side == "Sell", "price": t.price, "qty": t.size}
    return row | {"quoteQty": printed(worth)}


def spot_trade_row(t: Trade) -> str:
    """A trade of spot, as REST has it: numbers."""
    return (
        f'{{"id":{t.number},"price":{t.price},"qty":{t.size},"time":{t.event_ms},'
        f'"buyerMaker":{truth(t.side == "Sell")}}}'
    )


def swap_candle_row(candle: Candle) -> dict[str, Any]:
    """A candle of swaps: objects of texts, without a turnover."""
    names = ("open", "close", "high", "low", "volume")
    return {name: printed(getattr(candle, name)) for name in names} | {"time": candle.start}


def spot_candle_row(candle: Candle, end_ms: int) -> str:
    """A candle of spot: numbers, the turnover rounded."""
    prices = map(printed, (candle.open, candle.high, candle.low, candle.close))
    volume, turnover = printed(candle.volume), printed(candle.turnover.quantize(TURNOVER_STEP, ROUND_HALF_UP))
    return f"[{','.join([str(candle.start), *prices, volume, str(end_ms - 1), turnover])}]"


def swap_kline(symbol: SymbolMarket, topic: str, candle: Candle) -> str:
    """A candle of a stream of swaps: T is its start."""
    o, h, low, c = map(printed, (candle.open, candle.high, candle.low, candle.close))
    data = f'[{{"c":"{c}","o":"{o}","h":"{h}","l":"{low}","v":"{printed(candle.volume)}","T":{candle.start}}}]'
    return swap_message(topic, data, f'"s":"{symbol.instrument.symbol}",')


def spot_kline(symbol: SymbolMarket, topic: str, candle: Candle, interval: str, end_ms: int, now_ms: int) -> str:
    """A candle of a stream of spot: t is its start, T its last ms."""
    o, h, low, c = map(printed, (candle.open, candle.high, candle.low, candle.close))
    name = symbol.instrument.symbol
    bar = (
        f'{{"T":{end_ms - 1},"c":"{c}","h":"{h}","i":"{interval}","l":"{low}","n":{candle.trade_count},"o":"{o}",'
        f'"q":"{printed(candle.turnover)}","s":"{name}","t":{candle.start},"v":"{printed(candle.volume)}"}}'
    )
    data = f'{{"E":{now_ms},"K":{bar},"e":"kline","s":"{name}"}}'
    return f'{{"code":0,"data":{data},"dataType":"{topic}","success":true}}'


class Day(dict[str, str]):
    """The values of 24 hours as texts, by the names that REST has."""

    def __init__(self, symbol: SymbolMarket) -> None:
        instrument, price = symbol.instrument, symbol.price_text
        first = int(instrument.first_price / instrument.tick)
        change = symbol.last_ticks - first
        bid, bid_lots, ask_lots = symbol.own.best()
        super().__init__(
            priceChange=("-" if change < 0 else "") + price(abs(change)),
            priceChangePercent=f"{change / first * 100:.2f}",
            lastPrice=symbol.last_price(),
            lastQty=symbol.recent[-1].size if symbol.recent else "0",
            highPrice=price(symbol.high_ticks),
            lowPrice=price(symbol.low_ticks),
            volume=symbol.size_text(symbol.volume_lots),
            quoteVolume=f"{Decimal(symbol.turnover_text()):.2f}",
            openPrice=price(first),
            bidPrice=price(bid),
            bidQty=symbol.size_text(bid_lots),
            askPrice=price(bid + 1),
            askQty=symbol.size_text(ask_lots),
        )


def swap_ticker(symbol: SymbolMarket, topic: str, now_ms: int) -> str:
    """A ticker of swaps: texts; q has an odd unit."""
    d = Day(symbol)
    funds = f"{Decimal(d['quoteVolume']) / FUNDS_CUT:.2f}"
    data = (
        f'{{"e":"24hTicker","E":{now_ms},"s":"{symbol.instrument.symbol}","p":"{d["priceChange"]}",'
        f'"P":"{d["priceChangePercent"]}","c":"{d["lastPrice"]}","L":"{d["lastQty"]}","h":"{d["highPrice"]}",'
        f'"l":"{d["lowPrice"]}","v":"{d["volume"]}","q":"{funds}","o":"{d["openPrice"]}","O":{now_ms - DAY_MS},'
        f'"C":{now_ms},"A":"{d["askPrice"]}","a":"{d["askQty"]}","B":"{d["bidPrice"]}","b":"{d["bidQty"]}"}}'
    )
    return swap_message(topic, data)


def spot_ticker(symbol: SymbolMarket, topic: str, now_ms: int) -> str:
    """A ticker of spot: numbers, P with a percent sign."""
    d = Day(symbol)
    data = (
        f'{{"e":"24hTicker","E":{now_ms},"s":"{symbol.instrument.symbol}","p":{d["priceChange"]},'
        f'"P":"{d["priceChangePercent"]}%","o":{d["openPrice"]},"h":{d["highPrice"]},"l":{d["lowPrice"]},'
        f'"c":{d["lastPrice"]},"v":{d["volume"]},"q":{d["quoteVolume"]},"O":{now_ms - DAY_MS},"C":{now_ms},'
        f'"A":{d["askPrice"]},"a":{d["askQty"]},"B":{d["bidPrice"]},"b":{d["bidQty"]}}}'
    )
    return f'{{"code":0,"timestamp":{now_ms},"dataType":"{topic}","data":{data}}}'


def ticker_row(symbol: SymbolMarket, now_ms: int) -> dict[str, Any]:
    """A ticker, as REST has it: of swaps texts, of spot numbers without the last size."""
    day: dict[str, Any] = dict(Day(symbol))
    if symbol.instrument.category == "spot":
        day = {key: float(value) for key, value in day.items() if key != "lastQty"}
    day["priceChangePercent"] = f"{day['priceChangePercent']}%"
    times = {"openTime": now_ms - DAY_MS, "closeTime": now_ms}
    return {"symbol": symbol.instrument.symbol, **day, **times}


def contract_row(name: str, base: str, quote: str, tick: Decimal, lot: Decimal, status: int) -> dict[str, Any]:
    """A contract: steps are told by how many decimals they have; `size` is a smallest order, not a contract's."""
    size, is_on = printed(lot), "true" if status == 1 else "false"
    return {
        "contractId": "100",
        "symbol": name,
        "size": size,
        "quantityPrecision": decimals(lot),
        "pricePrecision": decimals(tick),
        "feeRate": 0.0005,
        "makerFeeRate": 0.0002,
        "takerFeeRate": 0.0005,
        "tradeMinLimit": 0,
        "tradeMinQuantity": float(lot),
        "tradeMinUSDT": 2,
        "currency": quote,
        "asset": base,
        "status": status,
        "apiStateOpen": is_on,
        "apiStateClose": is_on,
        "ensureTrigger": True,
        "triggerFeeRate": "0.00020000",
    }


def pair_row(name: str, tick: Decimal, lot: Decimal, status: int) -> dict[str, Any]:
    """A pair of spot; its coins are in its name alone."""
    return {
        "symbol": name,
        "minQty": float(lot),
        "maxQty": 0,
        "minNotional": 5,
        "maxNotional": 20000,
        "status": status,
        "tickSize": float(tick),
        "stepSize": float(lot),
        "apiStateSell": status == 1,
        "apiStateBuy": status == 1,
        "timeOnline": 0,
        "offTime": 0,
        "maintainTime": 0,
    }


def decimals(step: Decimal) -> int:
    """Digits after the point."""
    exponent = step.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(-exponent, 0)
