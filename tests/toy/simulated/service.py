"""Toy's answers: tokens, a welcome, pings as texts, one topic a request; REST, newest first. Event loop thread only."""

import json
import time
import uuid
from typing import Any
from urllib.parse import parse_qs, urlsplit

from exchanges.simulated.frames import gzip_frame
from exchanges.simulated.hub import Session
from exchanges.simulated.klines import Klines
from exchanges.simulated.rest import Answer, Request
from exchanges.simulated.rest_faults import RestFaults
from exchanges.simulated.service import Usual, World
from exchanges.simulated.symbol_market import SymbolMarket

from .dialect import DIALECT

PING_EVERY_S = 0.5
FAR_MS = 1 << 52
UNKNOWN = Answer(400, {"code": 1, "msg": "no such symbol"})


class ToyService(Usual):
    """See exchanges.simulated.service.Service."""

    def __init__(self, world: World) -> None:
        self._world, self._klines, self._tokens = world, Klines(), set[str]()
        self.faults = RestFaults(world.market.now_ms, prefix="/")
        self._pinged_s = 0.0
        self._idle_s = world.options.idle_timeout_s or DIALECT.limits.idle_s

    def opened(self, session: Session, target: str) -> None:
        """Welcome who has a token that nobody has used; all is gzip from here on."""
        session.wrap = gzip_frame
        session.own["pong_s"] = time.monotonic()
        (token,) = parse_qs(urlsplit(target).query).get("token", [""])
        if token not in self._tokens:
            session.end(4001, "no token")
            return
        self._tokens.remove(token)
        session.push_text('{"welcome":true}')

    def handle(self, session: Session, message: str | bytes) -> None:
        """Take a pong, or answer one request of one topic; a topic that is not there is acknowledged."""
        if message == "Pong":
            session.own["pong_s"] = time.monotonic()
            return
        try:
            request = json.loads(message)
            req_id, op, name = request["id"], request["op"], str(request["topic"])
        except (ValueError, RecursionError, KeyError, TypeError):
            session.push_text('{"id":"","code":2,"msg":"what?"}')
            return
        topic = session.topics.get(name) or self._world.find(session.category, name)
        if op == "unsub" and topic is not None:
            self._world.hub.leave(session, topic)
        session.push_text(json.dumps({"id": req_id, "op": op, "code": 0}))
        if op == "sub" and topic is not None and name not in session.topics:
            self._world.hub.join(session, topic)
            for text in self._world.first(topic):
                self._world.hub.snapshot_to(session, topic, text)

    def tick(self) -> None:
        """Ping all, and end those that have not answered for too long."""
        if (now_s := time.monotonic()) - self._pinged_s < PING_EVERY_S:
            return
        self._pinged_s = now_s
        for session in self._world.hub.sessions:
            session.push_text("Ping")
            if now_s - session.own["pong_s"] > self._idle_s and session.ending is None:
                session.end(1000, "no pong")

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        return self.faults.answer(request, lambda: self._work(request))

    def refuse_rest(self, seconds: float, code: int) -> dict[str, Any]:
        """Is not simulated."""
        raise ValueError(f"cannot refuse for {seconds} s with {code}")

    def _work(self, request: Request) -> Answer:
        if (request.method, request.path) == ("POST", "/token"):
            self._tokens.add(token := uuid.uuid4().hex)
            return Answer(200, {"token": token})
        market, query = self._world.market, request.query
        if request.path == "/time":
            return Answer(200, market.now_ms())
        if request.path == "/symbols":
            return Answer(200, [_listed(symbol) for symbol in market.symbols.values()])
        symbol = market.symbols.get(("spot", query.get("symbol", "")))
        if symbol is None:
            return UNKNOWN
        limit = int(query["limit"])
        if request.path == "/trades":
            found = list(symbol.recent)[-limit:][::-1]
            return Answer(200, [{"p": trade.price, "q": trade.size, "T": trade.event_ms} for trade in found])
        interval, end_ms = DIALECT.intervals[query["step"]], min(int(query["end"]), market.now_ms())
        return Answer(200, self._klines.rows(symbol, interval, None, end_ms, limit, market.now_ms()))


def _listed(symbol: SymbolMarket) -> dict[str, str]:
    each = symbol.instrument
    return {"symbol": each.symbol, "base": each.base, "quote": each.quote, "turnover": symbol.turnover_text()}


def open_service(world: World) -> ToyService:
    """The service of a simulated Toy."""
    return ToyService(world)
