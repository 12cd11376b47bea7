"""Binance's public REST endpoints: each a function of category and query, or raises Refused. Oldest first.

Event loop thread only.
"""

from collections.abc import Callable
from typing import Any

from ..book import PriceLevels
from ..klines import Klines
from ..market import Market
from ..symbol_market import SymbolMarket
from .bars import INTERVALS
from .rows import Aggregates, aggregate_row, candle_row, counted, instrument_row, ticker_row, trade_row
from .streams import Book

PREFIXES = {"/api/v3/": "spot", "/fapi/v1/": "linear", "/dapi/v1/": "inverse"}
DAYS_MOST_MS = 200 * 86_400_000  # of COIN-M candles
TRADES_MOST, AGGREGATES_MOST = 1000, 1000

Query = dict[str, str]
Weight = Callable[[Query], int]
Endpoint = Callable[[str, Query], Any]


class Refused(Exception):  # noqa: N818 - it is an answer
    """An answer with a code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class MarketApi:
    """The endpoints of all three markets."""

    def __init__(self, market: Market) -> None:
        self._market, self._klines = market, Klines()
        self._endpoints: dict[str, tuple[int, int, Endpoint]] = {  # weight of spot, of futures
            "ping": (1, 1, lambda _category, _query: {}),
            "time": (1, 1, lambda _category, _query: {"serverTime": self._market.now_ms()}),
            "exchangeInfo": (20, 1, self._exchange_info),
            "klines": (2, 5, self._candles),
            "trades": (25, 5, self._trades),
            "historicalTrades": (25, 200, self._historical),
            "aggTrades": (4, 20, self._aggregates),
            "depth": (50, 20, self._depth),
            "ticker/24hr": (80, 40, self._tickers),
        }

    def find(self, path: str) -> tuple[str, Weight, Endpoint] | None:
        """The category, weight and function of a path."""
        prefix = next((each for each in PREFIXES if path.startswith(each)), None)
        name = path.removeprefix(prefix) if prefix else ""
        if prefix is None or name not in self._endpoints:
            return None
        category = PREFIXES[prefix]
        spot, futures, endpoint = self._endpoints[name]

        def weight(query: Query) -> int:
            if name == "ticker/24hr" and "symbol" in query:
                return 2 if category == "spot" else 1
            if name == "klines" and category != "spot":
                limit = _number(query, "limit", 500)
                return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
            return spot if category == "spot" else futures

        return category, weight, endpoint

    def _symbol(self, category: str, query: Query) -> SymbolMarket:
        name = query.get("symbol")
        if not name:
            raise Refused(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if (category, name) not in self._market.symbols:
            raise Refused(-1121, "Invalid symbol.")
        return self._market.symbols[category, name]

    def _of(self, category: str) -> list[SymbolMarket]:
        return [symbol for (each, _), symbol in self._market.symbols.items() if each == category]

    def _exchange_info(self, category: str, _query: Query) -> Any:
        now_ms, rows = self._market.now_ms(), [instrument_row(symbol) for symbol in self._of(category)]
        return {"timezone": "UTC", "serverTime": now_ms, "rateLimits": [], "exchangeFilters": [], "symbols": rows}

    def _tickers(self, category: str, query: Query) -> Any:
        now_ms = self._market.now_ms()
        if "symbol" in query:
            return ticker_row(self._symbol(category, query), now_ms)
        if "symbols" in query and category == "spot":  # a list of names
            names = [{"symbol": name.strip('" ')} for name in query["symbols"].strip("[] ").split(",")]
            return [ticker_row(self._symbol(category, name), now_ms) for name in names]
        return [ticker_row(symbol, now_ms) for symbol in self._of(category)]

    def _candles(self, category: str, query: Query) -> Any:
        symbol, name = self._symbol(category, query), query.get("interval", "")
        if name not in INTERVALS or (name == "1s" and (category != "spot" or symbol.truth.seconds is None)):
            raise Refused(-1120, "Invalid interval.")
        now_ms = self._market.now_ms()
        limit = min(_number(query, "limit", 500), 1000 if category == "spot" else 1500)
        start = _number(query, "startTime", -1)
        end = _number(query, "endTime", -1)
        if category == "inverse" and start >= 0 and (end if end >= 0 else now_ms) - start > DAYS_MOST_MS:
            raise Refused(-4047, "startTime and endTime must be within 200 days.")
        bounds = (start if start >= 0 else None), (min(end, now_ms) if end >= 0 else None)
        interval = INTERVALS[name]
        found = self._klines.candles(symbol, interval, *bounds, limit, now_ms)
        if bounds[0] is not None and bounds[1] is not None and len(found) == limit:  # with both: the oldest
            every = self._klines.candles(symbol, interval, bounds[0], None, limit, now_ms)
            found = [candle for candle in every if candle.start <= bounds[1]]
        return [candle_row(symbol, candle, interval) for candle in reversed(found)]

    def _trades(self, category: str, query: Query) -> Any:
        symbol, limit = self._symbol(category, query), min(_number(query, "limit", 500), TRADES_MOST)
        return [trade_row(symbol, trade) for trade in counted(list(symbol.recent))[-limit:]]

    def _historical(self, category: str, query: Query) -> Any:
        symbol, limit = self._symbol(category, query), min(_number(query, "limit", 500), TRADES_MOST)
        if category != "spot":
            raise Refused(-2014, "API-key format invalid.")
        if "fromId" not in query:
            return self._trades(category, query)
        first = _number(query, "fromId", 0)
        return [trade_row(symbol, trade) for trade in symbol.recent if trade.number >= first][:limit]

    def _aggregates(self, category: str, query: Query) -> Any:
        symbol, limit = self._symbol(category, query), min(_number(query, "limit", 500), AGGREGATES_MOST)
        own: Aggregates = symbol.own
        found = own.take(symbol)
        if "fromId" in query:
            first = _number(query, "fromId", 0)
            return [aggregate_row(symbol, each) for each in found if each.number >= first][:limit]
        if "startTime" in query or "endTime" in query:
            start, end = _number(query, "startTime", 0), _number(query, "endTime", 1 << 60)
            return [aggregate_row(symbol, each) for each in found if start <= each.event_ms <= end][:limit]
        return [aggregate_row(symbol, each) for each in found[-limit:]]

    def _depth(self, category: str, query: Query) -> Any:
        """The book of the stream of changes, where one is subscribed: the next change continues it."""
        symbol, limit = self._symbol(category, query), min(_number(query, "limit", 100), 5000)
        books = [s for s in symbol.streams["orderbook"] if isinstance(s, Book) and not s.is_partial]
        levels = books[0].levels if books else PriceLevels(limit, symbol.mid, symbol.max_lots, symbol.rng)
        last, size = books[0].last_id if books else symbol.seq, min(limit, levels.depth)

        def level(tick: int) -> list[str]:
            return [symbol.price_text(tick), symbol.size_text(levels.sizes[tick])]

        bids, asks = [level(levels.mid - n) for n in range(size)], [level(levels.mid + 1 + n) for n in range(size)]
        now_ms = self._market.now_ms()
        times = {} if category == "spot" else {"E": now_ms, "T": now_ms}
        return {"lastUpdateId": last, **times, "bids": bids, "asks": asks}


def _number(query: Query, name: str, usual: int) -> int:
    text = query.get(name)
    if not text:
        return usual
    if not text.isdecimal():
        raise Refused(-1100, f"Illegal characters found in parameter '{name}'.")
    return int(text)
