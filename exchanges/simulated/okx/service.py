"""OKX's answers: the control messages of its sockets, and REST with a limit for each path and address.

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

WINDOW_S = 2.0
TOO_MANY = ("50011", "Too Many Requests")
HTTP_STATUSES = (403, 429, 451, 503)
NO_SUCH_PATH = {"code": "404", "msg": "The requested resource does not exist", "data": []}


class OkxService(Usual):
    """See exchanges.simulated.service.Service."""

    def __init__(self, world: World) -> None:
        self._control, self._api, self._world = Control(world), MarketApi(world.market), world
        self.faults = RestFaults(world.market.now_ms, prefix="/api/")
        self.handle = self._control.handle
        self._windows: dict[tuple[str, str], Window] = {}
        self._refused_until_s, self._refused_with = 0.0, 0

    def notice(self, session: Session) -> str:
        """See control.py."""
        return self._control.notice(session)

    def opened(self, session: Session, target: str) -> None:  # noqa: ARG002
        """OKX's URLs name no topics."""
        self._control.opened(session)

    def refuse_rest(self, seconds: float, code: int) -> dict[str, Any]:
        """Refuse all of REST for a while: an HTTP status, or 50011 (the usual one)."""
        if code not in (0, 50011, *HTTP_STATUSES):
            raise ValueError(f"with {code}: 50011, or an HTTP status of {', '.join(map(str, HTTP_STATUSES))}")
        self._refused_until_s, self._refused_with = time.monotonic() + seconds, code
        return {"s": seconds, "with": code or 50011}

    def answer(self, request: Request) -> Answer:
        """Answer one request, or say how its answer fails to arrive."""
        if time.monotonic() < self._refused_until_s:
            if self._refused_with in HTTP_STATUSES:
                return Answer(self._refused_with, "refused", content_type="text/html")
            return _refused(*TOO_MANY, 429)
        return self.faults.answer(request, lambda: self._work(request))

    def _work(self, request: Request) -> Answer:
        limit, endpoint = self._api.endpoints.get(request.path, (0, None))
        if endpoint is None or request.method != "GET":
            return Answer(404, NO_SUCH_PATH)
        if self._is_over(request, self._world.options.rest_limit or limit):
            self._world.hub.counters["rest_too_many"] += 1
            return _refused(*TOO_MANY, 429)
        try:
            return Answer(200, {"code": "0", "msg": "", "data": endpoint(request.query)})
        except Refused as error:
            return _refused(error.code, error.text, error.status)

    def _is_over(self, request: Request, limit: int) -> bool:
        """Whether an address has asked a path too often; instruments are counted for each product."""
        product = request.query.get("instType", "") if request.path.endswith("/instruments") else ""
        window = self._windows.setdefault((request.client_ip, request.path + product), Window(WINDOW_S))
        return window.add(time.monotonic()) > limit


def _refused(code: str, text: str, status: int) -> Answer:
    return Answer(status, {"code": code, "msg": text, "data": []})


def open_service(world: World) -> OkxService:
    """The service of a simulated OKX."""
    return OkxService(world)
