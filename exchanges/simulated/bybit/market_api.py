"""Bybit's REST market endpoints (BYBIT_V5.md sections 6, 7 and 9).

Event loop thread only. No key is needed; gateway.py counts and limits the requests.
"""

from collections.abc import Callable
from typing import Any

from ..klines import Klines
from ..market import Market
from ..symbol_market import SymbolMarket
from . import listing
from .pages import first_of, whole
from .rules import OrderError
from .statistics import MarketStatistics, premium_rows
from .topics import INTERVALS

KLINE_LIMIT, KLINE_DEFAULT = 1000, 200
RECENT_LIMIT = {"spot": (60, 60)}  # category -> (most, default)
RECENT_LIMIT_OTHERS = (1000, 500)
BOOK_LIMIT = {"spot": (1000, 1), "option": (25, 1)}
BOOK_LIMIT_OTHERS = (1000, 25)
PAGE_LIMIT, PAGE_DEFAULT = 1000, 500


class MarketApi:
    """GET /v5/market/*; endpoints beside the live market come from `more`."""

    def __init__(self, market: Market, now_ms: Callable[[], int]) -> None:
        self._market, self._now_ms = market, now_ms
        self._klines = Klines()
        self._routes: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
            "time": self._time,
            "kline": self._kline,
            "mark-price-kline": self._price_kline,
            "index-price-kline": self._price_kline,
            "premium-index-price-kline": self._premium_kline,
            "recent-trade": self._recent_trade,
            "instruments-info": self._instruments_info,
            "tickers": self._tickers,
            "orderbook": self._orderbook,
        }
        more = MarketStatistics(self._category, self._symbol, self._listed, now_ms)
        self._routes |= more.routes

    def has_endpoint(self, path: str) -> bool:
        """Whether there is such an endpoint."""
        return path.removeprefix("/v5/market/") in self._routes

    def run(self, path: str, query: dict[str, str]) -> tuple[int, str, dict[str, Any]]:
        """Answer a path and query: retCode, retMsg, result."""
        try:
            return 0, "OK", self._routes[path.removeprefix("/v5/market/")](query)
        except OrderError as error:
            return error.code, error.message, {}

    # endpoints

    def _time(self, _query: dict[str, str]) -> dict[str, Any]:
        now_ns = self._now_ms() * 1_000_000
        return {"timeSecond": str(now_ns // 1_000_000_000), "timeNano": str(now_ns)}

    def _kline(self, query: dict[str, str]) -> dict[str, Any]:
        return self._candles(query, ("linear", "spot", "inverse"))

    def _candles(self, query: dict[str, str], categories: tuple[str, ...]) -> dict[str, Any]:
        category = query.get("category", "linear")
        if category not in categories:
            raise OrderError(10001, "Category is invalid")
        symbol = self._symbol(category, query)
        if query.get("interval") not in INTERVALS:
            raise OrderError(10001, "Not supported interval")
        limit = whole(query, "limit", KLINE_DEFAULT, 1, KLINE_LIMIT)
        start, end = whole(query, "start", None), whole(query, "end", None)
        if start is not None and end is not None and start > end:
            raise OrderError(10001, "The start time cannot be later than the end time")
        interval = INTERVALS[query["interval"]]
        rows = self._klines.rows(symbol, interval, start, end, limit, self._market.now_ms())
        rows = [[row[0], *map(_stripped, row[1:])] for row in rows]
        return {"symbol": query["symbol"], "category": category, "list": rows}

    def _price_kline(self, query: dict[str, str]) -> dict[str, Any]:
        """Mark, index and premium candles: mark and index follow the last price, without volume and turnover."""
        answer = self._candles(query, ("linear", "inverse"))
        return {"symbol": answer["symbol"], "category": answer["category"], "list": [r[:5] for r in answer["list"]]}

    def _premium_kline(self, query: dict[str, str]) -> dict[str, Any]:
        answer = self._candles(query, ("linear",))
        rows = premium_rows(answer["symbol"], answer["list"])
        return {"symbol": answer["symbol"], "category": answer["category"], "list": rows}

    def _recent_trade(self, query: dict[str, str]) -> dict[str, Any]:
        category = self._category(query)
        symbol = self._symbol(category, query)
        most, usual = RECENT_LIMIT.get(category, RECENT_LIMIT_OTHERS)
        limit = whole(query, "limit", usual, 1, most)
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
        limit = whole(query, "limit", PAGE_DEFAULT, 1, PAGE_LIMIT)
        first = first_of(query.get("cursor", ""))
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
        limit = whole(query, "limit", usual, 1, most)
        return listing.orderbook(symbol, limit, self._market.now_ms())

    # parameters

    def _category(self, query: dict[str, str]) -> str:
        category = query.get("category", "")
        if category not in ("linear", "spot", "inverse", "option"):
            raise OrderError(10001, "params error: Category is invalid")
        return category

    def _symbol(self, category: str, query: dict[str, str]) -> SymbolMarket:
        symbol = self._market.symbols.get((category, query.get("symbol", "")))
        if symbol is None or query["symbol"] in self._market.refused:
            raise OrderError(10001, "params error: Symbol Invalid")
        return symbol

    def _listed(self, category: str, name: str | None) -> list[SymbolMarket]:
        if name is not None:
            return [self._symbol(category, {"symbol": name})]
        refused = self._market.refused
        return [s for (c, n), s in self._market.symbols.items() if c == category and n not in refused]


def _stripped(number: str) -> str:
    """A number without zeros at its end, as candles have it (measured: no other in 2026)."""
    return number.rstrip("0").rstrip(".") if "." in number else number
