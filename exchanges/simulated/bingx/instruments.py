"""BingX's listed symbols. Pure and fixed: the same number of symbols always gives the same list.

Sizes of both markets are in the base coin; numbers keep their trailing zeros.
"""

from collections.abc import Callable
from decimal import Decimal

from ..instruments import Instrument, coin

LOTS = {"BTC": "0.0001", "ETH": "0.01"}  # of swaps, as listed; else the usual one, 1 at most
USDC_EVERY = 13  # the last of so many swaps is settled in USDC
WIDE = "BTC-USDT"  # the pair of spot whose sizes have up to 19 decimals: what was ordered for an amount of dollars
WIDE_DIGITS, WIDE_FACTOR = 13, 1_234_567_891_237


def instrument(category: str, index: int) -> Instrument:
    """The index-th symbol of a category: BTC-USDT in both."""
    base, price, linear, spot, _ = coin(index)
    if category == "spot":
        tick, lot, quote = Decimal(spot[0]), Decimal(spot[1]), "USDT"
    else:
        quote = "USDC" if index % USDC_EVERY == USDC_EVERY - 1 else "USDT"
        tick, lot = plain(linear[0]), min(plain(LOTS.get(base, linear[1])), Decimal(1))
    return Instrument(category, f"{base}-{quote}", base, quote, tick, lot, price)


def plain(text: str) -> Decimal:
    """A step without trailing zeros."""
    return Decimal(format(Decimal(text).normalize(), "f"))


def wide(size_text: Callable[[int], str], decimals: int) -> Callable[[int], str]:
    """Every other size with up to 13 more decimals."""

    def text(lots: int) -> str:
        usual = size_text(lots)
        if not lots % 2:
            return usual
        whole, _, fraction = usual.partition(".")
        size = float(f"{whole}.{fraction:0<{decimals}}{lots * WIDE_FACTOR % 10**WIDE_DIGITS:0{WIDE_DIGITS}d}")
        return format(Decimal(repr(size)), "f")  # 17 digits at most, as the recorded one: a double

    return text
