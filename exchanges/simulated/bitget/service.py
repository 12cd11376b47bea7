"""Bitget's answers: the control messages of its socket, and REST with a limit for each path and address.

Event loop thread only.
"""

import time
from typing import Any

from ..hub import Session
from ..limits import Window
from ..rest import Answer, Request
from ..rest_faults import RestFaults
from ..service import Usual, World
from .control import Control
from .market_api import MarketApi, Refused

SECOND_S, MINUTE_S = 1.0, 60.0
A_MINUTE = 6000  # requests of an address, over all paths
HTTP_STATUSES = (403, 429, 500, 502, 503)
LEFT = "x-mbx-used-remain-limit"


class BitgetService(Usual):
    """See exchanges.simulated.service.Service."""

    def __init__(self, world: World) -> None:
        self._control, self._api, self._world = Control(world), MarketApi(world.market), world
        self.faults = RestFaults(world.market.now_ms, prefix="/api/")
        self.handle = self._control.handle
        self._windows: dict[tuple[str, str], Window] = {}
        self._refused_until_s, self._refused_with = 0.0, 429

    def opened(self, session: Session, target: str) -> None:  # noqa: ARG002
        """Bitget's URLs name no topics."""
        self._control.opened(session)

    def refuse_rest(self, seconds: float, code: int) -> dict[str, Any]:
        """Refuse all of REST for a while, with an HTTP status: 429 is the usual one."""
        if code not in (0, *HTTP_STATUSES):
            raise ValueError(f"with {code}: an HTTP status of {', '.join(map(str, HTTP_STATUSES))}")
        self._refused_until_s, self._refused_with = time.monotonic() + seconds, code or 429
        return {"s": seconds, "with": self._refused_with}

    def answer(self, request: Request) -> Answer:
        """Answer one request, or say how its answer fails to arrive."""
        if time.monotonic() < self._refused_until_s:
            if self._refused_with == 429:
                return self._refusal("429", "Too Many Requests", 429)
            return Answer(self._refused_with, "refused", content_type="text/html")
        return self.faults.answer(request, lambda: self._work(request))

    def _work(self, request: Request) -> Answer:
        endpoint = self._api.endpoints.get(request.path)
        if endpoint is None or request.method != "GET":
            return self._refusal("40404", "Request URL NOT FOUND", 404)
        most = self._world.options.rest_limit or endpoint.a_second
        left = most - self._count(request.client_ip, request.path, SECOND_S)
        if left < 0 or self._count(request.client_ip, "", MINUTE_S) > A_MINUTE:
            self._world.hub.counters["rest_too_many"] += 1
            return self._refusal("429", "Too Many Requests", 429)
        try:
            data = endpoint.answer(request.query)
        except Refused as error:
            return self._refusal(error.code, error.text, 400)
        now_ms = self._world.market.now_ms()
        body = {"code": "00000", "msg": "success", "requestTime": now_ms, "data": data}
        return Answer(200, body, ((LEFT, str(left)),))

    def _count(self, address: str, path: str, span_s: float) -> int:
        window = self._windows.setdefault((address, path), Window(span_s))
        return window.add(time.monotonic())

    def _refusal(self, code: str, text: str, status: int) -> Answer:
        now_ms = self._world.market.now_ms()
        return Answer(status, {"code": code, "msg": text, "requestTime": now_ms, "data": None})


def open_service(world: World) -> BitgetService:
    """The service of a simulated Bitget."""
    return BitgetService(world)
