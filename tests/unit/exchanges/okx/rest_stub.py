"""OKX's REST without a socket: answers by its rules of paging, from candles and trades that a test gives."""

import json
import threading
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter

from exchanges.contract import TradeRules
from exchanges.okx.rest import OkxRest
from exchanges.rest_limits import SiteLimits
from network.http import Session

NOW_MS = 1_800_000_000_000
MINUTE_MS = 60_000


def enveloped(data: Any, code: str = "0", msg: str = "") -> tuple[int, Any]:
    """An answer as OKX wraps it."""
    return 200, {"code": code, "msg": msg, "data": data}


class Stub(BaseAdapter):
    """Answers requests as OKX does; `script` are answers that come first, of any path."""

    def __init__(self) -> None:
        super().__init__()
        self.candles: list[Any] = []  # newest first
        self.recent = 1440  # how many of them market/candles has
        self.trades: list[dict[str, str]] = []  # newest first
        self.instruments: list[Any] = []
        self.tickers: list[Any] = []
        self.script: list[tuple[int, Any]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.headers: list[dict[str, str]] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Called by requests instead of opening a connection."""
        url = urlsplit(str(request.url))
        query = dict(parse_qsl(url.query))
        page = url.path.removeprefix("/api/v5/")
        self.asked.append((page, query))
        self.headers.append(dict(request.headers))
        status, body = self.script.pop(0) if self.script else enveloped(self._data(page, query))
        response = requests.Response()
        response.status_code, response.url, response.request = status, str(request.url), request
        response._content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return response

    def close(self) -> None:
        """Nothing is open."""

    def _data(self, page: str, query: dict[str, str]) -> list[Any]:
        limit, after = int(query.get("limit", 100)), int(query.get("after", 10**18))
        if page.endswith("candles"):
            rows = self.candles[: self.recent] if page == "market/candles" else self.candles
            return [row for row in rows if int(row[0]) < after][:limit]
        if page == "market/trades":
            return self.trades[:limit]
        if page == "market/history-trades":
            return [row for row in self.trades if int(row["tradeId"]) < after][: min(limit, 100)]
        if page == "public/time":
            return [{"ts": str(NOW_MS)}]
        return self.instruments if page == "public/instruments" else self.tickers


class Exchange:
    """An OkxRest whose every request ends in a Stub."""

    def __init__(self, market: str = "linear", rules: TradeRules | None = None, **options: Any) -> None:
        self.stub = Stub()
        session = Session(15.0, 1)
        session.mount("https://", self.stub)
        self.rest = OkxRest(
            market,
            rules=rules or TradeRules(),
            stop=threading.Event(),
            wall_ms=lambda: NOW_MS,
            session=session,
            limits=SiteLimits(),
            **options,
        )

    @property
    def pages(self) -> list[str]:
        """The path of every request so far, from its group on."""
        return [page for page, _ in self.stub.asked]


def candle(start_ms: int, *columns: str) -> list[str]:
    """A row of candles."""
    return [str(start_ms), *(columns or ("1.0", "2.5", "0.5", "1.1", "1199", "11990", "6889.352")), "1"]


def minutes(count: int, last_ms: int = NOW_MS) -> list[list[str]]:
    """So many minutes that end with the one of a time, newest first."""
    return [candle(last_ms // MINUTE_MS * MINUTE_MS - number * MINUTE_MS) for number in range(count)]


def trade(trade_id: int, **fields: str) -> dict[str, str]:
    """A row of trades."""
    row = {"instId": "BTC-USDT-SWAP", "tradeId": str(trade_id), "px": "1.5", "sz": "2", "side": "buy", "source": "0"}
    return {**row, "ts": str(NOW_MS - 1_000_000 + trade_id), **fields}
