"""The Venue of KuCoin; see exchanges/contract.py."""

import threading
from types import MappingProxyType

from exchanges.addresses import moved
from exchanges.contract import ConnectLimits, Endpoints, Refusal, TradeRules, Venue
from exchanges.kucoin.protocol import MARKETS, TRADE_KEYS, KucoinProtocol
from exchanges.kucoin.records import RECORDS, TICKER_NAMES, TRADE_NAMES
from exchanges.kucoin.rest import PUBLIC, URLS, KucoinRest
from exchanges.kucoin.trades import trade_decoder

# What is refused is not documented; these are what its front and others of its kind answer.
REFUSALS = MappingProxyType(
    {
        401: Refusal("KuCoin does not take the token that it has just given; a new one is asked for", 5.0),
        403: Refusal("KuCoin's front blocks this address, or KuCoin does not serve its country", 60.0),
        429: Refusal("more than 30 connects a minute came from this address; other programs share it", 10.0),
        451: Refusal("KuCoin does not serve this address's country", 600.0),
        503: Refusal("KuCoin takes no connections now: too many from this address, or a maintenance", 5.0),
    }
)


def _rest(market: str, endpoints: Endpoints, _rules: TradeRules, stop: threading.Event) -> KucoinRest:
    return KucoinRest(market, url=moved(URLS[market], endpoints.rest_url), stop=stop)


VENUE = Venue(
    name="kucoin",
    markets=MARKETS,
    connects=ConnectLimits(25, 60.0, REFUSALS),  # of 30 a minute (docs: websocket-api/base-info)
    protocol=KucoinProtocol,
    rest=_rest,
    decoder=lambda market, _rules, report: trade_decoder(market, report),
    reader=lambda market, kind, report, types: RECORDS[market].reader(kind, report, types),
    ids="unique",
    trade_keys=TRADE_KEYS,
    refuses_unknown=False,
    has_testnet=False,
    record_names=MappingProxyType({"trades": TRADE_NAMES, "ticker": TICKER_NAMES}),
    rest_limit=f"a weight of {PUBLIC.weight} in {PUBLIC.per_s:g} s; the newest 100 trades, and no older ones",
    recorded="frames of 2021 to 2026, all matches and candles of 30 s, candles of two days and their roll-ups",
    documented="the token, limits, pings, most of REST",
    unverified=(
        "how a refused connect is answered",
        "whether a connection takes 300 topics of spot, and more than 100 of futures",
        "whether one unknown symbol spoils a list of spot",
        "whether spot and futures share one limit of REST",
        "when its days begin, and minutes of today against trades",
        "whether books of spot come although nothing changed",
    ),
)
