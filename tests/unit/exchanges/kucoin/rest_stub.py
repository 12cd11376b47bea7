"""KuCoin's REST without a socket: answers by its rules of paging, from candles and trades that a test gives."""

import json
import threading
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter

from exchanges.kucoin.rest import CANDLES, CONTRACTS, SYMBOLS, TICKERS, TIME, KucoinRest
from exchanges.rest_limits import SiteLimits
from network.http import Session

NOW_MS = 1_800_000_000_000
MINUTE_MS = 60_000
CONTRACT = {"symbol": "XBTUSDTM", "baseCurrency": "XBT", "quoteCurrency": "USDT", "multiplier": 0.001, "status": "Open"}


def enveloped(data: Any, code: str = "200000", **more: Any) -> Any:
    """An answer as KuCoin wraps it: HTTP 200 whatever it is."""
    return {"code": code, "data": data, **more}


class Stub(BaseAdapter):
    """Answers requests as KuCoin does; `script` are answers that come first: status, headers, body."""

    def __init__(self) -> None:
        super().__init__()
        self.candles: list[Any] = []  # of spot newest first, of futures oldest first
        self.trades: list[Any] = []
        self.contracts: list[Any] = [CONTRACT]
        self.symbols: list[Any] = []
        self.tickers: list[Any] = []
        self.script: list[tuple[int, dict[str, str], Any]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Called by requests instead of opening a connection."""
        url = urlsplit(str(request.url))
        query = dict(parse_qsl(url.query))
        self.asked.append((url.path, query))
        scripted = self.script.pop(0) if self.script else (200, {}, enveloped(self._data(url.path, query)))
        response = requests.Response()
        response.status_code, headers, body = scripted
        response.headers.update(headers)
        response.url, response.request = str(request.url), request
        response._content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return response

    def close(self) -> None:
        """Nothing is open."""

    def _data(self, path: str, query: dict[str, str]) -> Any:
        if path == CANDLES["spot"]:
            first, last = int(query["startAt"]), int(query["endAt"])
            return [row for row in self.candles if first <= int(row[0]) <= last][:1500]
        if path == CANDLES["linear"]:
            return [row for row in self.candles if int(query["from"]) <= row[0] <= int(query["to"])][:200]
        if path == TICKERS:
            return {"time": NOW_MS, "ticker": self.tickers}
        return {TIME: NOW_MS, CONTRACTS: self.contracts, SYMBOLS: self.symbols}.get(path, self.trades)


class Exchange:
    """A KucoinRest whose every request ends in a Stub."""

    def __init__(self, market: str = "linear") -> None:
        self.stub = Stub()
        session = Session(15.0, 1)
        session.mount("https://", self.stub)
        self.rest = KucoinRest(
            market, stop=threading.Event(), wall_ms=lambda: NOW_MS, session=session, limits=SiteLimits()
        )

    def candle_queries(self) -> list[dict[str, str]]:
        """The queries of candles so far."""
        return [query for path, query in self.stub.asked if path in CANDLES.values()]


def futures_candle(minute: int, price: float = 1.5, lots: int = 3) -> list[Any]:
    """A row of futures: the minute so many before NOW_MS."""
    start_ms = NOW_MS // MINUTE_MS * MINUTE_MS - minute * MINUTE_MS
    return [start_ms, price, price, price, price, lots, lots * price / 1000]


def spot_candle(minute: int) -> list[str]:
    """A row of spot: seconds, open, close, high, low, volume, turnover."""
    return [str(NOW_MS // MINUTE_MS * 60 - minute * 60), "1.0", "1.1", "2.5", "0.5", "7", "8.5"]
