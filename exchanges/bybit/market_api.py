"""Bybit's public REST protocol as it is served: what was collected from memory, all else passed on (docs: market/...).

Implements model/market_api.py. The event loop's thread. A wrong request is passed on too, and so refused in Bybit's own
words. What needs a key is refused here.
"""

import functools
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from exchanges.bybit.client.connection import ConnectionManager
from exchanges.bybit.client.limits import limits_of
from exchanges.bybit.intervals import INTERVALS
from exchanges.bybit.latest import LatestState
from exchanges.bybit.rest import sort_answer, sort_status
from exchanges.contract import Endpoints
from exchanges.kline_answers import OPEN_KEPT_S, KlineAnswers, rows_of_pages, span_of, start_of_number
from exchanges.rest_client import Budget, RestClient
from exchanges.retries import CLIENTS
from exchanges.upstream import Passage, PassageOf
from model.intervals import Interval, parse_interval, step_name
from model.market_api import FOR_EVER, ApiAnswer, ApiRequest, MarketApiOptions
from model.ports import HistoryError

PREFIX, MARKET = "/v5/", "/v5/market/"
KLINE_ROW = ('["', "timestamp", '","', "open", '","', "high", '","', "low", '","', "close", '","', "volume", '","',
             "turnover", '"]')  # fmt: skip
KLINE_DEFAULT, KLINE_MOST = 200, 1000
KLINES = frozenset({"kline", "mark-price-kline", "index-price-kline", "premium-index-price-kline"})
CATEGORIES = frozenset({"linear", "inverse", "spot"})
DIGITS = 13  # of a time in ms
PARAMETERS = frozenset({"category", "symbol", "interval", "start", "end", "limit"})
SHARE = Budget(25, 1.0, "clients")  # half of what this process asks Bybit for (exchanges/rest_limits.py)
REQUEST_TIMEOUT_S = 6.0

KEPT_S: Mapping[str, float] = MappingProxyType(
    {
        "instruments-info": 60.0,
        "tickers": 0.5,
        "orderbook": 0.2,
        "recent-trade": 1.0,  # as often as one bot that polls it
        "funding/history": 10.0,
        "open-interest": 10.0,
        "account-ratio": 10.0,
        "historical-volatility": 60.0,
        "insurance": 60.0,
        "risk-limit": 60.0,
        "delivery-price": 10.0,
    }
)
"""By path: how long an answer of Bybit's is kept for equal requests."""
OTHERS_KEPT_S = 0.5

RATE_LIMITED, NO_ROUTE, REFUSED = 10006, 10017, 10001
REFUSALS: Mapping[int, int] = MappingProxyType({404: NO_ROUTE, 405: NO_ROUTE, 500: 10016})  # by HTTP status
RETRY_MS = 1_000  # after which one who was refused for the rate may ask again
REASON_LENGTH = 300
NO_ACCOUNT = "this is a collector of market data, without an account: ask Bybit itself for {path}"

INTERVAL_STEPS: Mapping[str, int] = MappingProxyType({name: step_ms for step_ms, name in INTERVALS.items()})

_text = msgspec.json.Encoder().encode


def passage(endpoints: Endpoints, stop: threading.Event) -> PassageOf:
    """Return how requests for market data are passed on: Venue.passage."""
    connection = ConnectionManager(testnet=endpoints.testnet and endpoints.rest_url is None, url=endpoints.rest_url)
    client = RestClient(
        connection.base_url,
        budgets={},
        sort=sort_answer,
        sort_status=sort_status,
        stop=stop,
        limits=limits_of(connection),
        request_timeout_s=REQUEST_TIMEOUT_S,
        retries=CLIENTS,
    )
    passed = Passage(client, None, SHARE)
    return lambda path: passed if path.startswith(MARKET) else None


