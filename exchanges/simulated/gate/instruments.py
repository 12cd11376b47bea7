"""Gate's listed symbols. Pure and fixed: the same number of symbols always gives the same list.

Sizes of futures are contracts, of so many coins each (quanto_multiplier); of some contracts they have decimals.
"""

from decimal import Decimal

from ..instruments import Instrument, coin

MULTIPLIERS = {"BTC": "0.0001", "ETH": "0.01", "PEPE": "10000000", "XRP": "10", "DOGE": "10", "SHIB": "10000"}
MULTIPLIERS |= {"ADA": "10", "ROSE": "100"}  # coins a contract, as listed; 1 of the others
DECIMAL_EVERY = 3  # the last of so many contracts is one with enable_decimal


def instrument(category: str, index: int) -> Instrument:
    """The index-th symbol of a category, BTC_USDT in both. Numbers have no trailing zeros; steps are powers of ten."""
    base, price, linear, spot, _ = coin(index)
    (tick, lot), size = spot, "1"
    if category == "linear":
        is_decimal = index % DECIMAL_EVERY == DECIMAL_EVERY - 1
        tick, lot, size = linear[0], "0.1" if is_decimal else "1", MULTIPLIERS.get(base, "1")
    return Instrument(
        category,
        f"{base}_USDT",
        base,
        "USDT",
        Decimal(tick).normalize(),
        Decimal(lot),
        price,
        is_stripped=True,
        contract_size=Decimal(size),
    )


def is_decimal(each: Instrument) -> bool:
    """Whether sizes of a contract have decimals."""
    return each.lot != 1
