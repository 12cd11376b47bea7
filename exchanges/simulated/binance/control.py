"""Binance's control messages: SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, and the names in a URL.

Event loop thread only. Nothing that a client sends raises. What does not exist is acknowledged, and stays silent.
"""

import json
import time
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from ..hub import Session, Topic
from ..limits import Window
from ..service import World
from .dialect import NAME

FRAME_BYTES = 4096  # a longer text is dropped without an answer
SPOT_MESSAGES, SPOT_WINDOW_S, POLICY_CODE = 5, 1.0, 1008
TOPICS_MOST = 1024


class Control:
    """Answers messages of clients. What it keeps of a session is in `session.own`."""

    def __init__(self, world: World) -> None:
        self._world, self._hub = world, world.hub

    def opened(self, session: Session, target: str) -> None:
        """Subscribe the streams that a URL names; a raw one gets the data alone, without its stream's name."""
        parts = urlsplit(target)
        session.own["names"], session.own["window"] = {}, Window(SPOT_WINDOW_S)
        _, is_raw, named = f"{parts.path}/".partition("/ws/")
        if is_raw:
            session.reframe = _unwrapped
        else:
            named = parse_qs(parts.query).get("streams", [""])[0]
        for name in named.split("/"):
            if name:
                self._subscribe(session, unquote(name))

    def handle(self, session: Session, message: str | bytes) -> None:
        """Answer one message."""
        text = message if isinstance(message, str) else message.decode(errors="replace")
        if len(text.encode()) > FRAME_BYTES:
            self._hub.counters["dropped_frames"] += 1
            return
        is_spot = any(topic.category == "spot" for topic in session.topics.values())
        if session.own["window"].add(time.monotonic()) > SPOT_MESSAGES and is_spot:
            session.end(POLICY_CODE, "Too many requests")
            return
        try:
            request = json.loads(text)
        except (ValueError, RecursionError):
            self._refuse(session, 3, "Invalid JSON: expected value at line 1 column 1", None)
            return
        method = request.get("method") if isinstance(request, dict) else None
        number = request.get("id") if isinstance(request, dict) else None
        names = request.get("params", []) if isinstance(request, dict) else None
        if method == "LIST_SUBSCRIPTIONS":
            self._push(session, {"result": list(session.own["names"]), "id": number})
        elif method not in ("SUBSCRIBE", "UNSUBSCRIBE") or not isinstance(names, list) or not _are_texts(names):
            self._refuse(session, 2, "Invalid request: unknown variant, or params are no list of texts", number)
        elif session.category != "plain" and not isinstance(number, int):  # futures take integers alone
            self._refuse(session, 2, "Invalid request: request ID must be an unsigned integer", number)
        elif method == "SUBSCRIBE" and len({*session.own["names"], *names}) > TOPICS_MOST:
            self._push(session, {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": number})
        else:
            self._push(session, {"result": None, "id": number})
            for name in names:
                if method == "SUBSCRIBE":
                    self._subscribe(session, name)
                else:
                    self._unsubscribe(session, name)

    def notice(self, session: Session) -> str:
        """Spot announces a restart; futures announce nothing."""
        if session.category != "plain":
            return ""
        data = f'{{"e":"serverShutdown","E":{time.time_ns() // 1_000_000}}}'
        return data if session.reframe else f'{{"stream":"!serverShutdown","data":{data}}}'

    def _subscribe(self, session: Session, name: str) -> None:
        session.own["names"][name] = None
        topic = self._world.find(session.category, name)
        if topic is None:
            self._hub.counters["silent"] += bool(NAME.fullmatch(name))
        elif name not in session.topics:
            self._hub.join(session, topic)
            for text in self._world.first(topic):
                self._hub.snapshot_to(session, topic, text)

    def _unsubscribe(self, session: Session, name: str) -> None:
        session.own["names"].pop(name, None)
        if (topic := session.topics.get(name)) is not None:
            self._hub.leave(session, topic)

    def _refuse(self, session: Session, code: int, text: str, number: object) -> None:
        self._hub.counters[f"error_{code}"] += 1
        error: dict[str, Any] = {"code": code, "msg": text}
        self._push(session, error if session.category == "plain" else {"error": error, "id": number})

    def _push(self, session: Session, message: dict[str, Any]) -> None:
        session.push_text(json.dumps(message, separators=(",", ":"), ensure_ascii=False))


def _unwrapped(_topic: Topic, body: bytes) -> bytes:
    """The data of a combined message."""
    return body[body.index(b'"data":') + len(b'"data":') : -1]


def _are_texts(names: list[object]) -> bool:
    return all(isinstance(name, str) for name in names)
