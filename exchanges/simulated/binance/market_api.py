"""Binance's public REST endpoints: each a function of the product and the request; raises Refused.

Event loop thread only. Oldest first everywhere; both ends of a time range are inclusive.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ..klines import Klines
from ..market import Market
from ..rest import Request
from ..symbol_market import SymbolMarket
from ..truth import DAY_MS, end_of
from .listing import row_of
from .names import INTERVALS
from .rows import Day, aggregate_row, best_of, candle_row, trade_row

PATHS: Mapping[str, str] = MappingProxyType({"/api/v3/": "spot", "/fapi/v1/": "linear", "/dapi/v1/": "inverse"})
LIMITS: Mapping[str, int] = MappingProxyType({"spot": 6000, "linear": 2400, "inverse": 2400})
PAGE, MOST = 500, 1000
SPAN_MOST_MS = 200 * DAY_MS  # of klines of COIN-M
HOUR_MS = 3_600_000
AGGREGATES_MS: Mapping[str, int] = MappingProxyType({"linear": 48 * HOUR_MS, "inverse": 24 * HOUR_MS})
FUTURES_DEPTHS = (5, 10, 20, 50, 100, 500, 1000)
SPOT_DEPTH_MOST = 5000


class Refused(Exception):  # noqa: N818 - it is an answer
    """An answer with a code of an error."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status


Weigh = Callable[[str, Mapping[str, str]], int]


class Endpoint(NamedTuple):
    """What answers a path, and what a request weighs."""

    work: Callable[[str, Request], Any]
    weight: Weigh


