"""The Venue of Binance: spot, USD-M and COIN-M futures; see exchanges/contract.py."""

import threading
from types import MappingProxyType

from exchanges.binance.dialect.dialect import BinanceDialect
from exchanges.binance.market_api import BinanceMarketApi, passage
from exchanges.binance.markets import MARKETS
from exchanges.binance.protocol import TRADE_KEYS, BinanceProtocol
from exchanges.binance.records import RECORDS, TICKER_NAMES, TRADE_NAMES
from exchanges.binance.rest import FUTURES_WEIGHT, SPOT_WEIGHT, BinanceRest
from exchanges.binance.trades import trade_decoder
from exchanges.contract import ConnectLimits, Endpoints, Refusal, TradeRules, Venue

REFUSALS = MappingProxyType(
    {
        403: Refusal("Binance's firewall refuses this address: wait, and send fewer requests", 300.0),
        418: Refusal("this address is banned for having gone on after 429: stop what else asks Binance from it", 300.0),
        429: Refusal("this address has opened too many connections: 300 are allowed in five minutes", 60.0),
        451: Refusal(
            "Binance does not serve this address's country: run it elsewhere, or take another exchange", 600.0
        ),
    }
)


def _rest(market: str, endpoints: Endpoints, rules: TradeRules, stop: threading.Event) -> BinanceRest:
    return BinanceRest(market, rules=rules, stop=stop, rest_url=endpoints.rest_url, testnet=endpoints.testnet)


VENUE = Venue(
    name="binance",
    markets=MARKETS,
    connects=ConnectLimits(250, 300.0, REFUSALS),  # of 300 per 5 minutes (docs: limits); the rest is for others
    protocol=BinanceProtocol,
    rest=_rest,
    decoder=lambda _market, rules, report: trade_decoder(rules, report),
    reader=lambda _market, kind, report, types: RECORDS.reader(kind, report, types),
    ids="consecutive",
    trade_keys=TRADE_KEYS,
    refuses_unknown=False,
    record_names=MappingProxyType({"trades": TRADE_NAMES, "ticker": TICKER_NAMES}),
    rest_limit=(
        f"weight {SPOT_WEIGHT:,} a minute of spot, {FUTURES_WEIGHT:,} of both futures; trades by id: linear 48 h back, "
        "inverse 24 h"
    ),
    recorded="frames of every kind of 2019 to 2026, five minutes with all their 19,562 trades, candles, listings",
    documented="limits, bans, notices of a shutdown, RPI trades",
    unverified=(
        "which path COIN-M delivers on",
        "whether RPI trades count in candles of futures",
        "that ids which REST leaves out are none of the book",
        "how many connects futures allow",
        "on which day its weeks begin",
    ),
    dialect=BinanceDialect,
    market_api=BinanceMarketApi,
    passage=passage,
)
