"""Bybit's tickers and order books as REST answers them, of what is collected (docs: market/tickers, orderbook).

Pure but for its awaits; the event loop's thread. An answer is whole or none: what the streams' tickers lack is of the
exchange's own answer, asked for once a minute, or of the order book.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from exchanges.bybit.dialect.state import DEPTHS, BookMessage, Level
from model.market_api import ApiRequest, MarketApiOptions

TICKERS = "/v5/market/tickers"
FRESH_MS = 2_000  # an older state may be that of a connection which is down
STILL_S = 60.0  # what streams do not have of a contract changes on days of delivery alone
STILL = 1  # the epoch of that answer: it is not the one of those who ask for tickers
LIMITS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"spot": (1, 1000), "linear": (25, 1000), "inverse": (25, 1000)}
)
"""By category: levels of an order book unless asked for, and the most."""

_OF_ALL = frozenset(
    {"lastPrice", "prevPrice24h", "price24hPcnt", "highPrice24h", "lowPrice24h", "turnover24h", "volume24h"}
    | {"bid1Price", "bid1Size", "ask1Price", "ask1Size"}
)
_OF_CONTRACTS = frozenset(
    {"indexPrice", "markPrice", "prevPrice1h", "fundingRate", "nextFundingTime"} | {"openInterest", "openInterestValue"}
)
LIVE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "spot": _OF_ALL | {"usdIndexPrice"},
        "linear": _OF_ALL | _OF_CONTRACTS,
        "inverse": _OF_ALL | _OF_CONTRACTS,
    }
)
"""By category: the fields that change all the time, which have to be of the streams."""


class _Ticker(msgspec.Struct):
    data: dict[str, str]
    ts: int = 0


class _TickerRows(msgspec.Struct):
    list: list[dict[str, Any]]


class _TickerAnswer(msgspec.Struct):
    result: _TickerRows


_read_ticker = msgspec.json.Decoder(_Ticker).decode
_read_tickers = msgspec.json.Decoder(_TickerAnswer).decode
_read_book = msgspec.json.Decoder(BookMessage).decode
_write = msgspec.json.Encoder().encode


class LatestState:
    """Tickers and order books of what is collected."""

    def __init__(self, options: MarketApiOptions) -> None:
        self._options = options
        self._still: dict[str, tuple[bytes, dict[str, dict[str, Any]]]] = {}  # by category: the answer, its rows

    async def ticker(self, query: Mapping[str, str]) -> str | None:
        """The result for one symbol; None where it is not all there. Raises HistoryError."""
        category, symbol = query.get("category", ""), query.get("symbol", "")
        if category not in LIMITS or query.keys() != {"category", "symbol"}:
            return None
        live = self._live_ticker(category, symbol)
        if live is None or not LIVE[category] <= live.keys():
            return None
        still = (await self._still_rows(category)).get(symbol)
        if still is None:
            return None
        row = {name: live.get(name, value) for name, value in still.items()}
        return _write({"category": category, "list": [row]}).decode()

    def orderbook(self, query: Mapping[str, str]) -> str | None:
        """The result of an order book; None where it is not collected so deep."""
        category, symbol = query.get("category", ""), query.get("symbol", "")
        if category not in LIMITS or not query.keys() <= {"category", "symbol", "limit"}:
            return None
        usual, most = LIMITS[category]
        text = query.get("limit") or str(usual)
        if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= most):
            return None
        book = self._book(category, symbol, int(text))
        if book is None:
            return None
        data, limit = book.data, int(text)
        found = {"s": data.s, "a": data.a[:limit], "b": data.b[:limit], "ts": book.ts, "u": data.u, "seq": data.seq}
        return _write(found | {"cts": book.cts or book.ts}).decode()

    def _live_ticker(self, category: str, symbol: str) -> dict[str, str] | None:
        payload = self._options.latest(category, f"tickers.{symbol}")
        try:
            message = _read_ticker(payload) if payload else None
        except msgspec.DecodeError:  # a field that is no text, for example
            return None
        if message is None or not self._is_fresh(message.ts):
            return None
        if category == "spot" and (book := self._book(category, symbol, 1)):
            message.data |= _best("bid1", book.data.b) | _best("ask1", book.data.a)
        return message.data

    def _book(self, category: str, symbol: str, levels: int) -> BookMessage | None:
        """The whole book of the least depth that has so many levels."""
        for depth in DEPTHS:
            if depth >= levels and (payload := self._options.latest(category, f"orderbook.{depth}.{symbol}")):
                book = _read_book(payload)
                return book if self._is_fresh(book.ts) else None
        return None

    def _is_fresh(self, ts: int) -> bool:
        return self._options.now_ms() - ts < FRESH_MS

    async def _still_rows(self, category: str) -> dict[str, dict[str, Any]]:
        """The exchange's own tickers of a category by symbol, a minute old at most."""
        request = ApiRequest(TICKERS, {"category": category})
        answer = await self._options.upstream.fetch(request, keep_s=STILL_S, epoch=STILL)
        known = self._still.get(category)
        if known is None or known[0] is not answer.body:
            try:
                rows = _read_tickers(answer.body).result.list
            except (msgspec.DecodeError, ValueError):
                return {}
            known = self._still[category] = answer.body, {str(row.get("symbol")): row for row in rows}
        return known[1]


def _best(name: str, levels: Sequence[Level]) -> dict[str, str]:
    return {f"{name}Price": levels[0][0], f"{name}Size": levels[0][1]} if levels else {}
