"""The Venue of OKX V5; see exchanges/contract.py."""

import threading
from types import MappingProxyType

from exchanges.addresses import moved
from exchanges.contract import ConnectLimits, Endpoints, Refusal, TradeRules, Venue
from exchanges.okx.dialect.dialect import OkxDialect
from exchanges.okx.market_api import OkxMarketApi, passage
from exchanges.okx.markets import MARKETS
from exchanges.okx.protocol import TRADE_KEYS, OkxProtocol
from exchanges.okx.records import RECORDS, TICKER_NAMES, TRADE_NAMES
from exchanges.okx.rest import REQUESTS, URL, OkxRest
from exchanges.okx.trades import trade_decoder

# What is refused is not documented; these are what its front and others of its kind answer.
REFUSALS = MappingProxyType(
    {
        403: Refusal("OKX's front blocks this address, or its country may not use this entity of OKX", 60.0),
        429: Refusal("more than three connects a second came from this address; other programs share it", 5.0),
        451: Refusal("OKX does not serve this address's country", 600.0),
        503: Refusal("OKX takes no connections now: too many from this address, or a maintenance", 5.0),
    }
)


def _rest(market: str, endpoints: Endpoints, rules: TradeRules, stop: threading.Event) -> OkxRest:
    url = moved(URL, endpoints.rest_url)
    return OkxRest(market, url=url, testnet=endpoints.testnet and endpoints.rest_url is None, rules=rules, stop=stop)


VENUE = Venue(
    name="okx",
    markets=MARKETS,
    connects=ConnectLimits(1, 0.5, REFUSALS),  # of 3 per second (docs: overview, connect), evenly: they may be late
    protocol=OkxProtocol,
    rest=_rest,
    decoder=lambda _market, rules, report: trade_decoder(rules, report),
    reader=lambda _market, kind, report, types: RECORDS.reader(kind, report, types),
    ids="consecutive",
    trade_keys=TRADE_KEYS,
    record_names=MappingProxyType({"trades": TRADE_NAMES, "ticker": TICKER_NAMES}),
    rest_limit=(
        f"{min(REQUESTS.values())} to {max(REQUESTS.values())} requests in 2 s, by path; trades by id three months back"
    ),
    recorded="frames of every kind of 2021 to 2026, a notice, refusals, one minute with all its trades, candles",
    documented="limits, books of 400 as of 2026, REST's trades by id",
    unverified=(
        "how a refused connect is answered",
        "whether RPI trades count in its candles",
        "decimals of inverse turnover",
        "spot minutes against trades",
        "whether 64 KB of topics are a request's or a connection's",
        "on which day its weeks begin",
        "what contracts past candles are in where the size of a contract was changed",
    ),
    dialect=OkxDialect,
    market_api=OkxMarketApi,
    passage=passage,
)
