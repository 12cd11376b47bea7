"""The JSON text of Bitget's rows: trades, tickers, candles, instruments. Pure; key order as recorded."""

from decimal import Decimal
from typing import Any

from ..symbol_market import SymbolMarket
from ..trades import Trade
from ..truth import Candle, printed

SIDE = {"Buy": "buy", "Sell": "sell"}
FUNDING_MS = 8 * 3_600_000


def arg_text(topic: str) -> str:
    """The arg of a topic: `instType:channel:instId`, and on v3 `instType:topic`."""
    product, channel, *names = topic.split(":", 2)
    if not names:
        return f'{{"instType":"{product}","topic":"{channel}"}}'
    return f'{{"instType":"{product}","channel":"{channel}","instId":"{names[0]}"}}'


def message(topic: str, data: str, now_ms: int, action: str = "update") -> str:
    """A data message of rows that are joined already."""
    return f'{{"action":"{action}","arg":{arg_text(topic)},"data":[{data}],"ts":{now_ms}}}'


def trade_text(trade: Trade) -> str:
    """One trade of the channel."""
    return (
        f'{{"ts":"{trade.event_ms}","price":"{trade.price}","size":"{trade.size}","side":"{SIDE[trade.side]}",'
        f'"tradeId":"{trade.id}"}}'
    )


def fill_row(name: str, trade: Trade) -> dict[str, str]:
    """One trade of /fills."""
    found = {"symbol": name, "tradeId": trade.id, "side": SIDE[trade.side], "price": trade.price, "size": trade.size}
    return {**found, "ts": str(trade.event_ms)}