class BybitMarketApi:
    """The answers; see model.market_api.MarketApi for the methods."""

    def __init__(self, options: MarketApiOptions) -> None:
        self._options = options
        self.paths = frozenset({PREFIX})
        self._latest = LatestState(options)
        self._klines = KlineAnswers(options, KLINE_ROW, older=self._older)

    async def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer a request from what was collected, or pass it on."""
        if not request.path.startswith(MARKET):
            return self._error(NO_ROUTE, NO_ACCOUNT.format(path=request.path[:REASON_LENGTH]))
        name = request.path.removeprefix(MARKET)
        try:
            return await self._own(name, request) or await self._passed_on(name, request)
        except HistoryError as error:
            return self.unavailable(str(error))

    def refused(self, status: int, reason: str) -> ApiAnswer:
        """Return Bybit's refusal of a request that makes no sense here.

        With HTTP 200: pybit shows the sentence of no other answer.
        """
        return self._error(REFUSALS.get(status, REFUSED), reason)

    def unavailable(self, reason: str) -> ApiAnswer:
        """Return Bybit's refusal for the rate, which its clients repeat after a pause."""
        reset_ms = self._options.now_ms() + RETRY_MS
        limits = {"X-Bapi-Limit": "1", "X-Bapi-Limit-Status": "0", "X-Bapi-Limit-Reset-Timestamp": str(reset_ms)}
        return self._error(RATE_LIMITED, f"Cannot be answered now: {reason}", limits)

    # -- from what was collected --------------------------------------------------------------------------------------

    async def _own(self, name: str, request: ApiRequest) -> ApiAnswer | None:
        """The answer of what was collected; None where that is not all of it."""
        if name == "time" and not request.query:
            return self._time()
        if name == "kline":
            return await self._kline(request.query)
        result = None
        if name == "tickers":
            result = await self._latest.ticker(request.query)
        elif name == "orderbook":
            result = self._latest.orderbook(request.query)
        return self._enveloped(result) if result else None

    def _time(self) -> ApiAnswer:
        now_ms = self._options.now_ms()
        return self._enveloped(f'{{"timeSecond":"{now_ms // 1000}","timeNano":"{now_ms}000000"}}')

    async def _kline(self, query: Mapping[str, str]) -> ApiAnswer | None:
        asked = KlineQuery.of(query)
        if asked is None or not query.keys() <= PARAMETERS:
            return None
        rows = await self._klines.joined(
            asked.category,
            asked.symbol,
            asked.step_ms,
            asked.limit,
            asked.start_ms,
            asked.end_ms,
            is_forward=asked.is_forward,
            newest_first=True,
        )
        if rows is None:
            return None
        result = f'{{"symbol":"{asked.symbol}","category":"{asked.category}","list":[{rows.text}]}}'
        return self._enveloped(result, "store" if rows.is_collected else "exchange")

    async def _older(self, market: str, symbol: str, interval: Interval, first_ms: int, end_ms: int) -> str | None:
        """Rows of closed candles, newest first, of pages that all requests have in common and are kept for ever."""
        read = functools.partial(self._page, market, symbol, interval)
        rows = await rows_of_pages(read, interval, first_ms, end_ms, KLINE_MOST)
        return None if rows is None else b",".join(map(bytes, rows)).decode()

    async def _page(self, market: str, symbol: str, interval: Interval, first: int, end: int) -> list[msgspec.Raw]:
        """The rows of the candles that have these numbers, newest first."""
        start_ms, end_ms = start_of_number(interval, first), start_of_number(interval, end) - 1
        query = {"category": market, "symbol": symbol, "interval": INTERVALS[interval.step_ms]}
        query |= {"start": str(start_ms), "end": str(end_ms), "limit": str(KLINE_MOST)}
        answer = await self._options.upstream.fetch(ApiRequest(f"{MARKET}kline", query), keep_s=FOR_EVER)
        try:
            return _decode_page(answer.body).result.list
        except (msgspec.DecodeError, ValueError):
            return []

    # -- passed on ----------------------------------------------------------------------------------------------------

    async def _passed_on(self, name: str, request: ApiRequest) -> ApiAnswer:
        keep_s, epoch = KEPT_S.get(name, OTHERS_KEPT_S), 0
        if name in KLINES:
            keep_s, epoch = self._kline_sharing(request.query)
        return await self._options.upstream.fetch(request, keep_s=keep_s, epoch=epoch)

    def _kline_sharing(self, query: Mapping[str, str]) -> tuple[float, int]:
        if (asked := KlineQuery.of(query)) is None:
            return OPEN_KEPT_S, 0
        interval, now_ms = parse_interval(step_name(asked.step_ms)), self._options.now_ms()
        span = span_of(interval, now_ms, asked.limit, asked.start_ms, asked.end_ms, is_forward=asked.is_forward)
        return span.sharing(now_ms, interval) if span else (OPEN_KEPT_S, interval.window_start(now_ms))

    # -- answers ------------------------------------------------------------------------------------------------------

    def _enveloped(self, result: str, source: Literal["store", "exchange"] = "store") -> ApiAnswer:
        text = f'{{"retCode":0,"retMsg":"OK","result":{result},"retExtInfo":{{}},"time":{self._options.now_ms()}}}'
        return ApiAnswer(text.encode(), source)

    def _error(self, code: int, reason: str, headers: Mapping[str, str] = MappingProxyType({})) -> ApiAnswer:
        body = {"retCode": code, "retMsg": reason[:REASON_LENGTH], "result": {}, "retExtInfo": {}}
        return ApiAnswer(_text({**body, "time": self._options.now_ms()}), "store", headers=headers)


class _Page(msgspec.Struct):
    list: list[msgspec.Raw]


class _PageAnswer(msgspec.Struct):
    result: _Page


_decode_page = msgspec.json.Decoder(_PageAnswer).decode


class KlineQuery(msgspec.Struct, frozen=True):
    """The parameters of a request for klines."""

    category: str
    symbol: str
    step_ms: int
    limit: int
    start_ms: int | None
    end_ms: int | None

    @property
    def is_forward(self) -> bool:
        """Whether the oldest of the span are meant: it has a start alone."""
        return self.start_ms is not None and self.end_ms is None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "KlineQuery | None":
        """Read them; None where Bybit may refuse them."""
        category, symbol = query.get("category") or "linear", query.get("symbol", "")
        step_ms = INTERVAL_STEPS.get(query.get("interval", ""))
        numbers = [query.get(name, "") for name in ("limit", "start", "end")]
        if step_ms is None or category not in CATEGORIES or not all(text == "" or _is_number(text) for text in numbers):
            return None
        limit, start_ms, end_ms = (int(text) if text else None for text in numbers)
        limit = KLINE_DEFAULT if limit is None else limit
        if not 1 <= limit <= KLINE_MOST or (start_ms is not None and end_ms is not None and start_ms > end_ms):
            return None
        return cls(category, symbol, step_ms, limit, start_ms, end_ms)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= DIGITS
