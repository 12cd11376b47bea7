"""Bitget's REST without a socket: answers by its rules of paging, from candles and trades that a test gives."""

import json
import threading
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter

from exchanges.bitget.rest import BitgetRest
from exchanges.rest_limits import SiteLimits
from network.http import Session

NOW_MS = 1_800_000_000_000
MINUTE_MS = 60_000


def enveloped(data: Any, code: str = "00000", msg: str = "success") -> tuple[int, Any]:
    """An answer as Bitget wraps it."""
    return 200, {"code": code, "msg": msg, "requestTime": NOW_MS, "data": data}


class Stub(BaseAdapter):
    """Answers requests as Bitget does; `script` are answers that come first, of any path."""

    def __init__(self) -> None:
        super().__init__()
        self.candles: list[Any] = []  # oldest first
        self.recent = 43_200  # how many of them the path of recent candles has
        self.trades: list[Any] = []  # newest first
        self.instruments: list[Any] = []
        self.tickers: list[Any] = []
        self.script: list[tuple[int, Any]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Called by requests instead of opening a connection."""
        url = urlsplit(str(request.url))
        query = dict(parse_qsl(url.query))
        self.asked.append((url.path, query))
        status, body = self.script.pop(0) if self.script else enveloped(self._data(url.path, query))
        response = requests.Response()
        response.status_code, response.url, response.request = status, str(request.url), request
        response._content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return response

    def close(self) -> None:
        """Nothing is open."""

    def _data(self, path: str, query: dict[str, str]) -> Any:
        limit, end = int(query.get("limit", 100)), int(query.get("endTime", 10**18))
        if path.endswith("history-candles"):
            closed = [row for row in self.candles if int(row[0]) + MINUTE_MS <= NOW_MS]
            return [row for row in closed if int(row[0]) < end][-min(limit, 200) :]
        if path.endswith("candles"):
            return [row for row in self.candles[-self.recent :] if int(row[0]) < end][-limit:]
        if path.endswith("fills"):
            return self.trades[: min(limit, 100)]
        if path.endswith("time"):
            return {"serverTime": str(NOW_MS)}
        return self.tickers if path.endswith("tickers") else self.instruments


class Exchange:
    """A BitgetRest whose every request ends in a Stub."""

    def __init__(self, market: str = "linear", **options: Any) -> None:
        self.stub = Stub()
        session = Session(15.0, 1)
        session.mount("https://", self.stub)
        self.rest = BitgetRest(
            market, stop=threading.Event(), wall_ms=lambda: NOW_MS, session=session, limits=SiteLimits(), **options
        )

    @property
    def pages(self) -> list[str]:
        """The last part of the path of every request so far."""
        return [path.rpartition("/")[2] for path, _ in self.stub.asked]


def minutes(count: int, last_ms: int = NOW_MS) -> list[list[str]]:
    """So many minutes that end with the one of a time, oldest first."""
    first_ms = last_ms // MINUTE_MS * MINUTE_MS - (count - 1) * MINUTE_MS
    return [[str(first_ms + n * MINUTE_MS), "1.0", "2.5", "0.5", "1.1", "1199", "6889.352"] for n in range(count)]


def trade(number: int, **fields: Any) -> dict[str, Any]:
    """A row of trades."""
    row = {"symbol": "BTCUSDT", "tradeId": str(10**18 + 2 * number), "side": "buy", "price": "1.5", "size": "2"}
    return {**row, "ts": str(NOW_MS - 1_000_000 + number), **fields}
