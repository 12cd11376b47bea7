"""What a symbol is a pair of: a base, the coin, and what it is quoted in. Pure.

The exchange's listing says it. Where that is not known, the end of the symbol's name does, as well as it can.
"""

from collections.abc import Callable
from typing import NamedTuple

# What names end with, the best for a coin's price first; no name of one coin and a shorter quote ends so (AVAXUSD).
DOLLARS = ("USDT", "USDC", "USDE", "USD", "PERP", "USD1", "RLUSD", "USDQ", "USDR")
QUOTES = (*DOLLARS, "DAI", "EUR", "EURQ", "EURR", "BRL", "TRY", "PLN", "KZT", "GEL")
COINS = frozenset({"BTC", "ETH", "SOL", "MNT", "BIT"})  # quotes in which a price is none in money: ETHBTC stays


class Pair(NamedTuple):
    """A symbol's base and quote; `is_dated` where it is a contract that ends, whose price is not the coin's."""

    base: str
    quote: str
    is_dated: bool = False


PairOf = Callable[[str, str], Pair | None]
"""The pair of a market's symbol as the exchange lists it; None where that is not known."""


def unlisted(_market: str, _symbol: str) -> Pair | None:
    """Know nothing of any listing."""
    return None


def coin_of(symbol: str, pair: Pair | None = None) -> str:
    """Name the coin whose price a symbol's is: BTCUSDT is BTC; the symbol itself where it is no coin's in money."""
    pair = pair or _pair_of_name(symbol)
    return symbol if pair is None or pair.is_dated or pair.quote in COINS else pair.base


def rank_of(symbol: str, pair: Pair | None = None) -> int:
    """Say how good a symbol is for its coin's price, 0 the best: BTCUSDT comes before BTCUSDC."""
    pair = pair or _pair_of_name(symbol)
    return QUOTES.index(pair.quote) if pair and pair.quote in QUOTES else len(QUOTES)


def _pair_of_name(symbol: str) -> Pair | None:
    quote = max((each for each in QUOTES if symbol.endswith(each) and symbol != each), key=len, default=None)
    return Pair(symbol.removesuffix(quote), quote) if quote else None
