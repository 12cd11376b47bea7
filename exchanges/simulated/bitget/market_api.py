"""Bitget's public REST endpoints: each a function of the query that returns data, or raises Refused.

Event loop thread only. Candles oldest first, trades newest first.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..klines import Klines
from ..market import Market
from ..symbol_market import SymbolMarket
from ..truth import DAY_MS
from .candles import FUTURES, SPOT, Length
from .instruments import OTHER_PRODUCTS
from .rows import candle_row, contract_row, fill_row, history_row, rest_ticker_row, spot_row

Query = dict[str, str]
ROWS, CANDLES_MOST, HISTORY_CANDLES_MOST = 100, 1000, 200
FILLS_MOST = 100  # whatever is asked for
HISTORY_FILLS, HISTORY_FILLS_MOST, HISTORY_DAYS = 500, 1000, 7
WINDOW_DAYS = 90  # of the candles of futures
BOOK_LEVELS, MERGED_LEVELS = 150, 100
FAR_MS = 1 << 52


class Refused(Exception):  # noqa: N818 - it is an answer
    """An answer with a code other than 00000."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class Endpoint(NamedTuple):
    """What a path answers, and how often in a second an address may ask it."""

    answer: Callable[[Query], Any]
    a_second: int = 20


class MarketApi:
    """The endpoints by path."""

    def __init__(self, market: Market) -> None:
        self._market, self._klines = market, Klines()
        self.endpoints: dict[str, Endpoint] = {
            "/api/v2/public/time": Endpoint(lambda _query: {"serverTime": str(market.now_ms())}, 10),
            "/api/v2/spot/public/symbols": Endpoint(lambda query: list(map(spot_row, self._spot(query)))),
            "/api/v2/spot/public/coins": Endpoint(lambda _query: [], 3),
            "/api/v2/margin/currencies": Endpoint(lambda _query: []),
            "/api/v2/spot/market/tickers": Endpoint(lambda query: self._tickers(self._spot(query))),
            "/api/v2/spot/market/orderbook": Endpoint(self._book),
            "/api/v2/spot/market/candles": Endpoint(lambda query: self._candles(query, "spot")),
            "/api/v2/spot/market/history-candles": Endpoint(lambda query: self._history_candles(query, "spot")),
            "/api/v2/spot/market/fills": Endpoint(lambda query: self._fills(query, "spot")),
            "/api/v2/spot/market/fills-history": Endpoint(lambda query: self._history_fills(query, "spot"), 10),
            "/api/v2/mix/market/contracts": Endpoint(lambda query: list(map(contract_row, self._futures(query)))),
            "/api/v2/mix/market/tickers": Endpoint(lambda query: self._tickers(self._futures(query))),
            "/api/v2/mix/market/ticker": Endpoint(lambda query: self._tickers([self._symbol(query, "linear")])),
            "/api/v2/mix/market/merge-depth": Endpoint(self._merged),
            "/api/v2/mix/market/candles": Endpoint(lambda query: self._candles(query, "linear")),
            "/api/v2/mix/market/history-candles": Endpoint(lambda query: self._history_candles(query, "linear")),
            "/api/v2/mix/market/fills": Endpoint(lambda query: self._fills(query, "linear")),
            "/api/v2/mix/market/fills-history": Endpoint(lambda query: self._history_fills(query, "linear"), 10),
        }

    # symbols

    def _symbol(self, query: Query, category: str) -> SymbolMarket:
        """The symbol that is asked for, of the product that is."""
        if category == "linear" and _product(query) != "linear":
            raise Refused("40034", f"Parameter {query.get('symbol')} does not exist")
        name = _needed(query, "symbol")
        if (category, name) in self._market.delisted:
            raise Refused("40309", "The symbol has been removed")
        found = self._market.symbols.get((category, name))
        if found is None:
            raise Refused("40034", f"Parameter {name} does not exist")
        return found

    def _of(self, category: str) -> list[SymbolMarket]:
        return [symbol for (known, _), symbol in self._market.symbols.items() if known == category]

    def _spot(self, query: Query) -> list[SymbolMarket]:
        return [self._symbol(query, "spot")] if query.get("symbol") else self._of("spot")

    def _futures(self, query: Query) -> list[SymbolMarket]:
        category = _product(query)
        return [self._symbol(query, category)] if query.get("symbol") else self._of(category)

    def _tickers(self, symbols: list[SymbolMarket]) -> list[Any]:
        return [rest_ticker_row(symbol, self._market.now_ms()) for symbol in symbols]

    # candles

    def _length(self, query: Query, category: str) -> Length:
        length = (SPOT if category == "spot" else FUTURES).get(_needed(query, "granularity"))
        if length is None:
            raise Refused("400171", "Parameter verification failed granularity")
        return length

    def _rows(self, symbol: SymbolMarket, length: Length, start: int, end: int, limit: int) -> list[Any]:
        """The newest rows that begin in start .. end, oldest first."""
        if end < start:
            return []
        found = length.candles(self._klines, symbol, end, limit, self._market.now_ms())
        columns = 8 if symbol.instrument.category == "spot" else 7
        return [candle_row(candle, columns) for candle in reversed(found) if candle.start >= start]

    def _candles(self, query: Query, category: str) -> list[Any]:
        """The newest ones, the open one included, as far back as the length goes."""
        symbol, length, now_ms = self._symbol(query, category), self._length(query, category), self._market.now_ms()
        start, end = _number(query, "startTime", 0), _number(query, "endTime", FAR_MS)
        if category == "linear" and "startTime" in query and "endTime" in query and end - start > WINDOW_DAYS * DAY_MS:
            raise Refused("00001", "startTime and endTime interval cannot be greater than 90 days")
        start = max(start, now_ms - length.reach_ms())
        return self._rows(symbol, length, start, min(end - 1, now_ms), _limit(query, ROWS, CANDLES_MOST))

    def _history_candles(self, query: Query, category: str) -> list[Any]:
        """Closed ones before an end, however old; a start is ignored."""
        symbol, length, now_ms = self._symbol(query, category), self._length(query, category), self._market.now_ms()
        if category == "spot":
            _needed(query, "endTime")
        end = min(_number(query, "endTime", FAR_MS), length.start(now_ms)) - 1
        return self._rows(symbol, length, 0, end, _limit(query, ROWS, HISTORY_CANDLES_MOST))

    # trades and books

    def _fills(self, query: Query, category: str) -> list[Any]:
        symbol, limit = self._symbol(query, category), _limit(query, FILLS_MOST, FILLS_MOST)
        return [fill_row(symbol.instrument.symbol, trade) for trade in list(symbol.recent)[-limit:][::-1]]

    def _history_fills(self, query: Query, category: str) -> list[Any]:
        """Older than an id, or within a week's times."""
        symbol, limit = self._symbol(query, category), _limit(query, HISTORY_FILLS, HISTORY_FILLS_MOST)
        start, end = _number(query, "startTime", 0), _number(query, "endTime", FAR_MS)
        if "startTime" in query and "endTime" in query and end - start > HISTORY_DAYS * DAY_MS:
            raise Refused("00001", "startTime and endTime interval cannot be greater than 7 days")
        before = _number(query, "idLessThan", 1 << 63)
        name = symbol.instrument.symbol
        found = (
            history_row(name, trade)
            for trade in reversed(symbol.recent)
            if start <= trade.event_ms <= end and int(trade.id) < before
        )
        return [row for row, _ in zip(found, range(limit), strict=False)]

    def _book(self, query: Query) -> dict[str, Any]:
        """The book of spot: numbers are text."""
        book = self._symbol(query, "spot").own.book()
        bids, asks = map(book.rows, book.top(_limit(query, BOOK_LEVELS, BOOK_LEVELS)))
        return {"asks": asks, "bids": bids, "ts": str(self._market.now_ms())}

    def _merged(self, query: Query) -> dict[str, Any]:
        """The book of futures: numbers are numbers, here alone."""
        symbol = self._symbol(query, "linear")
        book = symbol.own.book()
        sides = book.top(_limit(query, MERGED_LEVELS, MERGED_LEVELS))
        bids, asks = ([[float(text) for text in row] for row in book.rows(side)] for side in sides)
        scale = format(symbol.instrument.tick.normalize(), "f")
        more = {"scale": scale, "precision": "scale0", "isMaxPrecision": "NO"}
        return {"asks": asks, "bids": bids, "ts": str(self._market.now_ms()), **more}


def _product(query: Query) -> str:
    """The category of a product of futures; "" for those of which nothing is listed here, demo ones with an S too."""
    name = _needed(query, "productType").upper()
    if name == "USDT-FUTURES":
        return "linear"
    if name.removeprefix("S") not in ("USDT-FUTURES", *OTHER_PRODUCTS):
        raise Refused("400172", "Parameter verification failed productType")
    return ""


def _needed(query: Query, name: str) -> str:
    if not (text := query.get(name)):
        raise Refused("40019", f"Parameter {name} cannot be empty")
    return text


def _number(query: Query, name: str, usual: int) -> int:
    text = query.get(name)
    if not text:
        return usual
    if not text.isdecimal() or not text.isascii() or len(text) > 19:
        raise Refused("40017", f"Parameter verification failed {name}")
    return int(text)


def _limit(query: Query, usual: int, most: int) -> int:
    return max(1, min(_number(query, "limit", usual), most))
