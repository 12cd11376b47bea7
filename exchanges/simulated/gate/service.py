"""Gate's answers: the control messages of its sockets, and REST with a limit for each path and address.

Event loop thread only. Commands of its own, by POST /sim/:
  assume      {"atomic": false, "merged": true, "empty": false} what is not known of Gate, the other way
  multiplier  {"symbol": "BTC_USDT", "quanto_multiplier": "0.001"} a contract becomes another size, and says so
"""

import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ..hub import Session
from ..limits import Use, Weights
from ..rest import Answer, Request
from ..rest_faults import RestFaults
from ..service import Usual, World
from .control import Control
from .market_api import MarketApi, Refused
from .streams import Contracts

LIMIT, WINDOW_S = 200, 10.0
ROOT = "/api/v4/"
HTTP_STATUSES = (403, 429, 451, 503)
TOO_MANY = {"label": "TOO_MANY_REQUESTS", "message": "Request Rate limit Exceeded (211)"}


class GateService(Usual):
    """See exchanges.simulated.service.Service."""

    def __init__(self, world: World) -> None:
        self._world, self._control, self._api = world, Control(world), MarketApi(world.market)
        self.faults = RestFaults(world.market.now_ms, prefix="/api/")
        self.handle = self._control.handle
        self._weights = Weights(world.options.rest_limit or LIMIT, WINDOW_S)
        self._refused_until_s, self._refused_with = 0.0, 0
        self.commands = {"assume": self._assume, "multiplier": self._multiplier}

    def notice(self, session: Session) -> str:
        """See control.py."""
        return self._control.notice(session)

    def opened(self, session: Session, target: str) -> None:  # noqa: ARG002
        """Gate's URLs name no topics."""
        self._control.opened(session)

    def refuse_rest(self, seconds: float, code: int) -> dict[str, Any]:
        """Refuse all of REST for a while: an HTTP status, or TOO_MANY_REQUESTS (the usual one)."""
        if code not in (0, *HTTP_STATUSES):
            raise ValueError(f"with {code}: an HTTP status of {', '.join(map(str, HTTP_STATUSES))}")
        self._refused_until_s, self._refused_with = time.monotonic() + seconds, code
        return {"s": seconds, "with": code or 429}

    def answer(self, request: Request) -> Answer:
        """Answer one request, or say how its answer fails to arrive."""
        if time.monotonic() < self._refused_until_s:
            if self._refused_with in HTTP_STATUSES:
                return Answer(self._refused_with, "refused", content_type="text/html")
            return Answer(429, TOO_MANY)
        return self.faults.answer(request, lambda: self._work(request))

    def _work(self, request: Request) -> Answer:
        path = request.path.removeprefix(ROOT)
        endpoint = self._api.endpoint(path) if request.path.startswith(ROOT) else None
        if endpoint is None or request.method != "GET":
            return Answer(404, {"label": "NOT_FOUND", "message": "no such endpoint"})
        use = self._weights.take(f"{request.client_ip} {path}", 1, time.time())
        if use.is_over:
            self._world.hub.counters["rest_too_many"] += 1
            return Answer(429, TOO_MANY, _headers(use))
        try:
            return Answer(200, endpoint(request), _headers(use))
        except Refused as error:
            message = {"message": error.text} if error.text else {}
            return Answer(error.status, {"label": error.label} | message, _headers(use))

    def _assume(self, body: dict[str, Any]) -> dict[str, Any]:
        """What is not known of Gate, the other way: {"atomic": false}, an unknown name refuses itself alone;
        {"merged": true}, messages of spot have several ids; {"empty": false}, spot has no candles without trades.
        """
        if not body.keys() <= {"atomic", "merged", "empty"}:
            raise ValueError("give atomic, merged or empty")
        self._control.is_atomic = bool(body.get("atomic", self._control.is_atomic))
        self._api.has_empty = bool(body.get("empty", self._api.has_empty))
        for symbol in self._world.market.symbols.values():
            symbol.own.is_merged = bool(body.get("merged", symbol.own.is_merged))
        return body

    def _multiplier(self, body: dict[str, Any]) -> dict[str, Any]:
        """{"symbol": ..., "quanto_multiplier": "0.001"}: a contract becomes another size, and contract_info says so."""
        symbol, size = self._world.market.symbols["linear", str(body["symbol"])], Decimal(body["quanto_multiplier"])
        symbol.truth.fold()
        symbol.instrument = replace(symbol.instrument, contract_size=size)
        symbol.truth.contract_size = size
        count, now_ms = 0, self._world.market.now_ms()
        for stream in symbol.streams["contract"]:
            if isinstance(stream, Contracts) and stream.topic.sessions:
                self._world.hub.publish(stream.topic, stream.text(now_ms))
                count += 1
        return {"quanto_multiplier": str(size), "messages": count}


def _headers(use: Use) -> tuple[tuple[str, str], ...]:
    reset_s = int(time.time() + use.reset_s)
    return (
        ("X-Gate-RateLimit-Limit", str(use.limit)),
        ("X-Gate-RateLimit-Requests-Remain", str(max(0, use.limit - use.used))),
        ("X-Gate-RateLimit-Reset-Timestamp", str(reset_s)),
    )


def open_service(world: World) -> GateService:
    """The service of a simulated Gate."""
    return GateService(world)
