"""Binance's control messages: subscribe, unsubscribe, list; names in the URL; its limits.

Event loop thread only. Nothing that a client sends raises. A request is judged by its syntax alone: a stream that does
not exist, or not on this path, is acknowledged and silent (traps T1, T2).
"""

import json
import time
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, unquote

from ..hub import Session, Topic
from ..service import World
from .dialect import DIALECT
from .rows import inner

MESSAGE_BYTES = 4096  # a longer request is dropped (trap T3)
STREAMS_MOST = 1024
ID_MOST, ID_CHARACTERS = 1 << 63, 36
LOOK_S = 1.0
SPOT_LIMITS = replace(DIALECT.limits, messages_per_s=5, ping_every_s=20.0, pong_within_s=60.0)
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
UNKNOWN_PROPERTY, INVALID_VALUE, INVALID_REQUEST, INVALID_JSON, TOO_MANY = range(5)  # codes of errors


class Control:
    """Answers messages of clients. `session.own["names"]` are all streams that it asked for, those that exist or not.

    A connection on /stream or /ws is one of spot until it names a stream of COIN-M.
    """

    def __init__(self, world: World) -> None:
        self._world, self._hub = world, world.hub
        self._next_look_s = 0.0

    def opened(self, session: Session, target: str) -> None:
        """Subscribe to the streams that the URL names."""
        path, _, query = target.partition("?")
        session.own["names"] = {}
        if "/" not in session.category:
            session.limits = SPOT_LIMITS
        is_combined = session.category.endswith("stream")
        self._frame(session, is_combined=is_combined)
        named = parse_qs(query).get("streams", [""])[0] if is_combined else unquote(path.partition("/ws/")[2])
        for name in named.split("/"):
            if name:
                self._subscribe(session, name)

    def handle(self, session: Session, message: str | bytes) -> None:
        """Answer one message."""
        text = message if isinstance(message, str) else message.decode(errors="replace")
        if len(text.encode()) > MESSAGE_BYTES:
            self._hub.counters["dropped_long"] += 1
            return
        try:
            request = json.loads(text)
        except (ValueError, RecursionError):
            self._error(session, None, INVALID_JSON, "Invalid JSON: expected value at line 1 column 1")
            return
        if not isinstance(request, dict):
            self._error(session, None, INVALID_REQUEST, "Invalid request: request must be an object")
        elif not _is_id(request.get("id")):
            self._error(session, None, INVALID_REQUEST, "Invalid request: request ID must be an integer")
        elif (method := request.get("method")) not in METHODS:
            unknown = f"unknown variant `{method}`, expected one of {', '.join(METHODS)}"
            why = unknown if "method" in request else "missing field `method`"
            self._error(session, request, INVALID_REQUEST, f"Invalid request: {why}")
        elif method == "LIST_SUBSCRIPTIONS":
            self._answer(session, request, list(session.own["names"]))
        elif not isinstance(params := request.get("params"), list) or not params:
            self._error(session, request, INVALID_REQUEST, "Invalid request: missing field `params`")
        elif method.endswith("PROPERTY"):
            self._property(session, request, params, is_set=method == "SET_PROPERTY")
        elif not all(isinstance(name, str) for name in params):
            self._error(session, request, INVALID_VALUE, "Invalid value type: expected a string")
        else:
            self._change(session, request, params, is_subscribe=method == "SUBSCRIBE")

    def notice(self, session: Session) -> str:
        """What spot says before it restarts; futures say nothing."""
        if session.limits is not SPOT_LIMITS:
            return ""
        event = f'{{"e":"serverShutdown","E":{self._world.market.now_ms()}}}'
        return event if session.reframe else f'{{"stream":"!serverShutdown","data":{event}}}'

    def tick(self) -> None:
        """Once a second, join the streams that exist by now to those who asked for them earlier."""
        if (now_s := time.monotonic()) < self._next_look_s:
            return
        self._next_look_s = now_s + LOOK_S
        for session in self._hub.sessions:
            names = session.own.get("names", {})
            if len(names) > len(session.topics):
                for name in names:
                    self._join(session, name)

    def _change(self, session: Session, request: dict[str, Any], names: list[str], *, is_subscribe: bool) -> None:
        if is_subscribe:
            if len({*session.own["names"], *names}) > STREAMS_MOST:
                self._error(session, request, TOO_MANY, "Too many subscriptions")
                return
            self._answer(session, request, None)
            for name in names:
                self._subscribe(session, name)
            return
        for name in names:
            session.own["names"].pop(name, None)
            if (topic := session.topics.get(name)) is not None:
                self._hub.leave(session, topic)
        self._answer(session, request, None)

    def _subscribe(self, session: Session, name: str) -> None:
        session.own["names"][name] = None
        self._join(session, name)

    def _join(self, session: Session, name: str) -> None:
        if name in session.topics:
            return
        topic = self._world.find(session.category, name)
        if topic is None:
            return
        if topic.category == "inverse":
            session.limits = None
        self._hub.join(session, topic)
        for text in self._world.first(topic):
            self._hub.snapshot_to(session, topic, text)

    def _property(self, session: Session, request: dict[str, Any], params: list[Any], *, is_set: bool) -> None:
        if params[0] != "combined":
            self._error(session, request, UNKNOWN_PROPERTY, "Unknown property")
        elif not is_set:
            self._answer(session, request, session.reframe is None)
        elif len(params) != 2 or not isinstance(params[1], bool):
            self._error(session, request, INVALID_VALUE, "Invalid value type: expected Boolean")
        else:
            self._frame(session, is_combined=params[1])
            self._answer(session, request, None)

    def _frame(self, session: Session, *, is_combined: bool) -> None:
        session.reframe = None if is_combined else _raw

    def _error(self, session: Session, request: dict[str, Any] | None, code: int, text: str) -> None:
        """In the shape of spot, or in that of futures."""
        self._hub.counters[f"error_{code}"] += 1
        error: dict[str, Any] = {"code": code, "msg": text}
        if session.limits is not SPOT_LIMITS or code == TOO_MANY:
            error = {"error": error, **({} if request is None else {"id": request.get("id")})}
        session.push_text(_json(error))

    def _answer(self, session: Session, request: dict[str, Any], result: object) -> None:
        session.push_text(_json({"result": result, "id": request.get("id")}))


def _raw(_topic: Topic, body: bytes) -> bytes:
    return inner(body)


def _json(message: object) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)


def _is_id(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= ID_CHARACTERS
    return value is None or (type(value) is int and -ID_MOST <= value < ID_MOST)
