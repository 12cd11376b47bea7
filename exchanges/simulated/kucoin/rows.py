"""The JSON of KuCoin's rows: trades, tickers, candles, symbols. Pure; names and types as recorded."""

import json
from decimal import Decimal
from typing import Any

from ..symbol_market import SymbolMarket
from ..trades import Trade
from ..truth import Candle, printed, printed_turnover

SIDE = {"Buy": "buy", "Sell": "sell"}
EXPONENT_FROM = 10**7  # numbers of futures are printed with an exponent from here on


def dump(data: object) -> str:
    """JSON without spaces."""
    return json.dumps(data, separators=(",", ":"))


def match_text(name: str, trade: Trade) -> str:
    """A trade of spot: all texts, the time in nanoseconds, `side` the taker's."""
    return (
        f'{{"makerOrderId":"{trade.seq:024x}","price":"{trade.price}","sequence":"{trade.id}",'
        f'"side":"{SIDE[trade.side]}","size":"{trade.size}","symbol":"{name}","takerOrderId":"{trade.number:024x}",'
        f'"time":"{trade.event_ms}000000","tradeId":"{trade.id}","type":"match"}}'
    )


def execution_text(name: str, trade: Trade) -> str:
    """A trade of futures: lots and nanoseconds are numbers."""
    return (
        f'{{"symbol":"{name}","sequence":{trade.id},"side":"{SIDE[trade.side]}","size":{trade.size},'
        f'"price":"{trade.price}","takerOrderId":"{trade.number}","makerOrderId":"{trade.seq}",'
        f'"tradeId":"{trade.id}","ts":{trade.event_ms}000000}}'
    )


def history_row(trade: Trade) -> dict[str, Any]:
    """A trade of spot, as REST has it: without an id."""
    return {
        "sequence": trade.id,
        "price": trade.price,
        "size": trade.size,
        "side": SIDE[trade.side],
        "time": trade.event_ms * 1_000_000,
    }


def execution_row(trade: Trade) -> dict[str, Any]:
    """A trade of futures, as REST has it."""
    return {
        "sequence": int(trade.id),
        "tradeId": trade.id,
        "takerOrderId": str(trade.number),
        "makerOrderId": str(trade.seq),
        "ts": trade.event_ms * 1_000_000,
        "size": int(trade.size),
        "price": trade.price,
        "side": SIDE[trade.side],
    }


