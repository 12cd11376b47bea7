"""What each market of BingX is. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from model.markets import KlineRules, MarketSpec, by_name
from model.records import Kind

RULES = KlineRules("first_trade", lacks_turnover=True)  # swaps have none, spot's has two decimals
KINDS: Sequence[Kind] = ("trades", "orderbook", "ticker")  # liquidations are not public

CHANGES = 1000
"""The depth that stands for a book as changes: a whole one of some 1,000 levels a side, then what changed."""
DEPTHS: Mapping[str, Sequence[int]] = MappingProxyType({"linear": (20, 5, 10, 50, 100, CHANGES), "spot": (20, CHANGES)})
"""The usual one first: a whole book each time, which proves itself."""

MARKETS = by_name(
    MarketSpec("linear", "swap", "linear", KINDS, DEPTHS["linear"], RULES),
    MarketSpec("spot", "spot", "spot", KINDS, DEPTHS["spot"], RULES),
)
"""By neutral name. Sizes of both are in the base coin."""
