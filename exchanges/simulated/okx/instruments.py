"""OKX's listed symbols. Pure and fixed: the same number of symbols always gives the same list.

Sizes of swaps are contracts: of so many coins each (linear), or of so many dollars (inverse).
"""

from decimal import Decimal

from ..instruments import Instrument, coin

CONTRACTS = {"BTC": "0.01", "ETH": "0.1", "PEPE": "10000000", "XRP": "100", "DOGE": "1000", "SHIB": "1000000"}
CONTRACTS |= {"ADA": "100", "ROSE": "10"}  # coins a contract, as listed; 1 of the others
FRACTIONS = {"BTC": "0.01", "ETH": "0.01", "PEPE": "0.1", "XRP": "0.01", "DOGE": "0.01", "SHIB": "0.1"}  # lots
INVERSE_DOLLARS = {"BTC": "100"}  # 10 of the others
USDC_EVERY = 13  # the last of so many linear swaps is settled in USDC


def instrument(category: str, index: int) -> Instrument:
    """The index-th symbol of a category: BTC-USDT, BTC-USDT-SWAP, BTC-USD-SWAP. Numbers have no trailing zeros."""
    base, price, linear, spot, inverse_tick = coin(index)
    if category == "spot":
        (tick, lot), quote, size, suffix = spot, "USDT", "1", ""
    elif category == "linear":
        quote = "USDC" if index % USDC_EVERY == USDC_EVERY - 1 else "USDT"
        tick, lot, size, suffix = linear[0], FRACTIONS.get(base, "1"), CONTRACTS.get(base, "1"), "-SWAP"
    else:
        tick, lot, size, quote, suffix = inverse_tick, "1", INVERSE_DOLLARS.get(base, "10"), "USD", "-SWAP"
    return Instrument(
        category,
        f"{base}-{quote}{suffix}",
        base,
        quote,
        Decimal(tick),
        Decimal(lot),
        price,
        is_stripped=True,
        contract_size=Decimal(size),
    )
