"""Binance's listed symbols. Pure and fixed: the same number of symbols always gives the same list.

Spot and USD-M share names; sizes of COIN-M are contracts of so many dollars.
"""

from decimal import Decimal

from ..instruments import Instrument, coin

THOUSANDS = ("PEPE", "SHIB")  # USD-M has a thousand of them as one: 1000PEPEUSDT
SPOT_DECIMALS = Decimal("0.00000001")  # spot prints eight, whatever the step
CONTRACT_DOLLARS = {"BTC": "100"}  # 10 of the others
FOREIGN_INDEX = 12  # a symbol whose name is not ASCII, as Binance has had some (trap T12)
FOREIGN = "币安人生"


def instrument(category: str, index: int) -> Instrument:
    """The index-th symbol of a category: BTCUSDT (spot, USD-M), BTCUSD_PERP (COIN-M)."""
    base, price, linear, spot, inverse_tick = coin(index)
    if category == "inverse":
        size = Decimal(CONTRACT_DOLLARS.get(base, "10"))
        symbol = f"{base}USD_PERP"
        return Instrument(category, symbol, base, "USD", Decimal(inverse_tick), Decimal(1), price, contract_size=size)
    base = FOREIGN if index == FOREIGN_INDEX else base
    tick, lot = map(Decimal, spot if category == "spot" else linear)
    if category == "spot":
        tick, lot = (step if step < SPOT_DECIMALS else step.quantize(SPOT_DECIMALS) for step in (tick, lot))
    elif base in THOUSANDS:
        base, price, tick, lot = f"1000{base}", price * 1000, tick * 1000, Decimal(1)
    return Instrument(category, f"{base}USDT", base, "USDT", tick, lot, price)
