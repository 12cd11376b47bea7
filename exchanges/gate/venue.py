"""The Venue of Gate V4; see exchanges/contract.py."""

import threading
from types import MappingProxyType

from exchanges.addresses import moved
from exchanges.contract import ConnectLimits, Endpoints, Refusal, TradeRules, Venue
from exchanges.gate.markets import MARKETS
from exchanges.gate.protocol import GateProtocol
from exchanges.gate.records import RECORDS, TICKER_NAMES, TRADE_NAMES
from exchanges.gate.rest import DECIMALS, REQUESTS, TESTNET_URL, URL, WINDOW_S, GateRest
from exchanges.gate.trades import TRADE_KEYS, trade_decoder

# What is refused is not documented; these are what its front and others of its kind answer.
REFUSALS = MappingProxyType(
    {
        403: Refusal("Gate's front blocks this address, or does not serve its country", 60.0),
        429: Refusal("too many connects came from this address; other programs share it", 10.0),
        451: Refusal("Gate does not serve this address's country", 600.0),
        503: Refusal("Gate takes no connections now: too many from this address, or a maintenance", 5.0),
    }
)


def _rest(market: str, endpoints: Endpoints, _rules: TradeRules, stop: threading.Event) -> GateRest:
    url = moved(TESTNET_URL if endpoints.testnet else URL, endpoints.rest_url)
    return GateRest(market, url=url, stop=stop)


VENUE = Venue(
    name="gate",
    markets=MARKETS,
    connects=ConnectLimits(1, 0.5, REFUSALS, DECIMALS),  # 100 connections a host are advised, no rate is known
    protocol=GateProtocol,
    rest=_rest,
    decoder=lambda market, _rules, report: trade_decoder(market, report),
    reader=lambda market, kind, report, types: RECORDS[market].reader(kind, report, types),
    ids="consecutive",
    trade_keys=TRADE_KEYS,
    refuses_unknown=("trades", "ticker", "liquidations"),
    record_names=MappingProxyType({"trades": TRADE_NAMES, "ticker": TICKER_NAMES}),
    rest_limit=f"{REQUESTS} requests in {WINDOW_S:g} s of each path; the newest 10,000 candles; trades 30 days back",
    recorded="frames of every kind of 2020 to 2026, liquidations, candles of 2024 and their roll-ups, REST's rows",
    documented="pushes of changed contracts, limits",
    unverified=(
        "how a refused connect is answered",
        "whether a request with one unknown symbol is refused as a whole",
        "whether internal trades have ids among the others",
        "whether one trade of spot may stand for several ids",
        "whether last_id pages trades of futures to older ones",
        "whether REST has minutes of spot without trades",
        "whether volumes of candles equal those of the trades",
        "what the sign of a liquidation means",
    ),
)
