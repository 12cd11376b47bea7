"""The Venue of BingX; see exchanges/contract.py."""

import threading
from types import MappingProxyType

from exchanges.addresses import moved
from exchanges.bingx.markets import MARKETS
from exchanges.bingx.protocol import BingxProtocol
from exchanges.bingx.records import RECORDS, TICKER_NAMES, TRADE_NAMES
from exchanges.bingx.rest import REQUESTS, URL, URL_DEMO, WINDOW_S, BingxRest
from exchanges.bingx.trades import trade_decoder
from exchanges.contract import ConnectLimits, Endpoints, Refusal, TradeRules, Venue

# What is refused is not documented; these are what its front and others of its kind answer.
REFUSALS = MappingProxyType(
    {
        403: Refusal("BingX's front blocks this address, or does not serve its country", 60.0),
        418: Refusal("this address is banned for having gone on after 429: stop what else asks BingX from it", 300.0),
        429: Refusal("this address has more than 60 connections, or opened too many; other programs share it", 30.0),
        451: Refusal("BingX does not serve this address's country", 600.0),
        503: Refusal("BingX takes no connections now: too many from this address, or a maintenance", 5.0),
    }
)


def _rest(market: str, endpoints: Endpoints, _rules: TradeRules, stop: threading.Event) -> BingxRest:
    url = moved(URL_DEMO if endpoints.testnet else URL, endpoints.rest_url)
    return BingxRest(market, url=url, stop=stop)


VENUE = Venue(
    name="bingx",
    markets=MARKETS,
    connects=ConnectLimits(5, 5.0, REFUSALS),  # 60 connections an address, no rate is known
    protocol=BingxProtocol,
    rest=_rest,
    decoder=lambda market, _rules, report: trade_decoder(market, report),
    reader=lambda market, kind, report, types: RECORDS[market].reader(kind, report, types),
    ids="none",
    trade_keys=None,  # trades of swaps have no ids, and two of spot's connections are not worth a rule of their own
    record_names=MappingProxyType({"trades": TRADE_NAMES, "ticker": TICKER_NAMES}),
    rest_limit=f"{REQUESTS} requests in {WINDOW_S:g} s of all markets; the newest 1,000 trades of swaps, 500 of spot",
    recorded="some frames of both markets of 2023 to 2026, a refusal, candles of two days and their roll-ups",
    documented="limits, pings of spot, REST's trades",
    unverified=(
        "how a refused connect is answered",
        "whether the first message of swap trades has trades of before the subscription",
        "whether the newest trade always comes first in a message",
        "whether spot's ids are consecutive",
        "how spot pings",
        "whether quiet contracts have candles of minutes without trades",
        "whether volumes of candles equal those of the trades",
        "what the turnover q of a ticker of swaps is in",
        "the form of spot's books as changes",
        "what spot's REST answers for a symbol that it does not list",
        "on which day its weeks begin",
        "whether the demo exchange has spot",
    ),
)
