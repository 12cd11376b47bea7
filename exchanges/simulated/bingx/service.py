"""BingX's answers: the control messages of its sockets, and REST with two limits for each address.

Event loop thread only.
"""

import time
from collections import Counter
from typing import Any

from ..hub import Session
from ..limits import Weights
from ..rest import Answer, Request
from ..rest_faults import RestFaults
from ..service import Usual, World
from .control import Control
from .market_api import MarketApi, Refused

SHORT_S, SHORT_MOST = 10.0, 500
LONG_S, LONG_MOST = 60.0, 1000
FREED_S = 300.0
GOES_ON = 10  # requests after a 429 that are borne; the next answers are 418
TOO_MANY = 100410
STATUSES = (403, 418, 429, 451)
FIREWALL = "<html><head><title>403 Forbidden</title></head><body><center><h1>403 Forbidden</h1></center></body></html>"
NO_SUCH_PATH = {"code": 100400, "msg": "this api is not exist, please refer to the API docs"}


class BingxService(Usual):
    """See exchanges.simulated.service.Service."""

    kinds = ("trades", "orderbook", "ticker")  # liquidations are not public
    has_turnover = False

    def __init__(self, world: World) -> None:
        self._control, self._api, self._world = Control(world), MarketApi(world.market), world
        self.faults = RestFaults(world.market.now_ms, prefix="/openApi/")
        self.handle, self.opened = self._control.handle, self._control.opened
        self._windows = (Weights(SHORT_MOST, SHORT_S), Weights(LONG_MOST, LONG_S))
        self._freed_s: dict[str, float] = {}  # when an address that broke a limit is free again
        self._ignored: Counter[str] = Counter()
        self._refused = (0.0, 0)  # until when, with what

    def ping(self, session: Session) -> str:  # noqa: ARG002
        """A message of its own, which wants "Pong"."""
        return "Ping"

    def refuse_rest(self, seconds: float, code: int) -> dict[str, Any]:
        """Refuse all of REST for a while: 429 with 100410 (the usual one), 418, 403, 451."""
        code = 429 if code in (0, TOO_MANY) else code
        if code not in STATUSES:
            raise ValueError(f"with {code}: {TOO_MANY} or one of {', '.join(map(str, STATUSES))}")
        self._refused = (time.monotonic() + seconds, code)
        return {"s": seconds, "with": code}

    def answer(self, request: Request) -> Answer:
        """Answer one request, or say how its answer fails to arrive."""
        until_s, code = self._refused
        if (left_s := until_s - time.monotonic()) > 0:
            return _refusal(code, left_s)
        return self.faults.answer(request, lambda: self._work(request))

    def _work(self, request: Request) -> Answer:
        endpoint = self._api.endpoints.get(request.path)
        if endpoint is None or request.method != "GET":
            return Answer(200, NO_SUCH_PATH)
        refusal, headers = self._count(request.client_ip)
        if refusal is not None:
            self._world.hub.counters["rest_too_many"] += 1
            return refusal
        try:
            return Answer(200, endpoint(request.query), headers)
        except Refused as error:
            return Answer(200, {"code": error.code, "msg": error.text, "data": {}}, headers)

    def _count(self, address: str) -> tuple[Answer | None, tuple[tuple[str, str], ...]]:
        """Count a request: above a limit the address is refused for minutes, and with 418 where it goes on."""
        now_s = time.monotonic()
        most = self._world.options.rest_limit
        uses = [window.take(address, 1, now_s, most or window.limit) for window in self._windows]
        left_s = self._freed_s.get(address, 0.0) - now_s
        if left_s <= 0:
            self._ignored[address] = 0
            short = uses[0]
            if not any(use.is_over for use in uses):
                headers = {"Remain": short.limit - short.used, "Expire": int((time.time() + short.reset_s) * 1000)}
                return None, tuple((f"X-RateLimit-Requests-{name}", str(value)) for name, value in headers.items())
            self._freed_s[address], left_s = now_s + FREED_S, FREED_S
        self._ignored[address] += 1
        return _refusal(429 if self._ignored[address] <= GOES_ON else 418, left_s), ()


def _refusal(status: int, left_s: float) -> Answer:
    if status in (403, 451):
        return Answer(status, FIREWALL, content_type="text/html")
    until_ms = int((time.time() + left_s) * 1000)
    text = (
        "code:100410:The endpoint trigger frequency limit rule is currently in the disabled period and will be "
        f"unblocked after {until_ms}"
    )
    return Answer(status, {"code": TOO_MANY, "msg": text, "data": {}})


def open_service(world: World) -> BingxService:
    """The service of a simulated BingX."""
    return BingxService(world)
