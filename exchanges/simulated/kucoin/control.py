"""KuCoin's control messages: welcome, ping and pong by id, lists of symbols with one answer, errors, what it bears.

Event loop thread only. Nothing that a client sends raises.
"""

import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from ..hub import Session, Topic
from ..limits import Window
from ..service import World
from .names import CHANNELS

TOPICS_MOST = 300  # of a session; one that is acknowledged and silent counts
LIST_MOST = 100  # symbols of a request
MESSAGES, WINDOW_S = 100, 10.0
PING_MS, PONG_MS, SILENT_S = 18_000, 10_000, 60.0  # as the answer with the token names them; when a client is cut
LOOK_S = 0.1


class Control:
    """Answers messages of clients. What it keeps of a session is in `session.own`.

    Of what is not known of KuCoin: `topics_most` of a session, `spoils`: whether an unknown symbol refuses its list in
    spot, `is_alphabetical`: whether the fields of data come in the order of 2021, on connections from now on.
    """

    def __init__(self, world: World) -> None:
        self._world, self._hub = world, world.hub
        self.topics_most, self.spoils, self.is_alphabetical = TOPICS_MOST, False, False
        self._idle_s = world.options.idle_timeout_s or SILENT_S
        self.ping_ms = round(PING_MS * self._idle_s / SILENT_S)  # all three in one proportion
        self.pong_ms = round(PONG_MS * self._idle_s / SILENT_S)
        self._next_look_s = 0.0

    def opened(self, session: Session, target: str) -> None:
        """Welcome a client, by its own id."""
        connect_id = dict(parse_qsl(target.partition("?")[2])).get("connectId") or session.conn_id
        session.own |= {"messages": Window(WINDOW_S), "silent": set(), "heard_s": time.monotonic()}
        session.reframe = _alphabetical if self.is_alphabetical else None
        self._push(session, {"id": connect_id, "type": "welcome"})

    def handle(self, session: Session, message: str | bytes) -> None:
        """Answer one message."""
        session.own["heard_s"] = now_s = time.monotonic()
        if session.own.pop("is_given_up", False):
            session.is_muted = False
        try:
            request = json.loads(message)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            self._error(session, "", 400, "message is invalid")
            return
        given = request.get("id", "")
        of = str(given) if isinstance(given, str | int) else ""
        if session.own["messages"].add(now_s) > MESSAGES:
            self._error(session, of, 509, "exceed max permits per second")
        elif request.get("type") == "ping":
            self._push(session, {"id": of, "type": "pong", "timestamp": time.time_ns() // 1000})
        elif request.get("type") in ("subscribe", "unsubscribe"):
            self._change(session, request, of)
        else:
            self._error(session, of, 415, "type is invalid")

    def tick(self) -> None:
        """Give up who does not ping: at first nothing comes any more, then the connection ends."""
        if (now_s := time.monotonic()) < self._next_look_s:
            return
        self._next_look_s = now_s + LOOK_S
        for session in self._hub.sessions:
            silent_s = now_s - session.own.get("heard_s", now_s)
            if silent_s > self._idle_s - 2 * LOOK_S and session.ending is None:
                self._hub.counters["idle_closed"] += 1
                self._error(session, "", 400, "ping timeout")
                session.own["heard_s"] = now_s
                session.end(1000, "Bye")
            elif silent_s * 1000 > self.ping_ms + self.pong_ms and not session.is_muted:
                self._hub.counters["given_up"] += 1
                session.is_muted = session.own["is_given_up"] = True

    def _change(self, session: Session, request: dict[str, Any], of: str) -> None:
        """One answer for the whole list."""
        topic = request.get("topic")
        if not isinstance(topic, str) or not topic:
            self._error(session, of, 406, "topic is required")
            return
        channel, _, names = topic.partition(":")
        symbols = [name for name in names.split(",") if name]
        if request.get("privateChannel") is True:
            self._error(session, of, 403, "login is required")
        elif channel not in CHANNELS or not symbols:
            self._error(session, of, 404, f"topic {topic} is not found")
        elif len(symbols) > LIST_MOST:
            self._error(session, of, 509, f"exceed max subscription count limitation of {LIST_MOST} per time")
        elif request["type"] == "unsubscribe":
            self._unsubscribe(session, [f"{channel}:{symbol}" for symbol in symbols])
            self._ack(session, request, of)
        else:
            self._subscribe(session, request, of, [f"{channel}:{symbol}" for symbol in symbols])

    def _subscribe(self, session: Session, request: dict[str, Any], of: str, names: Sequence[str]) -> None:
        """Acknowledge all, the unknown ones too: of them nothing comes."""
        silent: set[str] = session.own["silent"]
        new = [name for name in dict.fromkeys(names) if name not in session.topics]
        if len(session.topics) + len(silent.union(new)) > self.topics_most:
            text = f"exceed max subscription count limitation of {self.topics_most} per session"
            self._error(session, of, 509, text)
            return
        found = {name: self._world.find(session.category, name) for name in new}
        if self.spoils and None in found.values() and names[0].startswith(("/market", "/spotMarket")):
            self._error(session, of, 404, f"topic {request['topic']} is not found")
            return
        self._ack(session, request, of)
        for name, topic in found.items():
            if topic is None:
                self._hub.counters["acknowledged_unknown"] += name not in silent
                silent.add(name)
                continue
            silent.discard(name)
            self._hub.join(session, topic)
            for text in self._world.first(topic):
                self._hub.snapshot_to(session, topic, text)

    def _unsubscribe(self, session: Session, names: Sequence[str]) -> None:
        for name in names:
            session.own["silent"].discard(name)
            if (topic := session.topics.get(name)) is not None:
                self._hub.leave(session, topic)

    def _ack(self, session: Session, request: dict[str, Any], of: str) -> None:
        """Acknowledge, where that was asked for."""
        if request.get("response") is True:
            self._push(session, {"id": of, "type": "ack"})

    def _error(self, session: Session, of: str, code: int, text: str) -> None:
        self._hub.counters[f"error_{code}"] += 1
        self._push(session, {"code": code, "data": text, "id": of, "type": "error"})

    def _push(self, session: Session, message: dict[str, Any]) -> None:
        session.push_text(json.dumps(message, separators=(",", ":"), ensure_ascii=False))


def _alphabetical(_topic: Topic, body: bytes) -> bytes:
    return json.dumps(json.loads(body), separators=(",", ":"), sort_keys=True).encode()
