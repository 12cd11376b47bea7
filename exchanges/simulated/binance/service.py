"""Binance's answers: the control messages of its sockets, and REST with a weight for each request and address.

Event loop thread only. USD-M and COIN-M have one budget (trap T11).
"""

import time
from collections import Counter
from typing import Any, NamedTuple

from ..hub import Session
from ..limits import Weights
from ..rest import Answer, Request
from ..rest_faults import RestFaults
from ..service import Usual, World
from .control import Control
from .market_api import LIMITS, PATHS, MarketApi, Refused

MINUTE_S = 60.0
GOES_ON = 10  # requests after a 429 that are borne; the next bans the address
BAN_S, BAN_MOST_S = 120.0, 3 * 86_400.0  # the first ban; each is twice as long as the one before
STATUSES = (403, 418, 429, 451)
LOOK_S = 0.25
FIREWALL = "<html><head><title>403 Forbidden</title></head><body><center><h1>403 Forbidden</h1></center></body></html>"
ELSEWHERE = {
    "code": 0,
    "msg": "Service unavailable from a restricted location according to 'b. Eligibility' in "
    "https://www.binance.com/en/terms. Please contact customer service if you believe you received this message in error.",  # noqa: E501
}
NO_SUCH_PATH = {"code": -5000, "msg": "Path is not valid"}


class Ban(NamedTuple):
    """Until when (seconds since the epoch) an address is banned, and how long that was."""

    until_s: float = 0.0
    length_s: float = BAN_S / 2


class BinanceService(Usual):
    """See exchanges.simulated.service.Service."""

    def __init__(self, world: World) -> None:
        self._control, self._api, self._world = Control(world), MarketApi(world.market), world
        self.faults = RestFaults(world.market.now_ms, prefix="/")
        self.handle, self.opened = self._control.handle, self._control.opened
        self._weights = Weights(0, MINUTE_S)
        self._ignored: Counter[str] = Counter()  # requests of an address after it was refused
        self._bans: dict[str, Ban] = {}
        self._refused = (0.0, 0)  # until when, with what
        self._next_look_s = 0.0

    def notice(self, session: Session) -> str:
        """See control.py."""
        return self._control.notice(session)

    def tick(self) -> None:
        """Now and then, make the aggregates of trades that nobody asked for yet."""
        self._control.tick()
        if (now_s := time.monotonic()) >= self._next_look_s:
            self._next_look_s = now_s + LOOK_S
            for symbol in self._world.market.symbols.values():
                symbol.own.aggregates.update()

    def refuse_rest(self, seconds: float, code: int) -> dict[str, Any]:
        """Refuse all of REST for a while: 429 (the usual one), 418, 403, 451."""
        code = code or 429
        if code not in STATUSES:
            raise ValueError(f"with {code}: one of {', '.join(map(str, STATUSES))}")
        self._refused = (time.time() + seconds, code)
        return {"s": seconds, "with": code}

    def answer(self, request: Request) -> Answer:
        """Answer one request, or say how its answer fails to arrive."""
        until_s, code = self._refused
        if (left_s := until_s - time.time()) > 0:
            return _refusal(code, left_s)
        return self.faults.answer(request, lambda: self._work(request))

    def _work(self, request: Request) -> Answer:
        category = next((known for path, known in PATHS.items() if request.path.startswith(path)), "")
        endpoint = self._api.endpoints.get(request.path[len("/api/v3/") + (category != "spot") :]) if category else None
        if endpoint is None or request.method != "GET":
            return Answer(404, NO_SUCH_PATH)
        refusal, headers = self._weigh(category, endpoint.weight(category, request.query), request.client_ip)
        if refusal is not None:
            self._world.hub.counters["rest_too_many"] += 1
            return refusal._replace(headers=(*refusal.headers, *headers))
        try:
            return Answer(200, endpoint.work(category, request), headers)
        except Refused as error:
            return Answer(error.status, {"code": error.code, "msg": error.text}, headers)

    def _weigh(self, category: str, weight: int, address: str) -> tuple[Answer | None, tuple[tuple[str, str], ...]]:
        """Count a request: above the limit it is refused, and who goes on is banned."""
        now_s, product = time.time(), "spot" if category == "spot" else "futures"
        if (ban := self._bans.get(address, Ban())).until_s > now_s:
            return _refusal(418, ban.until_s - now_s), ()
        use = self._weights.take(
            f"{product} {address}", weight, now_s, self._world.options.rest_limit or LIMITS[category]
        )
        headers = [("X-MBX-USED-WEIGHT-1M", str(use.used))]
        if category == "spot":
            headers.append(("X-MBX-USED-WEIGHT", str(use.used)))
        if not use.is_over:
            self._ignored[address] = 0
            return None, tuple(headers)
        self._ignored[address] += 1
        if self._ignored[address] <= GOES_ON:
            return _refusal(429, use.reset_s), tuple(headers)
        length_s = min(ban.length_s * 2, BAN_MOST_S)
        self._bans[address], self._ignored[address] = Ban(now_s + length_s, length_s), 0
        return _refusal(418, length_s), tuple(headers)


def _refusal(status: int, left_s: float) -> Answer:
    if status == 403:
        return Answer(403, FIREWALL, content_type="text/html")
    if status == 451:
        return Answer(451, ELSEWHERE)
    until_ms = int((time.time() + left_s) * 1000)
    text = "Too much request weight used; please use WebSocket Streams for live updates to avoid polling the API."
    if status == 418:
        text = (
            f"Way too much request weight used; IP banned until {until_ms}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
    return Answer(status, {"code": -1003, "msg": text}, (("Retry-After", str(int(left_s) + 1)),))


def open_service(world: World) -> BinanceService:
    """The service of a simulated Binance."""
    return BinanceService(world)
