"""The Venue of Bybit V5; see exchanges/contract.py."""

import threading
from collections.abc import Sequence

from exchanges.bybit.dialect.dialect import BybitDialect
from exchanges.bybit.protocol import DEPTHS, read_topic
from exchanges.bybit.records import TRADE_NAMES, record_reader
from exchanges.bybit.rest import BybitRest
from exchanges.bybit.trades import TradeDecoder
from exchanges.contract import RestOptions, Venue
from model.markets import KlineRules, MarketSpec
from model.records import Kind
from streams.feed import BybitFeed


def _rest(options: RestOptions, market: str, stop: threading.Event | None = None, /) -> BybitRest:
    return BybitRest(market, url=options.url, testnet=options.testnet, rules=options.rules, stop=stop)


def _usual_first(depths: Sequence[int]) -> Sequence[int]:
    """The depths of a book, first the one that is meant where ORDERBOOK_DEPTH is not set."""
    return sorted(depths, key=lambda depth: depth != 50)


RULES = KlineRules("prev_close")  # measured on 379,639 candles; inverse: 8 decimals, each trade's cut (2022)
KINDS: tuple[Kind, ...] = ("trades", "orderbook", "ticker", "liquidations")
SPECS = (
    MarketSpec("linear", "linear", "linear", KINDS, _usual_first(DEPTHS["linear"]), RULES),
    MarketSpec("inverse", "inverse", "inverse", KINDS, _usual_first(DEPTHS["inverse"]), RULES),
    MarketSpec("spot", "spot", "spot", KINDS[:3], _usual_first(DEPTHS["spot"]), RULES),
    MarketSpec("option", "option", "linear", KINDS[:3], DEPTHS["option"], None),  # there are no candles of options
)

VENUE = Venue(
    name="bybit",
    markets={spec.name: spec for spec in SPECS},
    kline_markets=("linear", "inverse", "spot"),  # there are no candles of options
    connects=450,  # Bybit allows 500 per 5 minutes and address (docs: ws/connect); the rest is for other programs
    connects_per_s=300.0,
    feed=BybitFeed,
    rest=_rest,
    decoder=TradeDecoder,
    reader=record_reader,
    read_topic=read_topic,
    joins_coins=True,
    record_names={"trades": TRADE_NAMES},
    dialect=BybitDialect,
)
