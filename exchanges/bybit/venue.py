"""The Venue of Bybit V5; see exchanges/contract.py."""

import threading
from types import MappingProxyType

from exchanges.bybit.dialect.dialect import BybitDialect
from exchanges.bybit.market_api import BybitMarketApi, passage
from exchanges.bybit.protocol import DEPTHS, TRADE_KEYS, BybitProtocol
from exchanges.bybit.records import RECORDS, TRADE_NAMES
from exchanges.bybit.rest import BybitRest
from exchanges.bybit.trades import trade_decoder
from exchanges.contract import ConnectLimits, Endpoints, Refusal, TradeRules, Venue
from exchanges.rest_limits import RATE_PER_S
from model.markets import KlineRules, MarketSpec, by_name
from model.records import Kind

KINDS: tuple[Kind, ...] = ("trades", "orderbook", "ticker", "liquidations")
# Bybit lifts a ban after 10 minutes without a connect (docs: rate-limit).
REFUSALS = MappingProxyType({403: Refusal("this address is banned for ten minutes, or its country is blocked", 600.0)})
RULES = KlineRules("prev_close")  # measured on 379,639 candles; inverse: 8 decimals, each trade's cut (2022)
MARKETS = by_name(
    MarketSpec("linear", "linear", "linear", KINDS, DEPTHS["linear"], RULES),
    MarketSpec("inverse", "inverse", "inverse", KINDS, DEPTHS["inverse"], RULES),
    MarketSpec("spot", "spot", "spot", KINDS[:3], DEPTHS["spot"], RULES),
    MarketSpec("option", "option", "linear", KINDS[:3], DEPTHS["option"], None),  # there are no candles of options
)


def _rest(market: str, endpoints: Endpoints, rules: TradeRules, stop: threading.Event) -> BybitRest:
    return BybitRest(market, url=endpoints.rest_url, testnet=endpoints.testnet, rules=rules, stop=stop)


VENUE = Venue(
    name="bybit",
    markets=MARKETS,
    connects=ConnectLimits(450, 300.0, REFUSALS),  # of 500 per 5 minutes (docs: ws/connect); the rest is for others
    protocol=BybitProtocol,
    rest=_rest,
    decoder=lambda _market, rules, report: trade_decoder(rules, report),
    reader=lambda _market, kind, report, types: RECORDS.reader(kind, report, types),
    ids="unique",
    trade_keys=TRADE_KEYS,
    joins_coins=True,
    record_names=MappingProxyType({"trades": TRADE_NAMES}),
    rest_limit=f"{RATE_PER_S:g} requests a second, of 120",
    recorded="frames of every kind of 2022 to 2026, options too, candles with all their trades, listings, refusals",
    documented="limits of connects and of REST",
    unverified=(
        "whether block trades and RPI trades count in its candles (`COUNT_BLOCK_TRADES`, `COUNT_RPI_TRADES`)",
        "decimals of inverse turnover since 2023",
        "whether one wrong topic of options refuses its whole request",
        "how a connection with too many topics is answered",
    ),
    dialect=BybitDialect,
    market_api=BybitMarketApi,
    passage=passage,
)
