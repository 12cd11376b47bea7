"""What each market of Binance is. Pure."""

from collections.abc import Sequence

from exchanges.binance.protocol import DEPTHS
from model.markets import KlineRules, MarketSpec, by_name
from model.records import Kind

RULES = KlineRules("first_trade", cuts_each=False)

SPOT_KINDS: Sequence[Kind] = ("trades", "orderbook", "ticker")
FUTURES_KINDS: Sequence[Kind] = ("trades", "orderbook", "ticker", "liquidations")

MARKETS = by_name(
    MarketSpec("linear", "USD-M", "linear", FUTURES_KINDS, DEPTHS, RULES),
    MarketSpec("inverse", "COIN-M", "inverse", FUTURES_KINDS, DEPTHS, RULES, has_contracts=True),
    MarketSpec("spot", "spot", "spot", SPOT_KINDS, DEPTHS, RULES),
)
"""By neutral name. An order book of depth 1000 is the whole book, as changes; the others are whole books of so many
levels."""
