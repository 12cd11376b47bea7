"""A client's steps without a socket and without waiting: replies from a script, time that passes only in waits."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from exchanges.bybit.client.calls import Request
from exchanges.bybit.client.connection import ConnectionManager
from exchanges.bybit.client.engine import Engine
from exchanges.bybit.client.limits import HostLimits
from exchanges.bybit.client.steps import Page, Send, Wait
from exchanges.rest_limits import RestLimiter
from exchanges.transport import Answer, Failure, Reply

NOW_MS = 1_800_000_000_000
ROUND_TRIP_S = 0.01
Script = Callable[["Asked"], Reply]


class Asked:
    """One request as the exchange would see it."""

    def __init__(self, request: Request) -> None:
        url = urlsplit(request.path_and_query)
        self.method, self.path, self.headers = request.method, url.path, request.headers
        self.params: dict[str, Any] = json.loads(request.body) if request.body else dict(parse_qsl(url.query))


def answer(result: Any = None, code: int = 0, message: str = "OK", status: int = 200, **headers: str) -> Answer:
    """An answer as Bybit wraps it."""
    raw = {"retCode": code, "retMsg": message, "result": {} if result is None else result, "time": NOW_MS}
    return text(json.dumps(raw), status, {name.replace("_", "-"): value for name, value in headers.items()})


def text(body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Any answer of a server."""
    return Answer(status, body.encode(), headers or {}, 0.0, ROUND_TRIP_S)


def silence(*, was_sent: bool = True) -> Failure:
    """No answer."""
    return Failure("ReadTimeout: it took too long", was_sent, 0.0, ROUND_TRIP_S)


class Runner:
    """Stands in for a driver: `run` and `iterate` as SyncDriver, every wait noted and not waited."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.waits: list[float] = []

    def run(self, steps: Any) -> Any:
        """The result of the steps."""
        reply = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as end:
                return end.value
            reply = self._do(step)

    def iterate(self, steps: Any) -> Any:
        """The items of the steps."""
        reply = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration:
                return
            reply = None
            if isinstance(step, Page):
                yield from step.items
            else:
                reply = self._do(step)

    def _do(self, step: Any) -> Reply | None:
        if isinstance(step, Wait):
            self.waits.append(step.seconds)
            return None
        assert isinstance(step, Send)
        self.asked.append(Asked(step.request))
        now_s = time.monotonic()
        return replace(self.script(self.asked[-1]), sent_s=now_s, back_s=now_s + ROUND_TRIP_S)

    @property
    def paths(self) -> list[str]:
        """What was asked, without the exchange's time."""
        return [asked.path for asked in self.asked if asked.path != "/v5/market/time"]


def in_turn(*replies: Reply) -> Script:
    """One after another, the last for ever; the exchange's time is always answered."""
    left = list(replies)

    def script(asked: Asked) -> Reply:
        if asked.path == "/v5/market/time":
            return answer({"timeNano": str(NOW_MS * 1_000_000)})
        return left.pop(0) if len(left) > 1 else left[0]

    return script


def engine(mode: str = "wait", *, key: str = "k", **options: Any) -> Engine:
    """An engine with limits of its own, which nothing else uses."""
    connection = ConnectionManager(url="http://x", api_key=key, api_secret="s" if key else "", now_ms=lambda: NOW_MS)
    return Engine(connection, mode, limits=HostLimits(RestLimiter(1e6, 1_000_000)), **options)  # type: ignore[arg-type]
