"""The Venue of Bybit V5; see exchanges/contract.py."""

import threading

from exchanges.bybit.dialect.dialect import BybitDialect
from exchanges.bybit.feed import BybitFeed
from exchanges.bybit.protocol import MARKETS, read_topic
from exchanges.bybit.records import record_reader
from exchanges.bybit.rest import BybitRest
from exchanges.bybit.trades import TradeDecoder
from exchanges.contract import RestOptions, Venue


def _rest(options: RestOptions, market: str, stop: threading.Event | None = None, /) -> BybitRest:
    return BybitRest(market, url=options.url, testnet=options.testnet, stop=stop)


VENUE = Venue(
    name="bybit",
    markets=MARKETS,
    kline_markets=("linear", "inverse", "spot"),  # there are no candles of options
    connects=450,  # Bybit allows 500 per 5 minutes and address (docs: ws/connect); the rest is for other programs
    connects_per_s=300.0,
    feed=BybitFeed,
    rest=_rest,
    decoder=TradeDecoder,
    reader=record_reader,
    read_topic=read_topic,
    dialect=BybitDialect,
)
