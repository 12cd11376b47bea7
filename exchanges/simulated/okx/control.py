"""OKX's control messages: subscribe and unsubscribe, one answer per arg; the text ping; its limits.

Event loop thread only. Nothing that a client sends raises.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

from ..hub import Session
from ..limits import Window
from ..service import World
from .dialect import class_of

HOUR_S = 3600.0
REQUESTS_AN_HOUR = 480  # subscribe, unsubscribe and login together (trap T8)
ARGS_BYTES = 64 * 1024  # of one request
ID_MOST = 32
INVALID_CODE = 4002  # of closing
NO_SUCH = (
    "{}rong URL or channel:{},{}:{} doesn't exist. "
    "Please use the correct URL, channel and parameters referring to API document."
)
CLOSING = "The connection will soon be closed for a service upgrade. Please reconnect."
OF_TYPES = ("liquidation-orders", "instruments")


class Control:
    """Answers messages of clients. What it keeps of a session is in `session.own`."""

    def __init__(self, world: World) -> None:
        self._world, self._hub = world, world.hub

    def opened(self, session: Session) -> None:
        """Begin to count requests."""
        session.own["requests"] = Window(HOUR_S)

    def handle(self, session: Session, message: str | bytes) -> None:
        """Answer one message."""
        if message == "ping":
            session.push_text("pong")
            return
        text = message if isinstance(message, str) else message.decode(errors="replace")
        try:
            request = json.loads(text)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict) or not _is_id(request.get("id", "")):
            self._error(session, {}, "60012", f"Invalid request: {text[:500]}")
            return
        op, args = request.get("op"), request.get("args")
        if not isinstance(op, str):
            self._error(session, request, "60012", f"Invalid request: {text[:500]}")
        elif op not in ("subscribe", "unsubscribe"):
            self._error(session, request, "60019", f"Invalid op: {op[:500]}")
        elif session.own["requests"].add(time.monotonic()) > REQUESTS_AN_HOUR:
            self._hub.counters["too_frequent"] += 1
            self._error(session, request, "60014", "Requests too frequent")
            session.end(INVALID_CODE, "too frequent")
        elif not isinstance(args, list) or not args or not all(_is_arg(arg) for arg in args):
            self._error(session, request, "60013", "Invalid args")
        elif len(json.dumps(args, separators=(",", ":"), ensure_ascii=False).encode()) > ARGS_BYTES:
            self._error(session, request, "60012", "Invalid request: the args are longer than 64 KB")
        else:
            self._change(session, request, args, is_subscribe=op == "subscribe")

    def notice(self, session: Session) -> str:
        """The notice of a service upgrade (trap T12)."""
        message = {"event": "notice", "code": "64008", "msg": CLOSING, "connId": _conn_of(session)}
        return json.dumps(message, separators=(",", ":"))

    def _change(
        self, session: Session, request: dict[str, Any], args: Sequence[dict[str, Any]], *, is_subscribe: bool
    ) -> None:
        """Each arg by itself: a wrong one costs the others nothing."""
        for arg in args:
            channel = str(arg["channel"])
            key = "instType" if channel in OF_TYPES else "instId"
            name = f"{channel}:{arg.get(key)}"
            known = {"channel": channel, key: arg.get(key)}  # what else an arg has is dropped
            answer = {"event": request["op"], "arg": known, "connId": _conn_of(session)}
            if is_subscribe:
                self._subscribe(session, request, name, arg, answer)
                continue
            if (topic := session.topics.get(name)) is not None:
                self._hub.leave(session, topic)
            self._push(session, request, answer)

    def _subscribe(
        self, session: Session, request: dict[str, Any], name: str, arg: dict[str, Any], answer: dict[str, Any]
    ) -> None:
        """Answer, then send what a new subscriber gets at once; who is subscribed already gets the answer alone."""
        if name in session.topics:
            self._push(session, request, answer)
            return
        channel = str(arg["channel"])
        is_here = class_of(channel) == session.category
        is_meant = channel not in OF_TYPES or "instId" not in arg  # liquidations of one symbol there are none
        topic = self._world.find(session.category, name) if is_here and is_meant else None
        if topic is None:
            key = "instId" if "instId" in arg or channel not in OF_TYPES else "instType"
            begin = "W" if is_here else "Subscribe failed, w"
            self._error(session, request, "60018", NO_SUCH.format(begin, channel, key, arg.get(key, "null")))
            return
        self._hub.join(session, topic)
        first = list(self._world.first(topic))
        if channel.startswith("candle"):  # data may come before its acknowledgement
            for text in first:
                self._hub.snapshot_to(session, topic, text)
            first = []
        self._push(session, request, answer)
        for text in first:
            self._hub.snapshot_to(session, topic, text)

    def _error(self, session: Session, request: dict[str, Any], code: str, text: str) -> None:
        self._hub.counters[f"error_{code}"] += 1
        message = {"event": "error", "msg": text, "code": code, "connId": _conn_of(session)}
        self._push(session, request, message)

    def _push(self, session: Session, request: dict[str, Any], message: dict[str, Any]) -> None:
        """Send an answer, with the id of the request where it had one."""
        echo = {"id": request["id"]} if request.get("id") else {}
        session.push_text(json.dumps({**echo, **message}, separators=(",", ":"), ensure_ascii=False))


def _is_id(value: object) -> bool:
    return isinstance(value, str) and len(value) <= ID_MOST and (value == "" or (value.isascii() and value.isalnum()))


def _is_arg(arg: object) -> bool:
    return isinstance(arg, dict) and isinstance(arg.get("channel"), str)


def _conn_of(session: Session) -> str:
    return session.conn_id.replace("-", "")[:8]
