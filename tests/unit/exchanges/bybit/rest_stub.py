"""Bybit's REST without a socket: a transport for requests, and time that passes only in waits."""

import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter

from exchanges.bybit.client.limits import HostLimits
from exchanges.bybit.rest import BybitRest
from exchanges.contract import TradeRules
from exchanges.rest_limits import RestLimiter
from network.http import Session

NOW_MS = 1_800_000_000_000
Reply = tuple[int, str, dict[str, str]]
Script = Callable[[str, dict[str, str]], Reply | Exception]


def enveloped(result: Any, code: int = 0, message: str = "OK", **headers: str) -> Reply:
    """An answer as Bybit wraps it."""
    body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": NOW_MS}
    return 200, json.dumps(body), headers


def in_turn(*replies: Reply | Exception) -> Script:
    """One after another; the last one for ever."""
    left = list(replies)
    return lambda _path, _query: left.pop(0) if len(left) > 1 else left[0]


class Stub(BaseAdapter):
    """Answers requests from a script and keeps what was asked."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.timeouts: list[Any] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        """Called by requests instead of opening a connection."""
        url = urlsplit(str(request.url))
        query = dict(parse_qsl(url.query))
        self.asked.append((f"{url.scheme}://{url.netloc}{url.path}", query))
        self.timeouts.append(options["timeout"])
        reply = self.script(url.path, query)
        if isinstance(reply, Exception):
            raise reply
        response = requests.Response()
        response.status_code, text, response.headers = (
            reply[0],
            reply[1],
            requests.structures.CaseInsensitiveDict(reply[2]),
        )
        response._content = text.encode()
        response.url, response.request = str(request.url), request
        return response

    def close(self) -> None:
        """Nothing is open."""


def session_of(stub: Stub) -> requests.Session:
    """A session whose every request ends in the stub."""
    session = Session(15.0, 1)
    for scheme in ("https://", "http://"):
        session.mount(scheme, stub)
    return session


class Time:
    """A clock and a stop event in one: waiting makes the time pass."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waits: list[float] = []
        self.stopped = False
        self.while_waiting: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        return self.now_s

    def is_set(self) -> bool:
        return self.stopped

    def wait(self, seconds: float) -> bool:
        assert seconds > 0
        self.waits.append(seconds)
        self.now_s += seconds
        self.while_waiting()
        return self.stopped


class Exchange:
    """A BybitRest whose every request ends in a Stub; `time.waits` are the waits it made."""

    def __init__(
        self,
        script: Script,
        market: str = "linear",
        url: str | None = None,
        rules: TradeRules | None = None,
        **limits: Any,
    ) -> None:
        self.time = Time()
        self.limiter = RestLimiter(clock=self.time, **limits)
        self.stub = Stub(script)
        self.history = BybitRest(
            market,
            url=url,
            rules=rules,
            limits=HostLimits(self.limiter),
            stop=self.time,  # type: ignore[arg-type]
            session=session_of(self.stub),
            clock=self.time,
        )

    @property
    def queries(self) -> list[dict[str, str]]:
        """The query of every request so far."""
        return [query for _, query in self.stub.asked]


def row(start_ms: int, numbers: Iterable[str] = ("1.0", "2.50", "0.5", "1.10", "33.404285", "36.7447135")) -> list[str]:
    """A row of market/kline: open, high, low, close, volume, turnover after the start."""
    return [str(start_ms), *numbers]


def klines(*rows: list[str]) -> Reply:
    """An answer of market/kline."""
    return enveloped({"category": "linear", "symbol": "BTCUSDT", "list": list(rows)})
