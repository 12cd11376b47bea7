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
from .dialect import DIALECT, KEYS, V2, kind_of_channel, topic_name

HOUR_S = 3600.0
SUBSCRIBES_AN_HOUR = 240  # requests of a connection
ARGS_BYTES = 4096  # of one request
TOPICS_MOST = 1000  # of a connection
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
        for arg in args:
            known = _known(session, arg)
            product, channel, name, *_ = (*known.values(), "")
            topic = self._world.find(session.category, topic_name(product, channel, name))
            if topic is None and session.category != V2:
                text = json.dumps(known | {"msg": "doesn't exist"})  # v3 has the arg in the text
                self._error(session, code=30001, msg=text, op="subscribe", connId="1")
            elif kind_of_channel(channel) is None and topic is None:
                self._error(session, arg=known, code=30016, msg="Param error", op="subscribe")
            elif topic is None:
                text = f"instType:{product},channel:{channel},instId:{name},precision:null doesn't exist"
                self._error(session, arg=known, code=30001, msg=text, op="subscribe")
            elif topic.name not in session.topics and len(session.topics) >= TOPICS_MOST:
                self._error(session, arg=known, code=30007, msg="request over limit", op="subscribe")
            else:
                self._push(session, {"event": "subscribe", "arg": known})
                if topic.name not in session.topics:
                    self._hub.join(session, topic)
                    first.append((topic, self._world.first(topic)))
        for topic, texts in first:
            for text in texts:
                self._hub.snapshot_to(session, topic, text)

    def _unsubscribe(self, session: Session, args: list[dict[str, Any]]) -> None:
        for arg in args:
            known = _known(session, arg)
            product, channel, name, *_ = (*known.values(), "")
            if (topic := session.topics.get(topic_name(product, channel, name))) is not None:
                self._hub.leave(session, topic)
            self._push(session, {"event": "unsubscribe", "arg": known})

    def _error(self, session: Session, **message: Any) -> None:
        self._hub.counters[f"error_{message['code']}"] += 1
        self._push(session, {"event": "error", **message})

    def _push(self, session: Session, message: dict[str, Any]) -> None:
        session.push_text(json.dumps(message, separators=(",", ":"), ensure_ascii=False))


def _known(session: Session, arg: dict[str, Any]) -> dict[str, str]:
    """What an arg has of what the socket takes; of v2 all of it."""
    keys = KEYS[session.category]
    return {key: str(arg.get(key)) for key in keys if key in arg or key != "symbol"}
