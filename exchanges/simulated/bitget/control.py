"""Bitget's control messages: subscribe and unsubscribe, one answer per arg; the text ping; its limits.

Event loop thread only. Nothing that a client sends raises.
"""

import json
import time
from collections.abc import Iterable
from typing import Any

from ..hub import Session, Topic
from ..limits import Window
from ..service import World
from .dialect import DIALECT, kind_of_channel

HOUR_S = 3600.0
SUBSCRIBES_AN_HOUR = 240  # requests of a connection
ARGS_BYTES = 4096  # of one request
TOPICS_MOST = 1000  # of a connection
KEYS = {"v2": ("instType", "channel", "instId"), "v3": ("instType", "topic")}  # of an arg; what else it has is dropped
TOO_MANY = {"code": 30006, "msg": "request too many"}


class Control:
    """Answers messages of clients. What it keeps of a session is in `session.own`."""

    def __init__(self, world: World) -> None:
        self._world, self._hub = world, world.hub

    def opened(self, session: Session) -> None:
        """Begin to count messages and requests."""
        session.own |= {"subscribes": Window(HOUR_S), "messages": Window(DIALECT.limits.messages_window_s)}

    def handle(self, session: Session, message: str | bytes) -> None:
        """Answer one message; the eleventh of a second with an error, after which the connection ends (server.py)."""
        now_s = time.monotonic()
        if session.own["messages"].add(now_s) > DIALECT.limits.messages_per_s:
            self._error(session, **TOO_MANY)
            return
        if message == "ping":
            session.push_text("pong")
            return
        try:
            request = json.loads(message)
        except (ValueError, RecursionError):
            request = None
        op, args = (request.get("op"), request.get("args")) if isinstance(request, dict) else (None, None)
        if op not in ("subscribe", "unsubscribe"):
            self._error(session, code=30003, msg="Invalid op")
        elif not isinstance(args, list) or not args or not all(isinstance(arg, dict) for arg in args):
            self._error(session, code=30016, msg="Param error", op=op)
        elif len(json.dumps(args, separators=(",", ":"), ensure_ascii=False).encode()) > ARGS_BYTES:
            self._error(session, **TOO_MANY)
        elif op == "unsubscribe":
            self._unsubscribe(session, args)
        elif session.own["subscribes"].add(now_s) > SUBSCRIBES_AN_HOUR:
            self._error(session, **TOO_MANY)
        else:
            self._subscribe(session, args)

    def _subscribe(self, session: Session, args: list[dict[str, Any]]) -> None:
        """Answer each arg by itself, then send what new subscribers get at once, after all answers."""
        first: list[tuple[Topic, Iterable[str]]] = []
        for known, name in _topics_of(session, args):
            topic = self._world.find(session.category, name)
            if topic is None:
                self._refuse(session, known)
            elif name not in session.topics and len(session.topics) >= TOPICS_MOST:
                self._error(session, arg=known, code=30007, msg="request over limit", op="subscribe")
            else:
                self._push(session, {"event": "subscribe", "arg": known})
                if name not in session.topics:
                    self._hub.join(session, topic)
                    first.append((topic, self._world.first(topic)))
        for topic, texts in first:
            for text in texts:
                self._hub.snapshot_to(session, topic, text)

    def _refuse(self, session: Session, arg: dict[str, str]) -> None:
        """v3 names the arg in the text alone."""
        if session.category == "v3":
            text = json.dumps(arg | {"msg": "doesn't exist"})
            self._error(session, code=30001, msg=text, op="subscribe", connId=session.conn_id)
        elif kind_of_channel(arg["channel"]) is None:
            self._error(session, arg=arg, code=30016, msg="Param error", op="subscribe")
        else:
            named = ",".join(f"{key}:{value}" for key, value in arg.items())
            self._error(session, arg=arg, code=30001, msg=f"{named},precision:null doesn't exist", op="subscribe")

    def _unsubscribe(self, session: Session, args: list[dict[str, Any]]) -> None:
        for known, name in _topics_of(session, args):
            if (topic := session.topics.get(name)) is not None:
                self._hub.leave(session, topic)
            self._push(session, {"event": "unsubscribe", "arg": known})

    def _error(self, session: Session, **message: Any) -> None:
        self._hub.counters[f"error_{message['code']}"] += 1
        self._push(session, {"event": "error", **message})

    def _push(self, session: Session, message: dict[str, Any]) -> None:
        session.push_text(json.dumps(message, separators=(",", ":"), ensure_ascii=False))


def _topics_of(session: Session, args: list[dict[str, Any]]) -> list[tuple[dict[str, str], str]]:
    """The args as they are answered, and the names of their topics."""
    known = [{key: str(arg.get(key)) for key in KEYS[session.category]} for arg in args]
    return [(each, ":".join(each.values())) for each in known]
