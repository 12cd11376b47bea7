"""OKX's public REST endpoints: each a function of the query that returns rows, or raises Refused.

Event loop thread only. Newest first everywhere; `after` is older and `before` newer, both exclusive (trap T10).
"""

from collections.abc import Callable
from typing import Any

from ..eastern import eastern
from ..klines import Klines
from ..market import Market
from ..symbol_market import SymbolMarket
from .bars import EASTERN, INTERVALS, end_of_bar, start_of_bar
from .rows import PRODUCT, candle_row, instrument_row, match_row, ticker_row

RECENT_BARS = 1440  # that market/candles has
PAGE, CANDLES_MOST, TRADES_MOST, HISTORY_TRADES_MOST, BOOK_MOST = 100, 300, 500, 100, 400
FAR_MS = 1 << 52
PRODUCTS = ("SPOT", "SWAP", "FUTURES", "OPTION", "MARGIN")


class Refused(Exception):  # noqa: N818 - it is an answer
    """An answer with a code other than 0."""

    def __init__(self, code: str, text: str, status: int = 200) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status


class MarketApi:
    """The endpoints by path, each with its requests per two seconds."""

    def __init__(self, market: Market) -> None:
        self._market, self._klines = market, Klines()
        self.endpoints: dict[str, tuple[int, Callable[[dict[str, str]], list[Any]]]] = {
            "/api/v5/market/candles": (40, lambda query: self._candles(query, is_recent=True)),
            "/api/v5/market/history-candles": (20, lambda query: self._candles(query, is_recent=False)),
            "/api/v5/market/trades": (100, self._trades),
            "/api/v5/market/history-trades": (20, self._history_trades),
            "/api/v5/market/tickers": (20, self._tickers),
            "/api/v5/market/ticker": (20, lambda query: [ticker_row(self._symbol(query), self._now_ms())]),
            "/api/v5/market/books": (40, self._books),
            "/api/v5/public/instruments": (20, self._instruments),
            "/api/v5/public/time": (10, lambda _query: [{"ts": str(self._now_ms())}]),
            "/api/v5/system/status": (1, lambda _query: []),
        }

    def _now_ms(self) -> int:
        return self._market.now_ms()

    def _symbol(self, query: dict[str, str]) -> SymbolMarket:
        name = query.get("instId")
        if not name:
            raise Refused("50014", "Parameter instId can not be empty.", 400)
        for (_, symbol), found in self._market.symbols.items():
            if symbol == name:
                return found
        raise Refused("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")

    def _of_product(self, query: dict[str, str]) -> list[SymbolMarket]:
        product = query.get("instType")
        if not product:
            raise Refused("50014", "Parameter instType can not be empty.", 400)
        if product not in PRODUCTS:
            raise Refused("51000", "Parameter instType error")
        return [symbol for (category, _), symbol in self._market.symbols.items() if PRODUCT[category] == product]

    def _instruments(self, query: dict[str, str]) -> list[Any]:
        rows = map(instrument_row, self._of_product(query))
        return [row for row in rows if query.get("instId") in (None, "", row["instId"])]

    def _tickers(self, query: dict[str, str]) -> list[Any]:
        return [ticker_row(symbol, self._now_ms()) for symbol in self._of_product(query)]

    def _candles(self, query: dict[str, str], *, is_recent: bool) -> list[Any]:
        symbol, bar = self._symbol(query), query.get("bar") or "1m"
        is_known = bar in INTERVALS or bar in EASTERN
        if not is_known or (bar == "1s" and (is_recent or symbol.truth.seconds is None)):
            raise Refused("51000", "Parameter bar error")
        now_ms, limit = self._now_ms(), _number(query, "limit", PAGE, CANDLES_MOST)
        end = _number(query, "after", FAR_MS) - 1
        start = _number(query, "before", -1) + 1
        opened = start_of_bar(bar, now_ms)
        if is_recent:
            length = end_of_bar(bar, opened) - opened
            start = max(start, opened - (RECENT_BARS - 1) * length)
        else:
            end = min(end, opened - 1)  # closed ones alone
        if end < start:
            return []
        if bar in EASTERN:
            bars = eastern(self._klines, symbol, EASTERN[bar], min(end, now_ms), limit, now_ms)
            found = [candle for candle in bars if start <= candle.start]
        else:
            found = self._klines.candles(symbol, INTERVALS[bar], start, min(end, now_ms), limit, now_ms)
        return [candle_row(symbol, candle, end_of_bar(bar, candle.start) <= now_ms) for candle in found]

    def _trades(self, query: dict[str, str]) -> list[Any]:
        symbol, limit = self._symbol(query), _number(query, "limit", PAGE, TRADES_MOST)
        return [match_row(symbol.instrument.symbol, trade) for trade in list(symbol.recent)[-limit:][::-1]]

    def _history_trades(self, query: dict[str, str]) -> list[Any]:
        symbol, limit = self._symbol(query), _number(query, "limit", PAGE, HISTORY_TRADES_MOST)
        is_by_time = query.get("type") == "2"
        if is_by_time and query.get("before"):
            raise Refused("50039", "`before` is not supported with type 2")
        after, before = _number(query, "after", FAR_MS << 8), _number(query, "before", -1)
        found = []
        for trade in reversed(symbol.recent):
            if before < (trade.event_ms if is_by_time else trade.number) < after:
                found.append(match_row(symbol.instrument.symbol, trade))
            if len(found) == limit:
                break
        return found

    def _books(self, query: dict[str, str]) -> list[Any]:
        symbol, size = self._symbol(query), _number(query, "sz", 1, BOOK_MOST)
        book = symbol.own.book()
        bids, asks = map(book.rows, book.top(size))
        return [{"asks": asks, "bids": bids, "ts": str(self._now_ms()), "seqId": book.last_id}]


def _number(query: dict[str, str], name: str, usual: int, most: int | None = None) -> int:
    text = query.get(name)
    if not text:
        return usual
    if not text.isdecimal():
        raise Refused("51000", f"Parameter {name} error")
    return int(text) if most is None else max(1, min(int(text), most))