def history_row(name: str, trade: Trade) -> dict[str, str]:
    """One trade of /fills-history, as its newer documentation has it: whole seconds, sides with a capital."""
    return fill_row(name, trade) | {"side": trade.side, "ts": str(trade.event_ms // 1000 * 1000)}


class Day:
    """A symbol's values of 24 hours as texts."""

    def __init__(self, symbol: SymbolMarket) -> None:
        price, tick = symbol.price_text, symbol.instrument.tick
        bid, bid_lots, ask_lots = symbol.own.best()
        first = int(symbol.instrument.first_price / tick)
        self.last, self.open = symbol.last_price(), price(first)
        self.high, self.low = price(symbol.high_ticks), price(symbol.low_ticks)
        self.change = f"{(symbol.last_ticks - first) / first:.5f}"
        self.bid, self.ask = price(bid), price(bid + 1)
        self.bid_size, self.ask_size = symbol.size_text(bid_lots), symbol.size_text(ask_lots)
        self.volume, self.turnover = symbol.size_text(symbol.volume_lots), symbol.turnover_text()


def ticker_row(symbol: SymbolMarket, now_ms: int) -> dict[str, str]:
    """A ticker of the channel: `change24h` is a fraction."""
    day, name = Day(symbol), symbol.instrument.symbol
    if symbol.instrument.category == "spot":
        return {
            "instId": name,
            "lastPr": day.last,
            "open24h": day.open,
            "high24h": day.high,
            "low24h": day.low,
            "change24h": day.change,
            "bidPr": day.bid,
            "askPr": day.ask,
            "bidSz": day.bid_size,
            "askSz": day.ask_size,
            "baseVolume": day.volume,
            "quoteVolume": day.turnover,
            "openUtc": day.open,
            "changeUtc24h": day.change,
            "ts": str(now_ms),
        }
    return {
        "instId": name,
        "lastPr": day.last,
        "bidPr": day.bid,
        "askPr": day.ask,
        "bidSz": day.bid_size,
        "askSz": day.ask_size,
        "open24h": day.open,
        "high24h": day.high,
        "low24h": day.low,
        "change24h": day.change,
        "fundingRate": "0.0001",
        "nextFundingTime": str(now_ms - now_ms % FUNDING_MS + FUNDING_MS),
        "markPrice": day.last,
        "indexPrice": day.last,
        "holdingAmount": day.volume,
        "baseVolume": day.volume,
        "quoteVolume": day.turnover,
        "openUtc": day.open,
        "symbolType": "1",
        "symbol": name,
        "ts": str(now_ms),
    }


def rest_ticker_row(symbol: SymbolMarket, now_ms: int) -> dict[str, Any]:
    """A ticker of REST: under `symbol`, with the turnover a second time."""
    row: dict[str, Any] = {**ticker_row(symbol, now_ms), "symbol": symbol.instrument.symbol}
    row |= {"usdtVolume": row["quoteVolume"], "changeUtc24h": row["change24h"]}
    for name in ("instId", "nextFundingTime", "symbolType"):
        row.pop(name, None)
    return row


def candle_row(candle: Candle, columns: int = 8) -> list[str]:
    """A candle: volume in the coin, turnover in the quote, and with the eighth column in USDT."""
    prices = map(printed, (candle.open, candle.high, candle.low, candle.close))
    row = [str(candle.start), *prices, printed(candle.volume), printed(candle.turnover), printed(candle.turnover)]
    return row[:columns]


def spot_row(symbol: SymbolMarket) -> dict[str, str]:
    """A symbol of spot: precisions are numbers of decimals."""
    each = symbol.instrument
    return {
        "symbol": each.symbol,
        "baseCoin": each.base,
        "quoteCoin": each.quote,
        "minTradeAmount": "0",
        "maxTradeAmount": "900000000000000000000",
        "takerFeeRate": "0.002",
        "makerFeeRate": "0.002",
        "pricePrecision": str(_decimals(each.tick)),
        "quantityPrecision": str(_decimals(each.lot)),
        "quotePrecision": "8",
        "status": "online",
        "minTradeUSDT": "1",
        "buyLimitPriceRatio": "0.02",
        "sellLimitPriceRatio": "0.02",
        "areaSymbol": "no",
        "orderQuantity": "200",
        "openTime": str(symbol.listed_ms),
        "offTime": "",
        "maxLimitOrderValue": "20000000",
        "maxMarketOrderValue": "1000000",
    }


def contract_row(symbol: SymbolMarket) -> dict[str, Any]:
    """A contract: its tick is priceEndStep x 10^-pricePlace, sizeMultiplier the step of sizes."""
    each = symbol.instrument
    tick, lot = each.tick.normalize(), each.lot.normalize()
    place = _decimals(each.tick)
    return {
        "symbol": each.symbol,
        "baseCoin": each.base,
        "quoteCoin": each.quote,
        "buyLimitPriceRatio": "0.05",
        "sellLimitPriceRatio": "0.05",
        "feeRateUpRatio": "0.005",
        "makerFeeRate": "0.0002",
        "takerFeeRate": "0.0006",
        "openCostUpRatio": "0.01",
        "supportMarginCoins": ["USDT"],
        "minTradeNum": format(lot, "f"),
        "priceEndStep": str(int(tick.scaleb(place))),
        "volumePlace": str(_decimals(each.lot)),
        "pricePlace": str(place),
        "sizeMultiplier": format(lot, "f"),
        "symbolType": "perpetual",
        "minTradeUSDT": "5",
        "maxSymbolOrderNum": "200",
        "maxProductOrderNum": "1000",
        "maxPositionNum": "200",
        "symbolStatus": "normal",
        "offTime": "-1",
        "limitOpenTime": "-1",
        "deliveryTime": "",
        "deliveryStartTime": "",
        "deliveryPeriod": "",
        "launchTime": "",
        "fundInterval": "8",
        "minLever": "1",
        "maxLever": "150",
        "posLimit": "0.2",
        "maintainTime": "",
        "openTime": "",
        "maxMarketOrderQty": "220",
        "maxOrderQty": "1200",
        "isRwa": "NO",
    }


def _decimals(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
