"""Binance's public REST protocol as it is served: spot, USD-M and COIN-M below /api, /fapi and /dapi, passed on.

Implements model/market_api.py. The event loop's thread. All three products are answered whatever is collected. Klines
are passed on, too: theirs have volumes of taker buys, which ours do not. What is wrong is passed on, and so refused in
Binance's own words. What needs a key is refused here.
"""

import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from exchanges.addresses import moved
from exchanges.binance.rest import APIS, FUTURES_WEIGHT, INTERVALS, MINUTE_S, SPOT_WEIGHT, sort_answer
from exchanges.binance.weights import FUTURES, KLINES, KLINES_DEFAULT, KLINES_MOST, SPOT, Endpoint, limit_of
from exchanges.contract import Endpoints
from exchanges.kline_answers import OPEN_KEPT_S, Span, span_of
from exchanges.rest_client import Budget, RestClient
from exchanges.retries import CLIENTS
from exchanges.upstream import Passage, PassageOf
from model.intervals import SECOND_MS, Interval, parse_interval, step_name
from model.market_api import ApiAnswer, ApiRequest, MarketApiOptions
from model.ports import HistoryError

PREFIXES: Mapping[str, str] = MappingProxyType(
    {"/api/v3/": "spot", "/fapi/v1/": "linear", "/fapi/v2/": "linear", "/dapi/v1/": "inverse"}
)
"""The markets of paths."""
SHARES: Mapping[str, Budget] = MappingProxyType(
    {
        "spot": Budget(SPOT_WEIGHT // 2, MINUTE_S, "clients spot"),
        "futures": Budget(FUTURES_WEIGHT // 2, MINUTE_S, "clients futures"),
    }
)
"""What clients get of the limits: the collector's own reads always have the rest."""
REQUEST_TIMEOUT_S = 6.0

TOO_MANY, NO_PATH, ILLEGAL, DISCONNECTED = -1003, -5000, -1100, -1001
TOO_MANY_REQUESTS = "http_429"  # the cause of a problem: Binance refuses this address for its rate
DISCONNECTED_TEXT = "Internal error; unable to process your request. Please try again."
RETRY_AFTER = MappingProxyType({"Retry-After": "1"})
REASON_LENGTH = 300
NOT_SERVED = "Path {path} is not served by this collector of market data, without an account: ask Binance itself"
TIME_DIGITS = 13

INTERVAL_STEPS: Mapping[str, int] = MappingProxyType({"1s": SECOND_MS, **{name: ms for ms, name in INTERVALS.items()}})

_text = msgspec.json.Encoder().encode


def passage(endpoints: Endpoints, stop: threading.Event) -> PassageOf:
    """Return how requests for market data are passed on: Venue.passage."""
    passages = {market: _passage(market, endpoints, stop) for market in APIS}
    return lambda path: passages[found.market] if (found := Asked.of(path)) else None


def _passage(market: str, endpoints: Endpoints, stop: threading.Event) -> Passage:
    api = APIS[market]
    client = RestClient(
        moved(api.testnet if endpoints.testnet else api.host, endpoints.rest_url),
        budgets={api.budget.key: api.budget},
        sort=sort_answer,
        stop=stop,
        request_timeout_s=REQUEST_TIMEOUT_S,
        retries=CLIENTS,
    )
    return Passage(client, api.budget.key, SHARES[product_of(market)])


class Asked(NamedTuple):
    """An endpoint by its path: market and name, as ticker/24hr."""

    market: str
    name: str

    @classmethod
    def of(cls, path: str) -> "Asked | None":
        """Read a path; None where it is of no market data."""
        prefix = next((known for known in PREFIXES if path.startswith(known)), None)
        return cls(PREFIXES[prefix], path[len(prefix) :]) if prefix else None

    @property
    def endpoint(self) -> Endpoint | None:
        """What it weighs; None where there is no such endpoint, or it needs a key."""
        return (SPOT if self.market == "spot" else FUTURES).get(self.name)


def product_of(market: str) -> str:
    """Return what shares a limit: spot, or both futures."""
    return "spot" if market == "spot" else "futures"


class BinanceMarketApi:
    """The answers; see model.market_api.MarketApi for the methods."""

    def __init__(self, options: MarketApiOptions) -> None:
        self._options = options
        self.paths = frozenset({"/api/v3/", "/fapi/", "/dapi/"})

    async def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer a request: the time from here, all else as Binance does."""
        asked = Asked.of(request.path)
        if asked and asked.name in ("time", "ping"):
            time = {"serverTime": self._options.now_ms()} if asked.name == "time" else {}
            return ApiAnswer(_text(time), "store")
        endpoint = asked.endpoint if asked else None
        if asked is None or endpoint is None:
            return self._error(404, NO_PATH, NOT_SERVED.format(path=request.path[:REASON_LENGTH]))
        query, keep_s, epoch = request.query, endpoint.kept_s(request.query), 0
        if asked.name in KLINES:
            keep_s, epoch = self._klines_sharing(asked.market, query)
        try:
            weight = endpoint.weigh(query)
            return await self._options.upstream.fetch(request, keep_s=keep_s, weight=weight, epoch=epoch)
        except HistoryError as error:
            if error.problem is None or error.problem.cause == TOO_MANY_REQUESTS:
                return self.unavailable(error.problem.meaning if error.problem else str(error))
            return self._error(503, DISCONNECTED, f"{DISCONNECTED_TEXT} ({error.problem.meaning})")

    def refused(self, status: int, reason: str) -> ApiAnswer:
        """Return Binance's refusal of a request that makes no sense here."""
        return self._error(status, NO_PATH if status == 404 else ILLEGAL, reason)

    def unavailable(self, reason: str) -> ApiAnswer:
        """Return Binance's refusal for the rate, which its clients repeat after a pause."""
        return self._error(429, TOO_MANY, f"Too many requests, cannot be answered now: {reason}", RETRY_AFTER)

    def _klines_sharing(self, market: str, query: Mapping[str, str]) -> tuple[float, int]:
        """How long klines are kept, and for whom: for ever where all are closed, else until the open one closes."""
        now_ms, interval = self._options.now_ms(), interval_of(query)
        if interval is None:
            return 0.0, 0
        span = klines_span(interval, product_of(market), query, now_ms)
        return span.sharing(now_ms, interval) if span else (OPEN_KEPT_S, interval.window_start(now_ms))

    def _error(
        self, status: int, code: int, reason: str, headers: Mapping[str, str] = MappingProxyType({})
    ) -> ApiAnswer:
        return ApiAnswer(_text({"code": code, "msg": reason[:REASON_LENGTH]}), "store", status, headers)


def interval_of(query: Mapping[str, str]) -> Interval | None:
    """Return the interval of a request for klines; None where that is none, or its windows are not known."""
    step_ms = INTERVAL_STEPS.get(query.get("interval", ""))
    return None if step_ms is None or query.get("timeZone") else parse_interval(step_name(step_ms))


def klines_span(interval: Interval, product: str, query: Mapping[str, str], now_ms: int) -> Span | None:
    """Return the klines that a request asks for; None where there are none, or Binance may refuse it."""
    limit = min(limit_of(query, KLINES_DEFAULT), KLINES_MOST[product])
    times = [query.get(name) or None for name in ("startTime", "endTime")]
    if limit < 1 or not all(text is None or _is_time(text) for text in times):
        return None
    start_ms, end_ms = (None if text is None else int(text) for text in times)
    return span_of(interval, now_ms, limit, start_ms, end_ms, is_forward=start_ms is not None)


def _is_time(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= TIME_DIGITS