def spot_candle(symbol: SymbolMarket, candle: Candle) -> list[str]:
    """A candle of spot, REST and socket alike: close before high and low."""
    prices = map(printed, (candle.open, candle.close, candle.high, candle.low))
    turnover = printed_turnover(candle, symbol.truth.rule.is_inverse)
    return [str(candle.start // 1000), *prices, printed(candle.volume), turnover]


def stick(symbol: SymbolMarket, candle: Candle) -> list[str]:
    """A candle of futures on the socket: turnover before lots."""
    *head, lots, turnover = spot_candle(symbol, candle)
    return [*head, turnover, lots]


def kline_text(symbol: SymbolMarket, candle: Candle) -> str:
    """A candle of futures from REST: numbers, large ones with an exponent."""
    turnover = Decimal(printed_turnover(candle, symbol.truth.rule.is_inverse))
    numbers = (candle.open, candle.high, candle.low, candle.close, candle.volume, turnover)
    return f"[{candle.start},{','.join(map(_number, numbers))}]"


def _number(value: Decimal) -> str:
    if value < EXPONENT_FROM:
        return printed(value)
    return f"{value.normalize():E}".replace("E+", "E")


def day(symbol: SymbolMarket) -> dict[str, Decimal]:
    """Numbers of the day: the volume in coins, the turnover in the quote."""
    instrument, price = symbol.instrument, symbol.price_text
    opened = Decimal(price(int(instrument.first_price / instrument.tick)))
    last = Decimal(symbol.last_price())
    return {
        "open": opened,
        "high": Decimal(price(symbol.high_ticks)),
        "low": Decimal(price(symbol.low_ticks)),
        "last": last,
        "change": last - opened,
        "rate": ((last - opened) / opened).quantize(Decimal("0.0001")),
        "volume": instrument.contract_size * instrument.lot * symbol.volume_lots,
        "turnover": Decimal(symbol.turnover_text()),
    }


def best(symbol: SymbolMarket) -> tuple[str, str, str, str]:
    """The best bid, its size, the best ask, its size."""
    bid, bid_lots, ask_lots = symbol.own.best()
    price, size = symbol.price_text, symbol.size_text
    return price(bid), size(bid_lots), price(bid + 1), size(ask_lots)


def ticker_row(symbol: SymbolMarket, now_ms: int) -> dict[str, Any]:
    """/market/ticker: best prices and the last trade, nothing of the day."""
    bid, bid_size, ask, ask_size = best(symbol)
    return {
        "bestAsk": ask,
        "bestAskSize": ask_size,
        "bestBid": bid,
        "bestBidSize": bid_size,
        "price": symbol.last_price(),
        "sequence": str(symbol.own.book().last_id),
        "size": symbol.recent[-1].size if symbol.recent else "0",
        "time": now_ms,
    }


def snapshot_row(symbol: SymbolMarket, now_ms: int) -> dict[str, Any]:
    """/market/snapshot: numbers of the day in a `data` within `data`."""
    numbers = {name: float(value) for name, value in day(symbol).items()}
    instrument, (bid, _, ask, _) = symbol.instrument, best(symbol)
    return {
        "sequence": str(symbol.own.book().last_id),
        "data": {
            "averagePrice": numbers["last"],
            "baseCurrency": instrument.base,
            "board": 1,
            "buy": float(bid),
            "changePrice": numbers["change"],
            "changeRate": numbers["rate"],
            "close": numbers["last"],
            "datetime": now_ms,
            "high": numbers["high"],
            "lastTradedPrice": numbers["last"],
            "low": numbers["low"],
            "makerCoefficient": 1.0,
            "makerFeeRate": 0.001,
            "marginTrade": True,
            "mark": 0,
            "market": "USDS",
            "markets": ["USDS"],
            "open": numbers["open"],
            "quoteCurrency": instrument.quote,
            "sell": float(ask),
            "sort": 100,
            "symbol": instrument.symbol,
            "symbolCode": instrument.symbol,
            "takerCoefficient": 1.0,
            "takerFeeRate": 0.001,
            "trading": True,
            "vol": numbers["volume"],
            "volValue": numbers["turnover"],
        },
    }


def futures_snapshot_row(symbol: SymbolMarket, now_ms: int) -> dict[str, Any]:
    """/contractMarket/snapshot: the volume in coins, the time in nanoseconds."""
    numbers = {name: float(value) for name, value in day(symbol).items()}
    return {
        "fundingRate": -0.000002,
        "highPrice": numbers["high"],
        "lastPrice": numbers["last"],
        "lowPrice": numbers["low"],
        "price24HoursBefore": numbers["open"],
        "priceChg": numbers["change"],
        "priceChgPct": numbers["rate"],
        "symbol": symbol.instrument.symbol,
        "ts": now_ms * 1_000_000 + 748_866,
        "turnover": numbers["turnover"],
        "volume": numbers["volume"],
    }


def ticker_v2_row(symbol: SymbolMarket, now_ms: int) -> dict[str, Any]:
    """/contractMarket/tickerV2: best prices alone."""
    bid, bid_size, ask, ask_size = best(symbol)
    return {
        "symbol": symbol.instrument.symbol,
        "sequence": symbol.own.book().last_id,
        "bestBidSize": int(bid_size),
        "bestBidPrice": bid,
        "bestAskPrice": ask,
        "bestAskSize": int(ask_size),
        "ts": now_ms * 1_000_000,
    }


def ticker_v1_row(symbol: SymbolMarket, now_ms: int) -> dict[str, Any]:
    """/contractMarket/ticker (deprecated), and REST's ticker of a contract: the last trade, too."""
    last = symbol.recent[-1] if symbol.recent else None
    traded = {
        "side": SIDE[last.side] if last else "buy",
        "size": int(last.size) if last else 0,
        "price": symbol.last_price(),
        "tradeId": last.id if last else "0",
    }
    return ticker_v2_row(symbol, now_ms) | traded


def symbol_row(symbol: SymbolMarket) -> dict[str, Any]:
    """A symbol of spot."""
    each = symbol.instrument
    tick, lot = (format(step.normalize(), "f") for step in (each.tick, each.lot))
    return {
        "symbol": each.symbol,
        "name": each.symbol,
        "baseCurrency": each.base,
        "quoteCurrency": each.quote,
        "feeCurrency": each.quote,
        "market": "USDS",
        "baseMinSize": lot,
        "quoteMinSize": "0.1",
        "baseMaxSize": "10000000000",
        "quoteMaxSize": "99999999",
        "baseIncrement": lot,
        "quoteIncrement": "0.000001",
        "priceIncrement": tick,
        "priceLimitRate": "0.1",
        "minFunds": "0.1",
        "isMarginEnabled": True,
        "enableTrading": True,
        "feeCategory": 1,
        "makerFeeCoefficient": "1.00",
        "takerFeeCoefficient": "1.00",
        "st": False,
    }


def all_tickers_row(symbol: SymbolMarket) -> dict[str, Any]:
    """A ticker of spot from REST: texts."""
    numbers = {name: printed(value) for name, value in day(symbol).items()}
    bid, bid_size, ask, ask_size = best(symbol)
    return {
        "symbol": symbol.instrument.symbol,
        "symbolName": symbol.instrument.symbol,
        "buy": bid,
        "bestBidSize": bid_size,
        "sell": ask,
        "bestAskSize": ask_size,
        "changeRate": numbers["rate"],
        "changePrice": numbers["change"],
        "high": numbers["high"],
        "low": numbers["low"],
        "vol": numbers["volume"],
        "volValue": numbers["turnover"],
        "last": numbers["last"],
        "averagePrice": numbers["last"],
        "takerFeeRate": "0.001",
        "makerFeeRate": "0.001",
        "takerCoefficient": "1",
        "makerCoefficient": "1",
    }


def contract_row(symbol: SymbolMarket) -> dict[str, Any]:
    """A contract: `multiplier` coins a lot, -1 of inverse ones; the volume of the day in coins."""
    each = symbol.instrument
    is_inverse = each.category == "inverse"
    numbers = {name: float(value) for name, value in day(symbol).items()}
    return {
        "symbol": each.symbol,
        "rootSymbol": each.base if is_inverse else each.quote,
        "type": "FFWCSX",
        "firstOpenDate": symbol.listed_ms,
        "expireDate": None,
        "settleDate": None,
        "baseCurrency": each.base,
        "quoteCurrency": each.quote,
        "settleCurrency": each.base if is_inverse else each.quote,
        "maxOrderQty": 1_000_000,
        "maxPrice": 1_000_000.0,
        "lotSize": 1,
        "tickSize": float(each.tick),
        "indexPriceTickSize": 0.01,
        "multiplier": -1.0 if is_inverse else float(each.contract_size),
        "makerFeeRate": 0.0002,
        "takerFeeRate": 0.0006,
        "isDeleverage": True,
        "isQuanto": not is_inverse,
        "isInverse": is_inverse,
        "markMethod": "FairPrice",
        "status": "Open",
        "marketStage": "NORMAL",
        "fundingFeeRate": 0.000038,
        "fundingRateGranularity": 28_800_000,
        "nextFundingRateTime": 10_561_278,
        "nextFundingRateDateTime": symbol.last_ms or symbol.listed_ms,
        "openInterest": "9295921",
        "turnoverOf24h": numbers["turnover"],
        "volumeOf24h": numbers["volume"],
        "markPrice": numbers["last"],
        "indexPrice": numbers["last"],
        "lastTradePrice": numbers["last"],
        "lowPrice": numbers["low"],
        "highPrice": numbers["high"],
        "priceChg": numbers["change"],
        "priceChgPct": numbers["rate"],
        "maxLeverage": 125,
    }
