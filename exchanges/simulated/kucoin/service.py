"""KuCoin's answers: tokens before a dial, the control messages of its sockets, REST with a weight for each request.

Event loop thread only. Commands of its own:

POST /sim/expire_tokens {} all tokens that were given expire; who dials with one is told so on the socket, and cut
POST /sim/assume        {"spoils": true, "topics": 300, "alphabetical": true} what is not known, see control.Control
"""

import json
import secrets
import time
from typing import Any
from urllib.parse import parse_qsl

from ..hub import Session
from ..limits import Use, Weights
from ..rest import Answer, Request
from ..rest_faults import RestFaults
from ..service import Usual, World
from .control import Control
from .market_api import MarketApi, Refused, Text

TOKEN_PATH, TOKEN_WEIGHT, TOKEN_LIFE_S = "/api/v1/bullet-public", 10, 86_400.0
WEIGHT, WINDOW_S = 2000, 30.0
TOO_MANY = ("429000", "Too many requests in a short period of time, please retry later")
HTTP_STATUSES = (403, 451, 503)


class KucoinService(Usual):
    """See exchanges.simulated.service.Service."""

    kinds = ("trades", "orderbook", "ticker")

    def __init__(self, world: World) -> None:
        self._control, self._api, self._world = Control(world), MarketApi(world.market), world
        self.faults = RestFaults(world.market.now_ms, prefix="/api/")
        self.handle = self._control.handle
        self.commands = {"expire_tokens": self._expire, "assume": self._assume}
        self._tokens: dict[str, float] = {}  # until when each is good, on a monotonic clock
        self._weights = Weights(WEIGHT, WINDOW_S)
        self._refused = (0.0, 0)  # until when, with what

    def tick(self) -> None:
        """See control.py."""
        self._control.tick()

    # the sockets

    def refusal(self, target: str) -> tuple[int, str] | None:
        """A dial needs a token that was given once."""
        return None if _token_of(target) in self._tokens else (401, "token is invalid\n")

    def opened(self, session: Session, target: str) -> None:
        """Welcome; an expired token is told of on the socket."""
        if self._tokens.get(_token_of(target), 0.0) > time.monotonic():
            self._control.opened(session, target)
            return
        error = {"id": session.conn_id, "type": "error", "code": 401, "data": "token is expired"}
        session.push_text(json.dumps(error, separators=(",", ":")))
        session.end(1000, "Bye")

    def _expire(self, _body: dict[str, Any]) -> dict[str, int]:
        self._tokens = dict.fromkeys(self._tokens, 0.0)
        return {"expired": len(self._tokens)}

    def _assume(self, body: dict[str, Any]) -> dict[str, Any]:
        if not body.keys() <= {"spoils", "topics", "alphabetical"}:
            raise ValueError("give spoils, topics or alphabetical")
        control = self._control
        control.spoils = bool(body.get("spoils", control.spoils))
        control.topics_most = int(body.get("topics", control.topics_most))
        control.is_alphabetical = bool(body.get("alphabetical", control.is_alphabetical))
        return body

    def _bullet(self) -> dict[str, Any]:
        """A token and where to dial with it."""
        token = secrets.token_urlsafe(48)
        self._tokens[token] = time.monotonic() + TOKEN_LIFE_S
        endpoint = f"{self._world.ws_base()}/"
        server = {"endpoint": endpoint, "encrypt": endpoint.startswith("wss"), "protocol": "websocket"}
        server |= {"pingInterval": self._control.ping_ms, "pingTimeout": self._control.pong_ms}
        return {"token": token, "instanceServers": [server]}

    # REST

    def refuse_rest(self, seconds: float, code: int) -> dict[str, Any]:
        """Refuse all of REST for a while: an HTTP status, or 429 (the usual one): an overload, without a reset."""
        if code not in (0, 429, 429000, *HTTP_STATUSES):
            raise ValueError(f"with {code}: 429, or an HTTP status of {', '.join(map(str, HTTP_STATUSES))}")
        self._refused = (time.monotonic() + seconds, code)
        return {"s": seconds, "with": code or 429}

    def answer(self, request: Request) -> Answer:
        """Answer one request, or say how its answer fails to arrive."""
        until_s, code = self._refused
        if time.monotonic() < until_s:
            if code in HTTP_STATUSES:
                return Answer(code, "refused", content_type="text/html")
            return _refusal(*TOO_MANY, 429)
        return self.faults.answer(request, lambda: self._work(request))

    def _work(self, request: Request) -> Answer:
        is_token = request.path == TOKEN_PATH
        endpoint = self._api.endpoints.get(request.path)
        if not is_token and endpoint is None:
            return _refusal("404000", "Url Not Found", 404)
        if request.method != ("POST" if is_token else "GET"):
            return _refusal("405000", f"Request method '{request.method}' not supported", 200)
        weight = TOKEN_WEIGHT if endpoint is None else endpoint.weight
        use = self._weights.take(request.client_ip, weight, time.time(), self._world.options.rest_limit)
        if use.is_over:
            self._world.hub.counters["rest_too_many"] += 1
            return _refusal(*TOO_MANY, 429)._replace(headers=_headers(use))
        try:
            data = self._bullet() if endpoint is None else endpoint.work(request.query)
        except Refused as error:
            return _refusal(error.code, error.text, error.status)._replace(headers=_headers(use))
        if isinstance(data, Text):
            return Answer(200, f'{{"code":"200000","data":{data}}}', _headers(use))
        return Answer(200, {"code": "200000", "data": data}, _headers(use))


def _token_of(target: str) -> str:
    return dict(parse_qsl(target.partition("?")[2])).get("token", "")


def _headers(use: Use) -> tuple[tuple[str, str], ...]:
    return (
        ("gw-ratelimit-limit", str(use.limit)),
        ("gw-ratelimit-remaining", str(max(0, use.limit - use.used))),
        ("gw-ratelimit-reset", str(int(use.reset_s * 1000) + 1)),
    )


def _refusal(code: str, text: str, status: int) -> Answer:
    return Answer(status, {"msg": text, "code": code})


def open_service(world: World) -> KucoinService:
    """The service of a simulated KuCoin."""
    return KucoinService(world)
