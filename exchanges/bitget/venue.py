"""The Venue of Bitget v2 (classic); see exchanges/contract.py."""

import threading
from types import MappingProxyType

from exchanges.addresses import moved
from exchanges.bitget.markets import MARKETS
from exchanges.bitget.protocol import TRADE_KEYS, BitgetProtocol
from exchanges.bitget.records import RECORDS, TICKER_NAMES, TRADE_NAMES
from exchanges.bitget.rest import URL, BitgetRest
from exchanges.bitget.trades import trade_decoder
from exchanges.contract import ConnectLimits, Endpoints, Refusal, TradeRules, Venue

# What is refused is not documented; these are what its front and others of its kind answer.
REFUSALS = MappingProxyType(
    {
        403: Refusal("Bitget's front blocks this address, or does not serve its country", 60.0),
        429: Refusal("this address has opened too many connections: 300 are allowed in five minutes", 60.0),
        451: Refusal("Bitget does not serve this address's country", 600.0),
        503: Refusal("Bitget takes no connections now: too many from this address, or a maintenance", 5.0),
    }
)


def _rest(market: str, endpoints: Endpoints, _rules: TradeRules, stop: threading.Event) -> BitgetRest:
    return BitgetRest(market, url=moved(URL, endpoints.rest_url), stop=stop)


VENUE = Venue(
    name="bitget",
    markets=MARKETS,
    connects=ConnectLimits(60, 60.0, REFUSALS),  # 300 in five minutes (docs: websocket-intro)
    protocol=BitgetProtocol,
    rest=_rest,
    decoder=lambda _market, _rules, report: trade_decoder(report),
    reader=lambda _market, kind, report, types: RECORDS.reader(kind, report, types),
    ids="unique",
    has_testnet=False,
    trade_keys=TRADE_KEYS,
    joins_coins=True,
    record_names=MappingProxyType({"trades": TRADE_NAMES, "ticker": TICKER_NAMES}),
    rest_limit="15 of 20 requests a second, by path; the newest 100 trades alone",
    recorded="frames of v1 to v3 of 2022 to 2026, refusals, REST's candles of both markets, listings",
    documented="limits, the cut after 24 h, the REST history of trades",
    unverified=(
        "how a refused connect is answered",
        "how v3, which liquidations come from, acknowledges and refuses",
        "whether recent candles are given by their end alone",
        "whether RPI trades count in its candles",
        "on which day its weeks begin",
    ),
)
