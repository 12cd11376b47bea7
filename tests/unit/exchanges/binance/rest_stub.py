"""Binance's REST without a socket: answers by its rules of paging, from candles and trades that a test gives."""

import json
import threading
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter

from exchanges.binance.rest import BinanceRest
from exchanges.contract import TradeRules
from exchanges.rest_limits import SiteLimits
from network.http import Session

NOW_MS = 1_800_000_000_000
MINUTE_MS = 60_000
SPAN_MS = 200 * 86_400_000


class Stub(BaseAdapter):
    """Answers requests as Binance does; `script` are answers that come first, of any path."""

    def __init__(self) -> None:
        super().__init__()
        self.candles: list[Any] = []  # oldest first, as aggregates and trades
        self.trades: list[dict[str, Any]] = []
        self.aggregates: list[dict[str, Any]] = []
        self.symbols: list[Any] = []
        self.tickers: list[Any] = []
        self.cut = 10**9  # rows of an answer, whatever is asked
        self.script: list[tuple[int, Any, dict[str, str]]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.hosts: set[str] = set()

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Called by requests instead of opening a connection."""
        url = urlsplit(str(request.url))
        query = dict(parse_qsl(url.query))
        self.asked.append((url.path, query))
        self.hosts.add(f"{url.scheme}://{url.netloc}")
        status, body, headers = self.script.pop(0) if self.script else (200, self._body(url.path, query), {})
        response = requests.Response()
        response.status_code, response.url, response.request = status, str(request.url), request
        response.headers = requests.structures.CaseInsensitiveDict(headers)
        response._content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return response

    def close(self) -> None:
        """Nothing is open."""

    def _body(self, path: str, query: dict[str, str]) -> Any:
        page, limit = path.split("/")[-1], min(self.cut, int(query.get("limit", 500)))
        if page == "klines":
            start, end = int(query["startTime"]), int(query["endTime"])
            assert not path.startswith("/dapi") or end - start <= SPAN_MS
            return [row for row in self.candles if start <= row[0] <= end][:limit]
        if page == "trades":
            return self.trades[-limit:]
        if page == "historicalTrades":
            return [row for row in self.trades if row["id"] >= int(query["fromId"])][:limit]
        if page == "aggTrades" and "fromId" in query:
            return [row for row in self.aggregates if row["a"] >= int(query["fromId"])][:limit]
        if page == "aggTrades":
            return self.aggregates[-limit:]
        if page == "time":
            return {"serverTime": NOW_MS}
        return self.tickers if page == "24hr" else {"symbols": self.symbols}


class Exchange:
    """A BinanceRest whose every request ends in a Stub."""

    def __init__(self, market: str = "linear", rules: TradeRules | None = None, **options: Any) -> None:
        self.stub = Stub()
        session = Session(15.0, 1)
        session.mount("https://", self.stub)
        self.rest = BinanceRest(
            market,
            rules=rules or TradeRules(),
            stop=threading.Event(),
            session=session,
            limits=SiteLimits(),
            **options,
        )

    @property
    def pages(self) -> list[str]:
        """The last part of the path of every request so far."""
        return [path.split("/")[-1] for path, _ in self.stub.asked]


def candle(start_ms: int, *numbers: str) -> list[Any]:
    """A row of klines: open, high, low, close, volume, turnover."""
    opened, high, low, closed, volume, turnover = numbers or ("1.0", "2.5", "0.5", "1.1", "1199", "6889.352")
    return [start_ms, opened, high, low, closed, volume, start_ms + 59_999, turnover, 12, "1", "1", "0"]


def minutes(count: int, last_ms: int = NOW_MS) -> list[list[Any]]:
    """So many minutes that end with the one of a time."""
    first_ms = last_ms // MINUTE_MS * MINUTE_MS - (count - 1) * MINUTE_MS
    return [candle(first_ms + number * MINUTE_MS) for number in range(count)]


def trade(trade_id: int, **fields: Any) -> dict[str, Any]:
    """A row of trades."""
    row = {"id": trade_id, "price": "1.5", "qty": "2", "quoteQty": "3", "isBuyerMaker": True}
    return {**row, "time": NOW_MS - 1_000_000 + trade_id, **fields}


def aggregate(number: int, first_id: int, last_id: int, **fields: Any) -> dict[str, Any]:
    """A row of aggTrades."""
    row = {"a": number, "p": "1.5", "q": "2", "f": first_id, "l": last_id, "T": NOW_MS - 1_000_000 + last_id, "m": True}
    return {**row, **fields}


def instrument(symbol: str, base: str, quote: str, **fields: Any) -> dict[str, Any]:
    """A row of exchangeInfo."""
    return {"symbol": symbol, "status": "TRADING", "baseAsset": base, "quoteAsset": quote, **fields}
