"""Bybit's REST market endpoints (BYBIT_V5.md sections 6, 7 and 9).

Event loop thread only. Anything but GET /v5/market/ is refused as Bybit refuses it.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from . import listing
from .market import INTERVALS, Market
from .rest import Answer, Request
from .symbol_market import SymbolMarket

WINDOW_S = 5.0  # the IP limit counts requests over this
PARAMETER_ERROR, RATE_LIMITED, NO_ROUTE = 10001, 10006, 10017
KLINE_LIMIT, KLINE_DEFAULT = 1000, 200
RECENT_LIMIT = {"spot": (60, 60)}  # category -> (most, default)
RECENT_LIMIT_OTHERS = (1000, 500)
BOOK_LIMIT = {"spot": (1000, 1), "option": (25, 1)}
BOOK_LIMIT_OTHERS = (1000, 25)
PAGE_LIMIT, PAGE_DEFAULT = 1000, 500


class ParameterError(ValueError):
    """Becomes retCode 10001 with this message."""


class MarketApi:
    """GET /v5/market/*."""

    def __init__(self, market: Market, rest_limit: int, ban_s: float) -> None:
        self._market, self._rest_limit, self._ban_s = market, rest_limit, ban_s
        self._requests: dict[str, deque[float]] = {}
        self._banned_until_s: dict[str, float] = {}
        self._limited_until_s, self._limited_with = 0.0, RATE_LIMITED
        self.requests = 0
        self._routes: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
            "time": self._time,
            "kline": self._kline,
            "recent-trade": self._recent_trade,
            "instruments-info": self._instruments_info,
            "tickers": self._tickers,
            "orderbook": self._orderbook,
        }

    def limit_for(self, seconds: float, with_code: int) -> dict[str, Any]:
        """Refuse everything for a while: 10006 as retCode, 403 as HTTP status; 0 seconds lifts every limit."""
        if with_code not in (RATE_LIMITED, 403):
            raise ValueError(f"with {with_code}: 10006 or 403")
        self._limited_until_s, self._limited_with = time.monotonic() + seconds, with_code
        if seconds == 0:
            self._banned_until_s.clear()
            self._requests.clear()
        return {"s": seconds, "with": with_code}

    def answer(self, request: Request) -> Answer:
        """The whole answer with its limit headers."""
        self.requests += 1
        now_s = time.monotonic()
        if self._is_banned(request.client_ip, now_s):
            return Answer(403, "403, access too frequent")
        if now_s < self._limited_until_s:
            until_ms = int((self._limited_until_s - now_s) * 1000) + self._market.now_ms()
            return self._enveloped(RATE_LIMITED, "Too many visits. Exceeded the API Rate Limit.", {}, reset_ms=until_ms)
        route = self._routes.get(request.path.removeprefix("/v5/market/"))
        if route is None:
            return Answer(404, self._enveloped(NO_ROUTE, "Route not found.", {}).body)
        left = self._rest_limit - len(self._requests[request.client_ip])
        try:
            return self._enveloped(0, "OK", route(request.query), left=left)
        except ParameterError as error:
            return self._enveloped(PARAMETER_ERROR, str(error), {}, left=left)

    def _is_banned(self, ip: str, now_s: float) -> bool:
        times = self._requests.setdefault(ip, deque())
        while times and times[0] < now_s - WINDOW_S:
            times.popleft()
        times.append(now_s)
        if len(times) > self._rest_limit:
            self._banned_until_s[ip] = now_s + self._ban_s
        is_commanded = self._limited_with == 403 and now_s < self._limited_until_s
        return is_commanded or now_s < self._banned_until_s.get(ip, 0.0)

    def _enveloped(self, code: int, message: str, result: dict[str, Any], left: int = 0, reset_ms: int = 0) -> Answer:
        now_ms = self._market.now_ms()
        headers = (
            ("X-Bapi-Limit", str(self._rest_limit)),
            ("X-Bapi-Limit-Status", str(left)),
            ("X-Bapi-Limit-Reset-Timestamp", str(reset_ms or now_ms)),
        )
        body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": now_ms}
        return Answer(200, body, headers)

    # endpoints

    def _time(self, _query: dict[str, str]) -> dict[str, Any]:
        now_ns = self._market.now_ms() * 1_000_000
        return {"timeSecond": str(now_ns // 1_000_000_000), "timeNano": str(now_ns)}

    def _kline(self, query: dict[str, str]) -> dict[str, Any]:
        category = query.get("category", "linear")
        if category not in ("linear", "spot", "inverse"):
            raise ParameterError("Category is invalid")
        symbol = self._symbol(category, query)
        if query.get("interval") not in INTERVALS:
            raise ParameterError("Not supported interval")
        limit = _whole(query, "limit", KLINE_DEFAULT, 1, KLINE_LIMIT)
        start, end = _whole(query, "start", None), _whole(query, "end", None)
        if start is not None and end is not None and start > end:
            raise ParameterError("The start time cannot be later than the end time")
        candles = symbol.truth.candles(INTERVALS[query["interval"]], self._market.now_ms())
        wanted = [c for c in candles if (start is None or c.start >= start) and (end is None or c.start <= end)]
        is_forward = start is not None and end is None
        chosen = wanted[:limit] if is_forward else wanted[-limit:]
        rows = [listing.kline_row(candle, category == "inverse") for candle in reversed(chosen)]
        return {"category": category, "symbol": query["symbol"], "list": rows}

    def _recent_trade(self, query: dict[str, str]) -> dict[str, Any]:
        category = self._category(query)
        symbol = self._symbol(category, query)
        most, usual = RECENT_LIMIT.get(category, RECENT_LIMIT_OTHERS)
        limit = _whole(query, "limit", usual, 1, most)
        trades = list(symbol.recent)[-limit:]
        return {"category": category, "list": [listing.recent_trade(query["symbol"], t) for t in reversed(trades)]}

    def _instruments_info(self, query: dict[str, str]) -> dict[str, Any]:
        category = self._category(query)
        symbols = self._listed(category, query.get("symbol"))
        rows = [listing.instrument_info(s.instrument, i) for i, s in enumerate(symbols)]
        if query.get("status", "Trading") != "Trading":
            rows = []
        if category == "spot":
            return {"category": category, "list": rows}
        limit = _whole(query, "limit", PAGE_DEFAULT, 1, PAGE_LIMIT)
        first = _cursor_of(query.get("cursor", ""))
        cursor = f"first%3D{first + limit}" if first + limit < len(rows) else ""
        return {"category": category, "list": rows[first : first + limit], "nextPageCursor": cursor}

    def _tickers(self, query: dict[str, str]) -> dict[str, Any]:
        category = self._category(query)
        symbols = self._listed(category, query.get("symbol"))
        now_ms = self._market.now_ms()
        return {"category": category, "list": [listing.ticker(s, now_ms) for s in symbols]}

    def _orderbook(self, query: dict[str, str]) -> dict[str, Any]:
        category = self._category(query)
        symbol = self._symbol(category, query)
        most, usual = BOOK_LIMIT.get(category, BOOK_LIMIT_OTHERS)
        limit = _whole(query, "limit", usual, 1, most)
        return listing.orderbook(symbol, limit, self._market.now_ms())

    # parameters

    def _category(self, query: dict[str, str]) -> str:
        category = query.get("category", "")
        if category not in ("linear", "spot", "inverse", "option"):
            raise ParameterError("params error: Category is invalid")
        return category

    def _symbol(self, category: str, query: dict[str, str]) -> SymbolMarket:
        symbol = self._market.symbols.get((category, query.get("symbol", "")))
        if symbol is None or query["symbol"] in self._market.refused:
            raise ParameterError("params error: Symbol Invalid")
        return symbol

    def _listed(self, category: str, name: str | None) -> list[SymbolMarket]:
        if name is not None:
            return [self._symbol(category, {"symbol": name})]
        refused = self._market.refused
        return [s for (c, n), s in self._market.symbols.items() if c == category and n not in refused]


def _whole(query: dict[str, str], name: str, default: int | None, low: int = 0, high: int = 1 << 62) -> Any:
    """A whole number within its range, or the default."""
    text = query.get(name, "")
    if text == "":
        return default
    if not text.isdigit() or not low <= int(text) <= high:
        raise ParameterError(f"params error: {name} invalid")
    return int(text)


def _cursor_of(text: str) -> int:
    """Cursors come back as they were given or decoded once more by the client."""
    number = text.replace("%3D", "=").removeprefix("first=")
    if text and not number.isdigit():
        raise ParameterError("params error: cursor invalid")
    return int(number or 0)