class MarketApi:
    """The endpoints by the last part of their path."""

    def __init__(self, market: Market) -> None:
        self._market, self._klines = market, Klines()
        self.endpoints: dict[str, Endpoint] = {
            "ping": Endpoint(lambda _category, _request: {}, _one),
            "time": Endpoint(lambda _category, _request: {"serverTime": self._now_ms()}, _one),
            "exchangeInfo": Endpoint(self._info, lambda category, _: 20 if category == "spot" else 1),
            "klines": Endpoint(self._candles, _candles_weight),
            "trades": Endpoint(self._trades, lambda category, _: 25 if category == "spot" else 5),
            "historicalTrades": Endpoint(self._history, lambda category, _: 25 if category == "spot" else 200),
            "aggTrades": Endpoint(self._aggregates, lambda category, _: 4 if category == "spot" else 20),
            "depth": Endpoint(self._depth, _depth_weight),
            "ticker/24hr": Endpoint(self._days, _tickers_weight),
            "ticker/price": Endpoint(self._prices, lambda _, query: 1 if "symbol" in query else 2),
            "ticker/bookTicker": Endpoint(self._best, lambda _, query: 2 if "symbol" in query else 5),
        }

    def _now_ms(self) -> int:
        return self._market.now_ms()

    def _symbol(self, category: str, query: Mapping[str, str]) -> SymbolMarket:
        name = query.get("symbol")
        if not name:
            raise Refused(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if name != name.upper():
            raise Refused(-1100, "Illegal characters found in parameter 'symbol'; legal range is '^[\\w\\-._]{1,50}$'.")
        if (found := self._market.symbols.get((category, name))) is None:
            raise Refused(-1121, "Invalid symbol.")
        return found

    def _of(self, category: str) -> list[SymbolMarket]:
        return [symbol for (known, _), symbol in self._market.symbols.items() if known == category]

    def _chosen(self, category: str, query: Mapping[str, str]) -> list[SymbolMarket]:
        """One, several (spot), or all."""
        if "symbol" in query:
            return [self._symbol(category, query)]
        if "symbols" in query and category == "spot":
            return [self._symbol(category, {"symbol": name}) for name in _names(query["symbols"])]
        return self._of(category)

    def _info(self, category: str, request: Request) -> Any:
        symbols, gone = self._chosen(category, request.query), self._market.delisted
        rows = [row_of(symbol, is_listed=True) for symbol in symbols]
        rows += [row_of(symbol, is_listed=False) for (known, _), symbol in gone.items() if known == category]
        if category == "spot" and (status := request.query.get("symbolStatus")):
            rows = [row for row in rows if row["status"] == status]
        limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": LIMITS[category]}
        head = {"timezone": "UTC", "serverTime": self._now_ms(), "rateLimits": [limit], "exchangeFilters": []}
        return head | {"symbols": rows}

    def _candles(self, category: str, request: Request) -> Any:
        query, now_ms = request.query, self._now_ms()
        symbol, name = self._symbol(category, query), query.get("interval")
        if not name:
            raise Refused(-1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.")
        if name not in INTERVALS or (name == "1s" and (category != "spot" or symbol.truth.seconds is None)):
            raise Refused(-1120, "Invalid interval.")
        limit = _number(query, "limit", PAGE, MOST if category == "spot" else 1500)
        start, end = _time(query, "startTime"), _time(query, "endTime")
        if start is not None and end is not None and end < start:
            return []
        if category == "inverse" and start is not None and (end or now_ms) - start > SPAN_MOST_MS:
            raise Refused(-1127, "More than 4800 hours between startTime and endTime.")
        if name == "1s" and symbol.truth.seconds is not None:
            start = max(start or 0, symbol.truth.seconds.candles[0].start)
            limit_from = None if "startTime" in query else limit
            found = self._klines.candles(symbol, INTERVALS[name], start, None, 1 << 30, now_ms)[::-1]
            found = [candle for candle in found if end is None or candle.start <= end]
            found = found[-limit_from:] if limit_from else found[:limit]
        elif start is not None:  # the oldest of a range
            found = self._klines.candles(symbol, INTERVALS[name], start, None, limit, now_ms)[::-1]
            found = [candle for candle in found if end is None or candle.start <= end]
        else:
            found = self._klines.candles(symbol, INTERVALS[name], None, end, limit, now_ms)[::-1]
        return [candle_row(symbol, candle, end_of(candle.start, INTERVALS[name])) for candle in found]

    def _trades(self, category: str, request: Request) -> Any:
        """The newest; futures leave out what is no trade of the book."""
        symbol, limit = self._symbol(category, request.query), _number(request.query, "limit", PAGE, MOST)
        shown = [trade for trade in symbol.recent if trade.is_counted][-limit:]
        return [trade_row(symbol, trade) for trade in shown]

    def _history(self, category: str, request: Request) -> Any:
        """From an id on, ascending; the newest without one. Futures want a key, any will do."""
        symbol, limit = self._symbol(category, request.query), _number(request.query, "limit", PAGE, MOST)
        if category != "spot" and not request.headers.get("x-mbx-apikey"):
            raise Refused(-2014, "API-key format invalid.", 401)
        if not request.query.get("fromId"):
            return self._trades(category, request)
        from_id = _number(request.query, "fromId", 0)
        found = [trade for trade in symbol.recent if trade.is_counted and trade.number >= from_id][:limit]
        return [trade_row(symbol, trade) for trade in found]

    def _aggregates(self, category: str, request: Request) -> Any:
        """From an aggregate's id or a time on, ascending; the newest without."""
        query = request.query
        symbol, limit = self._symbol(category, query), _number(query, "limit", PAGE, MOST)
        start, end = _time(query, "startTime"), _time(query, "endTime")
        if query.get("fromId") and (start is not None or end is not None):
            raise Refused(-1128, "Combination of optional parameters invalid.")
        if start is not None and end is not None and end - start > HOUR_MS and category != "spot":
            raise Refused(-1127, "More than 1 hours between startTime and endTime.")
        oldest_ms = self._now_ms() - AGGREGATES_MS[category] if category in AGGREGATES_MS else 0
        symbol.own.aggregates.update()
        low, high = max(start or 0, oldest_ms), self._now_ms() if end is None else end
        found = [each for each in symbol.own.aggregates.kept if low <= each.event_ms <= high]
        if query.get("fromId"):
            from_id = _number(query, "fromId", 0)
            found = [each for each in found if each.number >= from_id][:limit]
        else:
            found = found[:limit] if start is not None else found[-limit:]
        return [aggregate_row(symbol, each) for each in found]

    def _depth(self, category: str, request: Request) -> Any:
        """The book that the streams show, between two of their messages half of the time."""
        symbol, now_ms = self._symbol(category, request.query), self._now_ms()
        limit = _number(request.query, "limit", 100 if category == "spot" else PAGE, SPOT_DEPTH_MOST)
        if category != "spot" and limit not in FUTURES_DEPTHS:
            raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
        book = symbol.own.book()
        if symbol.draw() < 0.5:
            book.advance()
        bids, asks = book.top(min(limit, book.levels.depth))
        price, size = symbol.price_text, symbol.size_text
        head: dict[str, Any] = {"lastUpdateId": book.last_id}
        if category != "spot":
            head |= {"E": now_ms, "T": now_ms - 1}
        if category == "inverse":
            head |= {"symbol": symbol.instrument.symbol, "pair": symbol.instrument.base + symbol.instrument.quote}
        return head | {
            "bids": [[price(tick), size(lots)] for tick, lots in bids.items()],
            "asks": [[price(tick), size(lots)] for tick, lots in asks.items()],
        }

    def _days(self, category: str, request: Request) -> Any:
        is_short = request.query.get("type") == "MINI"
        return self._each(category, request, lambda symbol: self._day(category, symbol, is_short=is_short))

    def _day(self, category: str, symbol: SymbolMarket, *, is_short: bool) -> dict[str, Any]:
        day: dict[str, Any] = Day(symbol, self._now_ms())
        if is_short:
            left_out = ("priceChange", "priceChangePercent", "weightedAvgPrice", "lastQty")
            day = {name: value for name, value in day.items() if name not in left_out}
        elif category == "spot":
            day = day | {"prevClosePrice": day["openPrice"]} | best_of(symbol)
        if category == "inverse":  # contracts and coins (trap T9)
            day["baseVolume"] = day.pop("quoteVolume")
            return {"symbol": symbol.instrument.symbol, "pair": _pair(symbol)} | day
        return {"symbol": symbol.instrument.symbol} | day

    def _prices(self, category: str, request: Request) -> Any:
        return self._each(category, request, lambda symbol: _named(symbol) | {"price": symbol.last_price()})

    def _best(self, category: str, request: Request) -> Any:
        now = {} if category == "spot" else {"time": self._now_ms()}
        return self._each(category, request, lambda symbol: _named(symbol) | best_of(symbol) | now)

    def _each(self, category: str, request: Request, row: Callable[[SymbolMarket], dict[str, Any]]) -> Any:
        """A row for one symbol, a list for several; COIN-M always has a list."""
        rows = [row(symbol) for symbol in self._chosen(category, request.query)]
        return rows[0] if "symbol" in request.query and category != "inverse" else rows


def _one(_category: str, _query: Mapping[str, str]) -> int:
    return 1


def _candles_weight(category: str, query: Mapping[str, str]) -> int:
    limit = _asked(query, PAGE)
    if category == "spot":
        return 2
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


def _depth_weight(category: str, query: Mapping[str, str]) -> int:
    if category == "spot":
        limit = _asked(query, 100)
        return 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1000 else 250
    limit = _asked(query, PAGE)
    return 2 if limit <= 50 else 5 if limit <= 100 else 10 if limit <= 500 else 20


def _tickers_weight(category: str, query: Mapping[str, str]) -> int:
    if category != "spot":
        return 1 if "symbol" in query else 40
    count = 1 if "symbol" in query else len(_names(query["symbols"])) if "symbols" in query else 1000
    return 2 if count <= 20 else 40 if count <= 100 else 80


def _asked(query: Mapping[str, str], usual: int) -> int:
    text = query.get("limit", "")
    return int(text) if text.isdecimal() else usual


def _names(text: str) -> list[str]:
    return [name.strip('" ') for name in text.strip("[] ").split(",") if name.strip('" ')]


def _pair(symbol: SymbolMarket) -> str:
    return symbol.instrument.base + symbol.instrument.quote


def _named(symbol: SymbolMarket) -> dict[str, Any]:
    name = {"symbol": symbol.instrument.symbol}
    return name | {"ps": _pair(symbol)} if symbol.instrument.category == "inverse" else name


def _time(query: Mapping[str, str], name: str) -> int | None:
    return _number(query, name, 0) if query.get(name) else None


def _number(query: Mapping[str, str], name: str, usual: int, most: int | None = None) -> int:
    text = query.get(name)
    if not text:
        return usual
    if not text.isdecimal():
        raise Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    number = int(text)
    if most is not None and number < 1:
        raise Refused(-1130, f"Data sent for parameter '{name}' is not valid.")
    return number if most is None else min(number, most)
