"""The Venue of Toy; see exchanges/contract.py."""

from types import MappingProxyType

from exchanges.contract import ConnectLimits, Refusal, Venue
from model.markets import KlineRules, MarketSpec, by_name

from .protocol import CHANNELS, DEPTH, ToyProtocol
from .records import RECORDS, TICKER_NAMES, TRADE_NAMES
from .rest import REQUESTS, ToyRest
from .trades import trade_decoder

MARKETS = by_name(MarketSpec("spot", "spot", "spot", tuple(CHANNELS), (DEPTH,), KlineRules("first_trade")))

VENUE = Venue(
    name="toy",
    markets=MARKETS,
    connects=ConnectLimits(100, 10.0, MappingProxyType({403: Refusal("Toy does not like this address", 60.0)})),
    protocol=lambda _market, endpoints: ToyProtocol(endpoints),
    rest=lambda _market, endpoints, _rules, stop: ToyRest(endpoints, stop),
    decoder=lambda _market, _rules, report: trade_decoder(report),
    reader=lambda _market, kind, report, types: RECORDS.reader(kind, report, types),
    ids="none",
    trade_keys=None,
    refuses_unknown=False,
    record_names=MappingProxyType({"trades": TRADE_NAMES, "ticker": TICKER_NAMES}),
    rest_limit=f"{REQUESTS} requests a second",
    documented="all of it",
    unverified=("whether it exists",),
)
