"""KuCoin's public REST endpoints: each a function of the query that returns `data`, or raises Refused.

Event loop thread only.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..klines import Klines
from ..market import Market
from ..symbol_market import SymbolMarket
from ..truth import MINUTE_MS, Candle, Interval
from .names import FUTURES, GRANULARITIES, INTERVALS
from .rows import (
    all_tickers_row,
    contract_row,
    execution_row,
    history_row,
    kline_text,
    spot_candle,
    symbol_row,
    ticker_row,
    ticker_v1_row,
)

SPOT_PAGE, FUTURES_PAGE, TRADES = 1500, 200, 100
NO_SYMBOL = ("200003", "Invalid symbol.")
NO_CONTRACT = ("404000", "The contract information you requested does not exist.")
NO_KEY = ("400001", "Please check the header of your request for KC-API-KEY, KC-API-SIGN, KC-API-TIMESTAMP")


class Refused(Exception):  # noqa: N818 - it is an answer
    """An answer with a code other than 200000; most have HTTP 200."""

    def __init__(self, code: str, text: str, status: int = 200) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status


class Text(str):
    """`data` as JSON text: numbers that floats would change."""

    __slots__ = ()


class Endpoint(NamedTuple):
    """What a request weighs, and what answers it."""

    weight: int
    work: Callable[[dict[str, str]], Any]


class MarketApi:
    """The endpoints of spot and of futures, by path."""

    def __init__(self, market: Market) -> None:
        self._market, self._klines = market, Klines()
        self.endpoints = {
            "/api/v1/timestamp": Endpoint(3, lambda _query: self._now_ms()),
            "/api/v1/market/candles": Endpoint(3, self._candles),
            "/api/v1/market/histories": Endpoint(3, self._histories),
            "/api/v1/market/allTickers": Endpoint(15, self._all_tickers),
            "/api/v1/market/stats": Endpoint(15, lambda query: all_tickers_row(self._pair(query)) | self._time()),
            "/api/v1/market/orderbook/level1": Endpoint(2, lambda q: ticker_row(self._pair(q), self._now_ms())),
            "/api/v1/market/orderbook/level2_20": Endpoint(2, lambda query: self._spot_book(query, 20)),
            "/api/v1/market/orderbook/level2_100": Endpoint(4, lambda query: self._spot_book(query, 100)),
            "/api/v3/market/orderbook/level2": Endpoint(3, _without_key),
            "/api/v2/symbols": Endpoint(4, lambda _query: [symbol_row(each) for each in self._all("spot")]),
            "/api/v3/currencies": Endpoint(3, self._currencies),
            "/api/v1/contracts/active": Endpoint(
                3, lambda _query: [contract_row(each) for each in self._all(*FUTURES)]
            ),
            "/api/v1/kline/query": Endpoint(3, self._kline_query),
            "/api/v1/trade/history": Endpoint(5, self._trade_history),
            "/api/v1/ticker": Endpoint(2, lambda query: ticker_v1_row(self._contract(query), self._now_ms())),
            "/api/v1/level2/snapshot": Endpoint(3, lambda query: self._futures_book(query, 1000)),
            "/api/v1/level2/depth20": Endpoint(5, lambda query: self._futures_book(query, 20)),
            "/api/v1/level2/depth100": Endpoint(10, lambda query: self._futures_book(query, 100)),
        }

    def _now_ms(self) -> int:
        return self._market.now_ms()

    def _time(self) -> dict[str, int]:
        return {"time": self._now_ms()}

    def _all(self, *categories: str) -> list[SymbolMarket]:
        return [symbol for (category, _), symbol in self._market.symbols.items() if category in categories]

    def _pair(self, query: dict[str, str]) -> SymbolMarket:
        return self._symbol(query, ("spot",), NO_SYMBOL)

    def _contract(self, query: dict[str, str]) -> SymbolMarket:
        return self._symbol(query, FUTURES, NO_CONTRACT)

    def _symbol(self, query: dict[str, str], categories: Sequence[str], refusal: tuple[str, str]) -> SymbolMarket:
        for category in categories:
            if (symbol := self._market.symbols.get((category, query.get("symbol", "")))) is not None:
                return symbol
        raise Refused(*refusal)

    # candles

    def _candles(self, query: dict[str, str]) -> list[list[str]]:
        """Spot: newest first, both ends in, quiet ones once something traded after them."""
        symbol, interval = self._pair(query), INTERVALS.get(query.get("type", ""))
        if interval is None:
            raise Refused("400100", "Incorrect candlestick type.")
        now_ms = self._now_ms()
        start, end = _number(query, "startAt") * 1000, _number(query, "endAt") * 1000
        found = self._klines.candles(
            symbol, interval, start, min(end or now_ms, now_ms, self._traded_ms(symbol)), SPOT_PAGE, now_ms
        )
        return [spot_candle(symbol, candle) for candle in found]

    def _traded_ms(self, symbol: SymbolMarket) -> int:
        """The minute of the last trade: what is quiet since then is not written yet."""
        symbol.truth.fold()
        traded = (candle.start for candle in reversed(symbol.truth.minutes.candles) if candle.trade_count)
        return next(traded, 1 << 62)

    def _kline_query(self, query: dict[str, str]) -> Text:
        """Futures: the oldest of a window, both ends in, none that is quiet."""
        symbol, minutes = self._contract(query), _number(query, "granularity")
        if minutes not in GRANULARITIES:
            raise Refused("400100", "granularity is invalid")
        now_ms, step_ms = self._now_ms(), minutes * MINUTE_MS
        end = min(_number(query, "to") or now_ms, now_ms)
        start = _number(query, "from") or max(0, end - FUTURES_PAGE * step_ms)
        found: list[Candle] = []
        while len(found) < FUTURES_PAGE and (page := self._forward(symbol, step_ms, start, now_ms)):
            found += [candle for candle in page if candle.trade_count and candle.start <= end]
            start = page[-1].start + 1
            if start > end or len(page) < FUTURES_PAGE:
                break
        return Text(f"[{','.join(kline_text(symbol, candle) for candle in found[:FUTURES_PAGE])}]")

    def _forward(self, symbol: SymbolMarket, interval: Interval, start: int, now_ms: int) -> list[Candle]:
        return self._klines.candles(symbol, interval, start, None, FUTURES_PAGE, now_ms)[::-1]

    # trades, tickers, books, listing

    def _histories(self, query: dict[str, str]) -> list[dict[str, Any]]:
        """Oldest first."""
        return [history_row(trade) for trade in list(self._pair(query).recent)[-TRADES:]]

    def _trade_history(self, query: dict[str, str]) -> list[dict[str, Any]]:
        """Newest first."""
        return [execution_row(trade) for trade in list(self._contract(query).recent)[-TRADES:][::-1]]

    def _all_tickers(self, _query: dict[str, str]) -> dict[str, Any]:
        return self._time() | {"ticker": [all_tickers_row(symbol) for symbol in self._all("spot")]}

    def _spot_book(self, query: dict[str, str], levels: int) -> dict[str, Any]:
        book = self._pair(query).own.book()
        bids, asks = map(book.rows, book.top(levels))
        return self._time() | {"sequence": str(book.last_id), "bids": bids, "asks": asks}

    def _futures_book(self, query: dict[str, str], levels: int) -> dict[str, Any]:
        symbol = self._contract(query)
        book = symbol.own.book()
        bids, asks = ([[float(price), size] for price, size in book.rows(side)] for side in book.top(levels))
        name, ts = symbol.instrument.symbol, self._now_ms() * 1_000_000
        return {"sequence": book.last_id, "symbol": name, "bids": bids, "asks": asks, "ts": ts}

    def _currencies(self, _query: dict[str, str]) -> list[dict[str, Any]]:
        coins = dict.fromkeys(
            coin for each in self._all("spot") for coin in (each.instrument.base, each.instrument.quote)
        )
        usual = {"precision": 8, "confirms": None, "contractAddress": None}
        return [
            {"currency": coin, "name": coin, "fullName": coin, **usual, "isMarginEnabled": True, "isDebitEnabled": True}
            | {"chains": []}
            for coin in coins
        ]


def _without_key(_query: dict[str, str]) -> Any:
    raise Refused(*NO_KEY, status=401)


def _number(query: dict[str, str], name: str) -> int:
    """A number of a query, 0 where it is not there."""
    text = query.get(name) or "0"
    if not text.isdecimal():
        raise Refused("400100", f"{name} is invalid")
    return int(text)
