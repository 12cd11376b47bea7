"""Rows of the REST answers: instruments, tickers, trades, books, as Bybit shapes them.

Pure but for the books, which are made for the request.
"""

import json
from typing import Any

from ..hub import Topic
from ..instruments import Instrument
from ..symbol_market import SymbolMarket
from ..trades import Trade
from .book import Book
from .ticker import Ticker

LAUNCH_MS = "1585526400000"
RISK = {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"}


def recent_trade(symbol: str, trade: Trade) -> dict[str, Any]:
    """A row of recent-trade: REST names the fields differently, and its seq is text."""
    return {
        "execId": trade.id, "symbol": symbol, "price": trade.price, "size": trade.size, "side": trade.side,
        "time": str(trade.event_ms), "isBlockTrade": False, "isRPITrade": bool(trade.mark), "seq": str(trade.seq),
    }  # fmt: skip


def instrument_info(instrument: Instrument, index: int) -> dict[str, Any]:
    """One row of instruments-info."""
    if instrument.category == "spot":
        return _spot_info(instrument, index)
    if instrument.category == "option":
        return _option_info(instrument)
    return _contract_info(instrument, index)


def _contract_info(instrument: Instrument, index: int) -> dict[str, Any]:
    tick, lot = instrument.tick, instrument.lot
    is_linear = instrument.category == "linear"
    exponent = tick.as_tuple().exponent
    return {
        "symbol": instrument.symbol, "symbolId": index + 1,
        "contractType": "LinearPerpetual" if is_linear else "InversePerpetual", "status": "Trading",
        "baseCoin": instrument.base, "quoteCoin": instrument.quote, "launchTime": LAUNCH_MS, "deliveryTime": "0",
        "deliveryFeeRate": "", "priceScale": str(-exponent if isinstance(exponent, int) else 0),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {
            "minPrice": format(tick, "f"), "maxPrice": format(tick * 10**8, "f"), "tickSize": format(tick, "f"),
        },
        "lotSizeFilter": {
            "maxOrderQty": format(lot * 10**6, "f"), "minOrderQty": format(lot, "f"), "qtyStep": format(lot, "f"),
            "postOnlyMaxOrderQty": format(lot * 10**6, "f"), "maxMktOrderQty": format(lot * 10**5, "f"),
            "minNotionalValue": "5",
        },
        "unifiedMarginTrade": True, "fundingInterval": 480,
        "settleCoin": instrument.quote if is_linear else instrument.base, "copyTrading": "both",
        "upperFundingRate": "0.00375", "lowerFundingRate": "-0.00375", "isPreListing": False, "preListingInfo": None,
        "riskParameters": RISK, "symbolType": "",
    }  # fmt: skip


def _spot_info(instrument: Instrument, index: int) -> dict[str, Any]:
    lot = instrument.lot
    return {
        "symbolId": index + 1, "symbol": instrument.symbol, "baseCoin": instrument.base,
        "quoteCoin": instrument.quote, "innovation": "0", "status": "Trading", "marginTrading": "utaOnly", "stTag": "0",
        "lotSizeFilter": {
            "basePrecision": format(lot, "f"), "quotePrecision": "0.0000001", "minOrderQty": format(lot, "f"),
            "maxOrderQty": format(lot * 10**7, "f"), "minOrderAmt": "5", "maxOrderAmt": "8000000",
            "maxLimitOrderQty": format(lot * 10**7, "f"), "maxMarketOrderQty": format(lot * 10**6, "f"),
            "postOnlyMaxLimitOrderSize": "60000",
        },
        "priceFilter": {"tickSize": format(instrument.tick, "f")},
        "riskParameters": RISK, "symbolType": "",
    }  # fmt: skip


def _option_info(instrument: Instrument) -> dict[str, Any]:
    tick, lot = format(instrument.tick, "f"), format(instrument.lot, "f")
    side = "Call" if instrument.symbol.split("-")[3] == "C" else "Put"
    return {
        "symbol": instrument.symbol, "status": "Trading", "baseCoin": instrument.base, "quoteCoin": "USDT",
        "settleCoin": "USDT", "optionsType": side, "launchTime": LAUNCH_MS, "deliveryTime": "1798185600000",
        "deliveryFeeRate": "0.00015", "priceFilter": {"minPrice": tick, "maxPrice": "1110000", "tickSize": tick},
        "lotSizeFilter": {"maxOrderQty": "500", "minOrderQty": lot, "qtyStep": lot}, "displayName": instrument.symbol,
    }  # fmt: skip


SPOT_ORDER = (
    "symbol", "bid1Price", "bid1Size", "ask1Price", "ask1Size", "lastPrice", "prevPrice24h", "price24hPcnt",
    "highPrice24h", "lowPrice24h", "turnover24h", "volume24h", "usdIndexPrice",
)  # fmt: skip
CONTRACT_ORDER = (
    "symbol", "lastPrice", "indexPrice", "markPrice", "prevPrice24h", "price24hPcnt", "highPrice24h", "lowPrice24h",
    "prevPrice1h", "openInterest", "openInterestValue", "turnover24h", "volume24h", "fundingRate", "nextFundingTime",
    "predictedDeliveryPrice", "basisRate", "deliveryFeeRate", "deliveryTime", "ask1Size", "bid1Price", "ask1Price",
    "bid1Size", "basis", "preOpenPrice", "preQty", "curPreListingPhase", "fundingIntervalHour", "basisRateYear",
    "fundingCap",
)  # fmt: skip


def ticker(symbol: SymbolMarket, now_ms: int) -> dict[str, str]:
    """A row of tickers; REST has the best bid and ask in every category."""
    own: Ticker = symbol.own.ticker
    values = own.values(now_ms)
    if symbol.instrument.category == "option":
        return own.row(values)
    values |= {"deliveryTime": "0", "predictedDeliveryPrice": ""}
    order = SPOT_ORDER if symbol.instrument.category == "spot" else CONTRACT_ORDER
    return {key: values.get(key, "") for key in order}


def orderbook(symbol: SymbolMarket, limit: int, now_ms: int) -> dict[str, Any]:
    """The stream's book of 1000 levels where it is subscribed, else one made for the request."""
    book = next((s for s in symbol.streams["orderbook"] if isinstance(s, Book) and s.topic.detail == "1000"), None)
    if book is None:
        name, category = symbol.instrument.symbol, symbol.instrument.category
        book = Book(Topic(category, "orderbook", "orderbook", name), symbol, limit)
    message = json.loads(book.snapshot(now_ms, symbol.seq))
    data = message["data"]
    return {
        "s": data["s"], "b": data["b"][:limit], "a": data["a"][:limit], "ts": now_ms,
        "u": data["u"], "seq": data["seq"], "cts": message["cts"],
    }  # fmt: skip
