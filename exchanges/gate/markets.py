"""What each market of Gate is. Pure."""

from model.markets import KlineRules, MarketSpec, by_name
from model.records import Kind

DEPTHS = (50, 400)  # of the channel obu: a whole book, then changes every 20 and every 100 ms

KINDS: tuple[Kind, ...] = ("trades", "orderbook", "ticker")
RULES = KlineRules("first_trade")
MARKETS = by_name(
    MarketSpec("linear", "futures", "linear", (*KINDS, "liquidations"), DEPTHS, RULES, has_contracts=True),
    MarketSpec("spot", "spot", "spot", KINDS, DEPTHS, RULES),
)
"""By neutral name; `product` is what the names of a market's channels begin with."""
