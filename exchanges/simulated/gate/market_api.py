"""Gate's public REST endpoints: each a function of the category and the request that returns a body; raises Refused.

Event loop thread only. Candles are ascending, `from` and `to` inclusive in seconds; trades are newest first.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..klines import Klines
from ..market import Market
from ..rest import Request
from ..symbol_market import SymbolMarket
from ..trades import Trade
from ..truth import DAY_MS, MINUTE_MS, Candle
from .bars import INTERVALS, WEEKS, end_of_bar, is_known, length_of, start_of_bar, weeks
from .control import DECIMAL_HEADER
from .rows import (
    contract_row,
    futures_candle,
    futures_past,
    futures_ticker,
    pair_row,
    spot_candle,
    spot_past,
    spot_ticker,
)

PAGE = 100
SPOT_CANDLES, FUTURES_CANDLES, OLDEST_CANDLE = 1000, 2000, 10_000
TRADES_MOST, PAGES_MOST = 1000, 100_000
BOOK_MOST = {"spot": 1000, "linear": 300}
BAD = "INVALID_PARAM_VALUE"
TOO_BROAD = "Candlestick range too broad. Maximum 1000 data points are allowed per request"
TOO_OLD = "Candlestick too long ago. Maximum 10000 points ago are allowed"
EMPTY = frozenset(  # of what there is nothing here
    {
        "spot/currencies",
        "margin/currency_pairs",
        "futures/btc/contracts",
        "futures/btc/tickers",
        "delivery/usdt/contracts",
        "options/underlyings",
    }
)
ROOTS = {"spot/": "spot", "futures/usdt/": "linear"}


class Refused(Exception):  # noqa: N818 - it is an answer
    """An answer with a label; the message may be absent."""

    def __init__(self, label: str, text: str = "", status: int = 400) -> None:
        super().__init__(text)
        self.label, self.text, self.status = label, text, status


Endpoint = Callable[[str, Request], Any]


class MarketApi:
    """The endpoints by market and name. `has_empty`: whether spot has candles without trades, which is not known."""

    def __init__(self, market: Market) -> None:
        self._market, self._klines = market, Klines()
        self.has_empty = True
        self._endpoints: Mapping[tuple[str, str], Endpoint] = {
            ("spot", "time"): lambda _category, _request: {"server_time": self._now_ms()},
            ("spot", "currency_pairs"): self._pairs,
            ("linear", "contracts"): self._contracts,
            **{
                (category, name): endpoint
                for category in ROOTS.values()
                for name, endpoint in (
                    ("candlesticks", self._candles),
                    ("trades", self._trades),
                    ("tickers", self._tickers),
                    ("order_book", self._book),
                )
            },
        }

    def endpoint(self, path: str) -> Callable[[Request], Any] | None:
        """What answers a path, without /api/v4/; None where there is nothing."""
        if path in EMPTY:
            return lambda _request: []
        root = next((root for root in ROOTS if path.startswith(root)), None)
        if root is None:
            return None
        category, (name, _, of) = ROOTS[root], path.removeprefix(root).partition("/")
        found = self._endpoints.get((category, name))
        if found is None or (of and name not in ("currency_pairs", "contracts")):
            return None
        if of:
            return lambda request: self._one(category, of, request)
        return lambda request: found(category, request)

    def _now_ms(self) -> int:
        return self._market.now_ms()

    def _of(self, category: str, *, is_listed: bool = True) -> list[SymbolMarket]:
        symbols = self._market.symbols if is_listed else self._market.delisted
        return [symbol for (known, _), symbol in symbols.items() if known == category]

    def _named(self, category: str, name: str) -> SymbolMarket:
        if (found := self._market.symbols.get((category, name))) is None:
            if category == "spot":
                raise Refused("INVALID_CURRENCY_PAIR", f"Invalid currency pair {name}")
            raise Refused("CONTRACT_NOT_FOUND")
        return found

    def _symbol(self, category: str, query: Mapping[str, str]) -> SymbolMarket:
        key = "currency_pair" if category == "spot" else "contract"
        if not (name := query.get(key)):
            raise Refused("MISSING_REQUIRED_PARAM", f"Missing required parameter: {key}")
        return self._named(category, name)

    def _pairs(self, category: str, _request: Request) -> Any:
        """Those that were delisted are untradable."""
        rows = [pair_row(symbol, is_listed=True) for symbol in self._of(category)]
        return rows + [pair_row(symbol, is_listed=False) for symbol in self._of(category, is_listed=False)]

    def _contracts(self, category: str, request: Request) -> Any:
        first, limit = _number(request.query, "offset", 0), _number(request.query, "limit", 1 << 30, 1 << 30)
        return list(map(contract_row, self._of(category)))[first : first + limit]

    def _one(self, category: str, name: str, _request: Request) -> Any:
        symbol = self._named(category, name)
        return pair_row(symbol, is_listed=True) if category == "spot" else contract_row(symbol)

    def _tickers(self, category: str, request: Request) -> Any:
        query, key = request.query, "currency_pair" if category == "spot" else "contract"
        chosen = [self._symbol(category, query)] if query.get(key) else self._of(category)
        return [spot_ticker(each) if category == "spot" else futures_ticker(each, self._now_ms()) for each in chosen]

    # candles

    def _candles(self, category: str, request: Request) -> Any:
        query, now_ms = request.query, self._now_ms()
        symbol, name, is_spot = self._symbol(category, query), query.get("interval") or "30m", category == "spot"
        if not is_known(name, category) or (length_of(name) < MINUTE_MS and symbol.truth.seconds is None):
            raise Refused(BAD, f"Invalid interval: {name}")
        first, last = (_seconds(query, key) for key in ("from", "to"))
        is_range, most = first is not None or last is not None, SPOT_CANDLES if is_spot else FUTURES_CANDLES
        if is_spot and is_range and query.get("limit") and (first is not None or last is None):
            raise Refused(BAD, "limit conflicts with from and to")
        limit = _number(query, "limit", PAGE, most)
        end = now_ms if last is None else min(last, now_ms)
        start = 0
        if first is not None:
            start, limit = first, most if is_spot else most + 1
            if start < now_ms - OLDEST_CANDLE * length_of(name):
                raise Refused(BAD, TOO_OLD)
            if is_spot and (end - start) // length_of(name) >= SPOT_CANDLES:
                raise Refused(BAD, TOO_BROAD)
        if end < start:
            return []
        found = self._found(symbol, name, start, end, limit)
        if is_spot:
            shown = [each for each in found if each.trade_count or self.has_empty]
            return [spot_candle(each, is_closed=end_of_bar(name, each.start) <= now_ms) for each in shown]
        return [futures_candle(each, is_text=_is_text(request)) for each in found]

    def _found(self, symbol: SymbolMarket, name: str, start: int, end: int, limit: int) -> list[Candle]:
        """The newest of those that begin in start .. end, oldest first."""
        now_ms = self._now_ms()
        if name == WEEKS:
            days = self._klines.candles(symbol, DAY_MS, None, now_ms, (limit + 2) * 7, now_ms)[::-1]
            whole = [day for day in days if day.start >= start_of_bar(WEEKS, days[0].start + 6 * DAY_MS)]
            return [each for each in weeks(whole, symbol.truth.rule) if start <= each.start <= end][-limit:]
        if length_of(name) < MINUTE_MS:
            found = symbol.truth.candles(INTERVALS[name], now_ms)
            return [each for each in found if start <= each.start <= end][-limit:]
        return self._klines.candles(symbol, INTERVALS[name], start, end, limit, now_ms)[::-1]

    # trades and books

    def _trades(self, category: str, request: Request) -> Any:
        query, is_spot = request.query, category == "spot"
        symbol, limit = self._symbol(category, query), _number(query, "limit", PAGE, TRADES_MOST)
        first, last, last_id = _seconds(query, "from"), _seconds(query, "to"), _number(query, "last_id", 0)
        page = max(1, _number(query, "page", 1))
        if limit * (page - 1) > PAGES_MOST:
            raise Refused(BAD, "page out of range")
        found: Iterable[Trade] = symbol.recent
        if last_id and is_spot and query.get("reverse") != "true":  # newer ones, the nearest first
            newer = [trade for trade in symbol.recent if trade.number > last_id][:limit]
            return [spot_past(symbol, trade) for trade in reversed(newer)]
        if last_id:
            found = [trade for trade in found if trade.number < last_id]
        else:
            end_ms = 1 << 62 if last is None else last + 999
            found = [trade for trade in found if (first or 0) <= trade.event_ms <= end_ms]
        skipped = limit * (page - 1) if is_spot else _number(query, "offset", 0)
        chosen = list(found)[::-1][skipped : skipped + limit]
        if is_spot:
            return [spot_past(symbol, trade) for trade in chosen]
        return [futures_past(symbol, trade, is_text=_is_text(request)) for trade in chosen]

    def _book(self, category: str, request: Request) -> Any:
        """The book that the streams show; its id where that is asked for."""
        query, now_ms = request.query, self._now_ms()
        symbol, most = self._symbol(category, query), BOOK_MOST[category]
        limit = _number(query, "limit", 10)
        if limit > most:
            raise Refused("TOO_BIG", f"limit {most}")
        book = symbol.own.book()
        bids, asks = book.top(max(1, limit))
        head = {"id": book.last_id} if query.get("with_id") == "true" else {}
        if category == "spot":
            return head | {"current": now_ms, "update": now_ms, "asks": book.pairs(asks), "bids": book.pairs(bids)}
        is_text = _is_text(request)
        sides: dict[str, Any] = {
            name: [{"s": _size(size, is_text), "p": price} for price, size in book.pairs(levels)]
            for name, levels in (("asks", asks), ("bids", bids))
        }
        return head | {"current": now_ms / 1000, "update": now_ms / 1000} | sides


def _size(size: str, is_text: bool) -> str | int:
    return size if is_text else int(float(size))


def _is_text(request: Request) -> bool:
    return request.headers.get(DECIMAL_HEADER) == "1"


def _seconds(query: Mapping[str, str], name: str) -> int | None:
    """A time in milliseconds, which a query has in seconds."""
    return _number(query, name, 0) * 1000 if query.get(name) else None


def _number(query: Mapping[str, str], name: str, usual: int, most: int | None = None) -> int:
    text = query.get(name)
    if not text:
        return usual
    if not (text.isascii() and text.isdecimal()) or len(text) > 19:
        raise Refused(BAD, f"Invalid {name}")
    if most is not None and not 1 <= int(text) <= most:
        raise Refused(BAD, f"{name} must be from 1 to {most}")
    return int(text)
