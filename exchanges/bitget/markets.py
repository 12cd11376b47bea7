"""What each market of Bitget is. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from model.markets import KlineRules, MarketSpec, by_name
from model.records import Kind

RULES = KlineRules("prev_close")  # 9,989 of 9,990 recorded minutes open at the close before
BOOKS: Mapping[int, str] = MappingProxyType({500: "books", 15: "books15", 5: "books5", 1: "books1"})
"""ORDERBOOK_DEPTH -> channel, the usual one first. books sends what changed, the others whole books."""

SPOT_KINDS: Sequence[Kind] = ("trades", "orderbook", "ticker")
LINEAR_KINDS: Sequence[Kind] = (*SPOT_KINDS, "liquidations")

MARKETS = by_name(
    MarketSpec("linear", "USDT-FUTURES", "linear", LINEAR_KINDS, tuple(BOOKS), RULES),
    MarketSpec("spot", "SPOT", "spot", SPOT_KINDS, tuple(BOOKS), RULES),
)
"""By neutral name. Sizes of contracts are in the base coin."""
