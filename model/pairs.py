"""The pair of a symbol: its base, the coin, and its quote. Pure.

Taken from the exchange's listing; where that is not known, guessed from the end of the symbol's name.
"""

from collections.abc import Callable
from typing import NamedTuple

# Endings of symbols, the best for a coin's price first; no coin and a shorter quote end in a longer one (AVAXUSD).
DOLLARS = ("USDT", "USDC", "USDE", "USD", "PERP", "USD1", "RLUSD", "USDQ", "USDR")
QUOTES = (*DOLLARS, "DAI", "EUR", "EURQ", "EURR", "BRL", "TRY", "PLN", "KZT", "GEL")
PERPETUAL = frozenset({"SWAP", "PERP", "PERPETUAL"})  # at the end of a name: the contract that has no end
COINS = frozenset({"BTC", "ETH", "SOL", "MNT", "BIT"})  # quotes in which a price is none in money: ETHBTC stays


class Pair(NamedTuple):
    """A symbol's base and quote; `is_dated` where it is a contract that ends, whose price is not the coin's."""

    base: str
    quote: str
    is_dated: bool = False


PairOf = Callable[[str, str], Pair | None]
"""The pair of a market's symbol as the exchange lists it; None where that is not known."""


def unlisted(_market: str, _symbol: str) -> Pair | None:
    """Return None: the PairOf where there is no listing."""
    return None


def coin_of(symbol: str, pair: Pair | None = None) -> str:
    """Return the coin that a symbol prices in money: BTC of BTCUSDT; the symbol itself where it prices none."""
    pair = pair or pair_of_name(symbol)
    return symbol if pair is None or pair.is_dated or pair.quote in COINS else pair.base


def rank_of(symbol: str, pair: Pair | None = None) -> int:
    """Return the rank of a symbol for its coin's price, 0 the best: BTCUSDT comes before BTCUSDC."""
    pair = pair or pair_of_name(symbol)
    return QUOTES.index(pair.quote) if pair and pair.quote in QUOTES else len(QUOTES)


def pair_of_name(symbol: str) -> Pair | None:
    """Return the pair that a symbol's name ends in; None where that is none known."""
    parts = symbol.replace("_", "-").split("-")
    if len(parts) > 1 and parts[-1] in PERPETUAL:
        parts.pop()
    if len(parts) == 2 and parts[1] in QUOTES:  # BTC-USDT
        return Pair(parts[0], parts[1])
    if len(parts) > 1:
        return None
    quote = max((each for each in QUOTES if parts[0].endswith(each) and parts[0] != each), key=len, default=None)
    return Pair(parts[0].removesuffix(quote), quote) if quote else None
