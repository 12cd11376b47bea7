"""What each market of OKX is. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from model.markets import KlineRules, MarketSpec, by_name
from model.records import Kind

RULES = KlineRules("first_trade", inverse_digits=8, cuts_each=False)
BOOKS: Mapping[int, str] = MappingProxyType({400: "books", 50: "books", 5: "books5", 1: "bbo-tbt"})
"""ORDERBOOK_DEPTH -> channel, the usual one first. books5 and bbo-tbt send whole books, books what changed.

50 levels alone need a login (books50-l2-tbt); who asks for them gets books, whose first 50 levels they are.
"""

SPOT_KINDS: Sequence[Kind] = ("trades", "orderbook", "ticker")
SWAP_KINDS: Sequence[Kind] = ("trades", "orderbook", "ticker", "liquidations")

MARKETS = by_name(
    MarketSpec("linear", "SWAP", "linear", SWAP_KINDS, tuple(BOOKS), RULES, has_contracts=True),
    MarketSpec("inverse", "SWAP", "inverse", SWAP_KINDS, tuple(BOOKS), RULES, has_contracts=True),
    MarketSpec("spot", "SPOT", "spot", SPOT_KINDS, tuple(BOOKS), RULES),
)
"""By neutral name. Swaps of both settlements are one product; the type of a contract says which market it is of."""
