"""Bybit's listed symbols. Pure and fixed: the same number of symbols always gives the same list.

Linear and spot share names on purpose.
"""

from decimal import Decimal

from ..instruments import Instrument, coin

INVERSE_LOT = "1"  # contracts of one USD
OPTION_STEPS = ("5", "0.01")
OPTION_EXPIRY = "25DEC26"


def list_instruments(category: str, count: int) -> list[Instrument]:
    """The first `count` symbols of a category: real coins first, then SIM0013 and so on."""
    return [instrument(category, index) for index in range(count)]


def instrument(category: str, index: int) -> Instrument:
    """The index-th symbol. Spot prints 43774, not 43774.00."""
    base, price, linear, spot, inverse_tick = coin(index)
    if category == "option":
        return _option(base, price, index)
    quote = "USD" if category == "inverse" else "USDT"
    tick, lot = {"linear": linear, "spot": spot}.get(category, (inverse_tick, INVERSE_LOT))
    return Instrument(
        category, base + quote, base, quote, Decimal(tick), Decimal(lot), price, is_stripped=category == "spot"
    )


def _option(base: str, price: Decimal, index: int) -> Instrument:
    """One option; its premium is far from the coin's price: a few hundred ticks."""
    symbol = f"{base}-{OPTION_EXPIRY}-{int(price) + 1}-{'CP'[index % 2]}-USDT"
    tick, lot = OPTION_STEPS
    return Instrument("option", symbol, base, "USDT", Decimal(tick), Decimal(lot), Decimal(25_000))
