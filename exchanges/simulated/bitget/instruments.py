"""Bitget's listed symbols, and its names of products. Pure and fixed: the same number of symbols gives the same list.

Sizes are in the base coin everywhere; a contract's sizeMultiplier is the step of its sizes.
"""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from ..instruments import Instrument, coin

PRODUCTS: Mapping[str, str] = MappingProxyType({"USDT-FUTURES": "linear", "SPOT": "spot"})
OTHER_PRODUCTS = (
    "USDC-FUTURES",
    "COIN-FUTURES",
)  # of which nothing is listed here; their symbols are known all the same
OTHER_ENDS = ("PERP", "USD")  # what those end with, after the coin


def instrument(category: str, index: int) -> Instrument:
    """The index-th symbol of a category, named alike in both. Numbers have no trailing zeros."""
    base, price, linear, spot, _ = coin(index)
    tick, lot = linear if category == "linear" else spot
    return Instrument(category, f"{base}USDT", base, "USDT", Decimal(tick), Decimal(lot), price, is_stripped=True)


def names_of(each: Instrument) -> tuple[str, ...]:
    """What a coin's symbols are called in all products."""
    return (each.symbol, *(each.base + end for end in OTHER_ENDS))
