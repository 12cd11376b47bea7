"""The rows of exchangeInfo. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from ..symbol_market import SymbolMarket

NEVER_MS = 4_133_404_800_000  # deliveryDate of what does not expire
SPOT_TYPES = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"]
FUTURES_TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]
IN_FORCE = ["GTC", "IOC", "FOK", "GTX"]
DELISTED: Mapping[str, str] = MappingProxyType({"spot": "BREAK", "linear": "SETTLING", "inverse": "SETTLING"})


def filters(tick: str, lot: str) -> list[dict[str, Any]]:
    """The steps of price and size, and the least notional."""
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000000", "stepSize": lot},
        {"filterType": "MARKET_LOT_SIZE", "minQty": lot, "maxQty": "120000", "stepSize": lot},
        {"filterType": "MIN_NOTIONAL", "notional": "5", "minNotional": "5"},
    ]


def digits(step: Decimal) -> int:
    """Decimals of a step."""
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def row_of(symbol: SymbolMarket, *, is_listed: bool) -> dict[str, Any]:
    """One symbol; COIN-M has contractStatus for status."""
    each = symbol.instrument
    status = "TRADING" if is_listed else DELISTED[each.category]
    tick, lot = format(each.tick, "f"), format(each.lot, "f")
    if each.category == "spot":
        return {
            "symbol": each.symbol,
            "status": status,
            "baseAsset": each.base,
            "baseAssetPrecision": 8,
            "quoteAsset": each.quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8,
            "orderTypes": SPOT_TYPES,
            "icebergAllowed": True,
            "ocoAllowed": True,
            "quoteOrderQtyMarketAllowed": True,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": True,
            "filters": filters(tick, lot),
            "permissions": [],
            "permissionSets": [["SPOT", "MARGIN"]],
        }
    pair = each.base + each.quote
    own: dict[str, Any] = {"status": status}
    if each.category == "inverse":
        own = {"contractStatus": status, "contractSize": int(each.contract_size)}
    return {
        "symbol": each.symbol,
        "pair": pair,
        "contractType": "PERPETUAL",
        "deliveryDate": NEVER_MS,
        "onboardDate": symbol.listed_ms,
        **own,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": each.base,
        "quoteAsset": each.quote,
        "marginAsset": each.base if each.category == "inverse" else each.quote,
        "pricePrecision": digits(each.tick),
        "quantityPrecision": digits(each.lot),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012000",
        "marketTakeBound": "0.30",
        "filters": filters(tick, lot),
        "orderTypes": FUTURES_TYPES,
        "timeInForce": IN_FORCE,
    }
