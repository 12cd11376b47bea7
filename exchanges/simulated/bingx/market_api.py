"""BingX's public REST endpoints: each a function of the query that returns JSON text, or raises Refused.

Event loop thread only. Newest first everywhere; startTime and endTime are inclusive.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ..klines import Klines
from ..market import Market
from ..symbol_market import SymbolMarket
from ..truth import end_of
from .rows import (
    OFF,
    OFF_PAIR,
    PAUSED,
    PAUSED_CONTRACT,
    contract_row,
    pair_row,
    spot_candle_row,
    spot_trade_row,
    swap_candle_row,
    swap_trade_row,
    ticker_row,
)
from .streams import BOOK_LEVELS, SWAP_INTERVALS

CANDLES, SWAP_CANDLES_MOST, SPOT_CANDLES_MOST, OLD_CANDLES_MOST = 500, 1440, 1000, 500
TRADES, SWAP_TRADES_MOST, SPOT_TRADES_MOST = {"linear": 500, "spot": 100}, 1000, 500
BOOK_USUAL = 20
MISSING, INVALID, NO_SYMBOL, IS_PAUSED = 100400, 109400, 109425, 109415


class Refused(Exception):  # noqa: N818 - it is an answer
    """An answer with a code other than 0."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class MarketApi:
    """The endpoints by path."""

    def __init__(self, market: Market) -> None:
        self._market, self._klines = market, Klines()
        self.endpoints: dict[str, Callable[[dict[str, str]], str]] = {
            "/openApi/swap/v3/quote/klines": self._swap_candles,
            "/openApi/swap/v2/quote/trades": self._swap_trades,
            "/openApi/swap/v2/quote/contracts": self._contracts,
            "/openApi/swap/v2/quote/ticker": lambda query: self._tickers("linear", query),
            "/openApi/swap/v2/quote/depth": lambda query: self._book("linear", query),
            "/openApi/swap/v2/server/time": self._time,
            "/openApi/spot/v1/server/time": self._time,
            "/openApi/spot/v2/market/kline": lambda query: self._spot_candles(query, SPOT_CANDLES_MOST),
            "/openApi/spot/v1/market/kline": lambda query: self._spot_candles(query, SPOT_CANDLES_MOST),
            "/openApi/market/his/v1/kline": lambda query: self._spot_candles(query, OLD_CANDLES_MOST),
            "/openApi/spot/v1/market/trades": self._spot_trades,
            "/openApi/spot/v1/common/symbols": self._pairs,
            "/openApi/spot/v1/ticker/24hr": self._spot_tickers,
            "/openApi/spot/v1/market/depth": lambda query: self._book("spot", query),
            "/openApi/cswap/v1/market/contracts": lambda _query: self._spot("[]"),  # COIN-M, of which none are listed
        }

    def _now_ms(self) -> int:
        return self._market.now_ms()

    def _swap(self, data: Any) -> str:
        return json.dumps({"code": 0, "msg": "", "data": data}, separators=(",", ":"))

    def _spot(self, data: str) -> str:
        return f'{{"code":0,"timestamp":{self._now_ms()},"data":{data}}}'

    def _symbol(self, category: str, query: dict[str, str]) -> SymbolMarket:
        name = query.get("symbol")
        if not name:
            raise Refused(MISSING if category == "spot" else INVALID, "symbol: This field is required.")
        if (symbol := self._market.symbols.get((category, name))) is not None:
            return symbol
        if (category, name) == ("linear", PAUSED_CONTRACT):
            raise Refused(IS_PAUSED, f"symbol: {name} is pause currently")
        if category == "spot":
            raise Refused(MISSING, f"symbol: {name} does not exist")
        raise Refused(NO_SYMBOL, f"{name} is not exist, please verify it in api: /openApi/swap/v2/quote/contracts")

    def _of(self, category: str) -> list[SymbolMarket]:
        return [symbol for (known, _), symbol in self._market.symbols.items() if known == category]

    def _time(self, _query: dict[str, str]) -> str:
        return self._swap({"serverTime": self._now_ms()})

    def _swap_candles(self, query: dict[str, str]) -> str:
        symbol = self._symbol("linear", query)
        candles = self._candles(symbol, query, SWAP_CANDLES_MOST)
        return self._swap([swap_candle_row(candle) for candle, _ in candles])

    def _spot_candles(self, query: dict[str, str], most: int) -> str:
        candles = self._candles(self._symbol("spot", query), query, most)
        return self._spot(f"[{','.join(spot_candle_row(candle, end_ms) for candle, end_ms in candles)}]")

    def _candles(self, symbol: SymbolMarket, query: dict[str, str], most: int) -> list[tuple[Any, int]]:
        """Candles and their ends, the open one included."""
        name = query.get("interval", "")
        if name not in SWAP_INTERVALS:
            raise Refused(INVALID, "interval: This field must be a known interval.")
        interval, now_ms, limit = SWAP_INTERVALS[name], self._now_ms(), _number(query, "limit", CANDLES, most)
        start = _number(query, "startTime", 0) or None
        end = None if start and not query.get("endTime") else min(_number(query, "endTime", now_ms), now_ms)
        found = self._klines.candles(symbol, interval, start, end, limit, now_ms)
        return [(candle, end_of(candle.start, interval)) for candle in found]

    def _swap_trades(self, query: dict[str, str]) -> str:
        symbol = self._symbol("linear", query)
        limit = _number(query, "limit", TRADES["linear"], SWAP_TRADES_MOST)
        return self._swap([swap_trade_row(trade) for trade in list(symbol.recent)[-limit:][::-1]])

    def _spot_trades(self, query: dict[str, str]) -> str:
        symbol = self._symbol("spot", query)
        limit = _number(query, "limit", TRADES["spot"], SPOT_TRADES_MOST)
        return self._spot(
            f"[{','.join(spot_trade_row(trade) for trade in list(symbol.recent)[-(limit or 1) :][::-1])}]"
        )

    def _contracts(self, query: dict[str, str]) -> str:
        each = [symbol.instrument for symbol in self._of("linear")]
        rows = [contract_row(i.symbol, i.base, i.quote, i.tick, i.lot, 1) for i in each]
        base, quote = PAUSED_CONTRACT.split("-")
        rows.append(contract_row(PAUSED_CONTRACT, base, quote, Decimal("0.001"), Decimal("0.01"), PAUSED))
        return self._swap([row for row in rows if query.get("symbol") in (None, "", row["symbol"])])

    def _pairs(self, query: dict[str, str]) -> str:
        each = [symbol.instrument for symbol in self._of("spot")]
        rows = [pair_row(i.symbol, i.tick, i.lot, 1) for i in each]
        rows.append(pair_row(OFF_PAIR, Decimal("0.000001"), Decimal(1), OFF))
        return self._swap({"symbols": [row for row in rows if query.get("symbol") in (None, "", row["symbol"])]})

    def _tickers(self, category: str, query: dict[str, str]) -> str:
        """All without a symbol; of swaps one ticker alone is no list."""
        now_ms = self._now_ms()
        if not query.get("symbol"):
            return self._swap([ticker_row(symbol, now_ms) for symbol in self._of(category)])
        row = ticker_row(self._symbol(category, query), now_ms)
        return self._swap([row] if category == "spot" else row)

    def _spot_tickers(self, query: dict[str, str]) -> str:
        if not query.get("timestamp"):
            raise Refused(MISSING, "timestamp: This field is required.")
        return self._tickers("spot", query)

    def _book(self, category: str, query: dict[str, str]) -> str:
        symbol = self._symbol(category, query)
        book, limit = symbol.own.book(), _number(query, "limit", BOOK_USUAL, BOOK_LEVELS)
        sides = book.sides(*book.top(limit))
        if category == "spot":
            return self._spot(f'{{{sides},"ts":{self._now_ms()},"lastUpdateId":{book.last_id}}}')
        return f'{{"code":0,"msg":"","data":{{"T":{self._now_ms()},{sides}}}}}'


def _number(query: dict[str, str], name: str, usual: int, most: int | None = None) -> int:
    text = query.get(name)
    if not text:
        return usual
    if not text.isdecimal():
        raise Refused(INVALID, f"{name}: This field must be a whole number.")
    return int(text) if most is None else max(1, min(int(text), most))
