"""KuCoin's listed symbols. Pure and fixed: the same number of symbols always gives the same list.

Sizes of futures are lots: of so many coins each, the multiplier (linear), or of a dollar (inverse).
"""

from decimal import Decimal

from ..instruments import Instrument, coin

MULTIPLIERS = {"BTC": "0.001", "ETH": "0.01", "SOL": "0.1", "PEPE": "10000", "XRP": "10", "DOGE": "10"}
MULTIPLIERS |= {"SHIB": "100000", "LTC": "0.1", "ADA": "10", "ROSE": "10", "LINK": "0.1"}  # 1 of the others


def instrument(category: str, index: int) -> Instrument:
    """The index-th symbol of a category: BTC-USDT, XBTUSDTM, XBTUSDM. Numbers have no trailing zeros."""
    name, price, linear, spot, inverse_tick = coin(index)
    base = "XBT" if name == "BTC" and category != "spot" else name
    if category == "spot":
        (tick, lot), quote, size, symbol = spot, "USDT", "1", f"{base}-USDT"
    elif category == "linear":
        tick, lot, quote, size, symbol = linear[0], "1", "USDT", MULTIPLIERS.get(name, "1"), f"{base}USDTM"
    else:
        tick, lot, quote, size, symbol = inverse_tick, "1", "USD", "1", f"{base}USDM"
    return Instrument(
        category,
        symbol,
        base,
        quote,
        Decimal(tick),
        Decimal(lot),
        price,
        is_stripped=True,
        contract_size=Decimal(size),
    )
