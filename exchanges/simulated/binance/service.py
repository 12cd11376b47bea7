"""Binance's answers: the control messages of its sockets, and REST with weights by the minute.

Event loop thread only. USD-M and COIN-M share one budget of weight.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from ..limits import Weights
from ..rest import Answer, Request
from ..rest_faults import RestFaults
from ..service import World
from .control import Control
from .market_api import MarketApi, Refused

MINUTE_S = 60.0
SPOT_WEIGHT, FUTURES_WEIGHT = 6000, 2400
BAN_AFTER = 20  # requests above the limit, and the address is banned
BAN_S = 120.0
HTTP_STATUSES = (403, 418, 429, 451, 503)
TOO_MUCH = {"code": -1003, "msg": "Too much request weight used; current limit is IP-limited."}


class BinanceService:
    """See exchanges.simulated.service.Service."""

    def __init__(self, world: World) -> None:
        self._control, self._api, self._world = Control(world), MarketApi(world.market), world
        self.faults = RestFaults(world.market.now_ms, prefix="/")
        self.commands: Mapping[str, Callable[[dict[str, Any]], Any]] = {}
        self.questions: Mapping[str, Callable[[dict[str, str]], Any]] = {}
        self.handle, self.notice, self.opened = self._control.handle, self._control.notice, self._control.opened
        self._weights = {"spot": Weights(SPOT_WEIGHT, MINUTE_S), "futures": Weights(FUTURES_WEIGHT, MINUTE_S)}
        self._over, self._banned_until_s = 0, 0.0
        self._refused_until_s, self._refused_with = 0.0, 429

    def tick(self) -> None:
        """Put new trades into aggregates before they are forgotten."""
        for symbol in self._world.market.symbols.values():
            symbol.own.take(symbol)

    def refuse_rest(self, seconds: float, code: int) -> dict[str, Any]:
        """Refuse all of REST for a while, with an HTTP status (429 the usual one)."""
        if code not in (0, *HTTP_STATUSES):
            raise ValueError(f"with {code}: an HTTP status of {', '.join(map(str, HTTP_STATUSES))}")
        self._refused_until_s, self._refused_with = time.monotonic() + seconds, code or 429
        return {"s": seconds, "with": self._refused_with}

    def answer(self, request: Request) -> Answer:
        """Answer one request, or say how its answer fails to arrive."""
        now_s = time.monotonic()
        if now_s < self._refused_until_s:
            return _refusal(self._refused_with, self._refused_until_s - now_s)
        return self.faults.answer(request, lambda: self._work(request))

    def _work(self, request: Request) -> Answer:
        now_s = time.monotonic()
        if now_s < self._banned_until_s:
            return _refusal(418, self._banned_until_s - now_s)
        found = self._api.find(request.path)
        if found is None or request.method != "GET":
            return Answer(404, {"code": -1, "msg": "not found"})
        category, weight, endpoint = found
        weights = self._weights["spot" if category == "spot" else "futures"]
        use = weights.take(request.client_ip, weight(request.query), now_s, self._world.options.rest_limit or None)
        if use.is_over:
            self._world.hub.counters["rest_too_many"] += 1
            self._over += 1
            if self._over >= BAN_AFTER:
                self._banned_until_s, self._over = now_s + BAN_S, 0
            return _refusal(429, use.reset_s)
        self._over = 0
        headers = (("X-MBX-USED-WEIGHT-1M", str(use.used)),)
        try:
            return Answer(200, endpoint(category, request.query), headers)
        except Refused as error:
            return Answer(400, {"code": error.code, "msg": error.text}, headers)


def _refusal(status: int, left_s: float) -> Answer:
    if status in (418, 429):
        return Answer(status, TOO_MUCH, (("Retry-After", str(int(left_s) + 1)),))
    return Answer(status, "<html>refused</html>", content_type="text/html")


def open_service(world: World) -> BinanceService:
    """The service of a simulated Binance."""
    return BinanceService(world)
