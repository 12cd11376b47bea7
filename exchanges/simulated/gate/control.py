"""Gate's control messages: subscribe and unsubscribe, one answer for all names of a request; pings.

Event loop thread only. Nothing that a client sends raises.
"""

import json
from collections.abc import Sequence
from typing import Any

from ..hub import Session, Topic
from ..service import World
from .dialect import LISTS, STREAMS, parts_of
from .rows import PREFIX, without_decimals

OFF_MOST_S = 60  # that the time of a request may be off
DECIMAL_HEADER = "x-gate-size-decimal"
BAD_FORM, BAD_ARGUMENT = 1, 2
SCHEMA = "request payload does not follow json schema"
CLOSING = "The connection will soon be closed for a service upgrade. Please reconnect."
WORDS = {"candlesticks": (2,), "order_book": (3,), "order_book_update": (2, 3)}  # of one request, lists apart


class Control:
    """Answers messages of clients.

    `is_atomic`: whether one unknown name refuses its whole request, which is not known of Gate; else the others are
    subscribed, and the answer is the error all the same.
    """

    def __init__(self, world: World) -> None:
        self._world, self._hub = world, world.hub
        self._answers = 0
        self.is_atomic = True

    def opened(self, session: Session) -> None:
        """Sizes of futures are integers for clients that did not ask for decimals."""
        if session.category == "linear" and session.headers.get(DECIMAL_HEADER) != "1":
            session.reframe = _without_decimals

    def handle(self, session: Session, message: str | bytes) -> None:
        """Answer one message."""
        try:
            request = json.loads(message)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("channel"), str):
            self._push(session, {"channel": "", "event": ""} | _error(BAD_FORM, "invalid request body format"))
            return
        sent, now_s = request.get("time"), self._world.market.now_ms() // 1000
        prefix, _, short = request["channel"].partition(".")
        if prefix == PREFIX[session.category] and short == "ping":
            self._push(session, {"channel": f"{prefix}.pong", "event": "", "error": None, "result": None})
        elif type(sent) is not int:
            self._refuse(session, request, BAD_FORM, SCHEMA)
        elif abs(sent - now_s) > OFF_MOST_S:
            self._refuse(session, request, BAD_ARGUMENT, "time is not within a minute of the server's")
        elif prefix != PREFIX[session.category] or short not in STREAMS:
            self._refuse(session, request, BAD_ARGUMENT, f"Unknown channel {request['channel']}")
        elif request.get("event") not in ("subscribe", "unsubscribe"):
            self._refuse(session, request, BAD_FORM, f"unknown event {request.get('event')}"[:200])
        elif not self._is_form(short, request.get("payload")):
            self._refuse(session, request, BAD_FORM, SCHEMA)
        else:
            self._change(session, request, short)

    def notice(self, session: Session) -> str:
        """The notice of an upgrade; that spot has it too is not documented."""
        now_ms = self._world.market.now_ms()
        message = {"time": now_ms // 1000, "time_ms": now_ms, "channel": f"{PREFIX[session.category]}.system"}
        return _json(message | {"event": "update", "result": {"type": "upgrade", "msg": CLOSING}})

    def _is_form(self, short: str, payload: object) -> bool:
        if not isinstance(payload, list) or not payload or not all(isinstance(word, str) and word for word in payload):
            return False
        return short in LISTS or len(payload) in WORDS[short]

    def _change(self, session: Session, request: dict[str, Any], short: str) -> None:
        names = _names(request["channel"], short, request["payload"])
        if request["event"] == "unsubscribe":
            for name in names:
                if (left := session.topics.get(name)) is not None:
                    self._hub.leave(session, left)
            self._succeed(session, request)
            return
        joined: list[Topic] = []
        error = ""
        for name in names:
            topic = self._world.find(session.category, name)
            if name in session.topics:
                error = error or (f"Alert sub {name.partition(':')[2]}" if short == "obu" else "")
            elif topic is not None:
                joined.append(topic)
            elif short != "obu":  # of which unknown ones are acknowledged, and silent
                error = error or self._unknown(session, short, name.partition(":")[2])
        if error and self.is_atomic:
            joined = []
        for topic in joined:
            self._hub.join(session, topic)
        if error:
            self._refuse(session, request, BAD_ARGUMENT, error)
        else:
            self._succeed(session, request)
        for topic in joined:
            for text in self._world.first(topic):
                self._hub.snapshot_to(session, topic, text)

    def _unknown(self, session: Session, short: str, of: str) -> str:
        """What an error says of a topic that there is not."""
        if (words := parts_of(session.category, short, of)) is None:
            return f"invalid argument {of}"
        return f"unknown {'currency pair' if session.category == 'spot' else 'contract'} {words[0]}"

    def _succeed(self, session: Session, request: dict[str, Any]) -> None:
        self._push(session, _known(request) | {"result": {"status": "success"}})

    def _refuse(self, session: Session, request: dict[str, Any], code: int, text: str) -> None:
        self._hub.counters[f"error_{code}"] += 1
        self._push(session, _known(request) | _error(code, text))

    def _push(self, session: Session, message: dict[str, Any]) -> None:
        """Send an answer; who sent an id of its own finds it again."""
        now_ms = self._world.market.now_ms()
        self._answers += 1
        head: dict[str, Any] = {"time": now_ms // 1000, "time_ms": now_ms}
        if "id" in message:
            head["id"] = message["id"]
        session.push_text(_json(head | {"conn_id": session.conn_id[:8], "trace_id": f"{self._answers:032x}"} | message))


def _names(channel: str, short: str, payload: Sequence[str]) -> list[str]:
    """The topics of a request."""
    if short in LISTS:
        return list(dict.fromkeys(f"{channel}:{word}" for word in payload))
    return [f"{channel}:{','.join(payload)}"]


def _known(request: dict[str, Any]) -> dict[str, Any]:
    known = {name: request[name] for name in ("id", "channel", "event", "payload") if name in request}
    return {"event": ""} | known


def _error(code: int, text: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": text}, "result": {"status": "fail"}}


def _without_decimals(_topic: Topic, body: bytes) -> bytes:
    return without_decimals(body)


def _json(message: object) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)
