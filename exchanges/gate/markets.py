"""What each market of Gate is. Pure."""

from model.markets import KlineRules, MarketSpec, by_name

RULES = KlineRules("first_trade")
DEPTHS = (50, 400)  # of the channel obu: a whole book, then changes every 20 and every 100 ms

MARKETS = by_name(
    MarketSpec(
        *("linear", "futures", "linear", ("trades", "orderbook", "ticker", "liquidations"), DEPTHS, RULES),
        has_contracts=True,
    ),
    MarketSpec("spot", "spot", "spot", ("trades", "orderbook", "ticker"), DEPTHS, RULES),
)
"""By neutral name; `product` is what the names of a market's channels begin with."""
