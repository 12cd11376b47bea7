"""Binance's listed symbols. Pure and fixed. Sizes of COIN-M are contracts of 100 (BTC) or 10 dollars."""

from decimal import Decimal

from ..instruments import Instrument, coin

INVERSE_DOLLARS = {"BTC": "100"}  # 10 of the others


def instrument(category: str, index: int) -> Instrument:
    """The index-th symbol of a category: BTCUSDT in spot and USD-M, BTCUSD_PERP in COIN-M."""
    base, price, linear, spot, inverse_tick = coin(index)
    if category == "inverse":
        size = Decimal(INVERSE_DOLLARS.get(base, "10"))
        return Instrument(
            category, f"{base}USD_PERP", base, "USD", Decimal(inverse_tick), Decimal(1), price, contract_size=size
        )
    tick, lot = linear if category == "linear" else spot
    return Instrument(category, f"{base}USDT", base, "USDT", Decimal(tick), Decimal(lot), price)
