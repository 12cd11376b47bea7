"""The private stream: auth, order, execution, position, wallet (BYBIT_V5.md section 5).

Event loop thread only. Serves sessions of the category "private"; each gets messages of its own UID alone.
"""

import json
import uuid
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from ..hub import Hub, Session
from .accounts import Account
from .auth import AuthError, Keys

SPLIT = ("linear", "inverse", "spot", "option")
STANDING = ("order", "execution", "execution.fast", "position", "wallet", "greeks", "spread.order", "spread.execution")
TOPICS = (
    *STANDING,
    *(f"{name}.{category}" for name in ("order", "execution", "execution.fast", "position") for category in SPLIT),
    *(f"dcp.{kind}" for kind in ("future", "spot", "option")),
)
AUTH_FAULTS = ("refuse", "silent")


class AuthFaults:
    """The faults of the next auth frames of "private" and "trade"."""

    def __init__(self) -> None:
        self._next: dict[str, deque[str]] = {"private": deque(), "trade": deque()}

    def add(self, channel: str, what: str, count: int) -> None:
        """Add a fault; ValueError for one that does not exist."""
        if what not in AUTH_FAULTS or channel not in self._next:
            raise ValueError(f"channel: private or trade; with: {', '.join(AUTH_FAULTS)}")
        self._next[channel].extend([what] * count)

    def take(self, channel: str) -> str:
        """Take the next fault of a channel; empty for none."""
        return self._next[channel].popleft() if self._next[channel] else ""


class PrivateStream:
    """Answers control frames and pushes account messages. Counts pushes by topic in `pushed`."""

    def __init__(self, hub: Hub, keys: Keys, faults: AuthFaults, now_ms: Callable[[], int]) -> None:
        self._hub, self._keys, self._faults, self._now_ms = hub, keys, faults, now_ms
        self.pushed: Counter[str] = Counter()

    # control frames

    def handle(self, session: Session, message: str | bytes) -> None:
        """Answer one message of a client; nothing a client sends raises."""
        request = read_frame(message)
        op, req_id = str(request.get("op", "")), request.get("req_id")
        if op == "ping":
            self._hub.counters["pings"] += 1
            pong = {"op": "pong", "args": [str(self._now_ms())], "conn_id": session.conn_id}
            send(session, {"req_id": req_id, **pong} if req_id is not None else pong)
        elif op == "auth":
            self._auth(session, request.get("args"), req_id)
        elif op not in ("subscribe", "unsubscribe"):
            self._answer(session, op, req_id, f"error:unknown op,op:{op[:40]}")
        elif session.uid is None:
            self._answer(session, op, req_id, "Request not authorized")
        else:
            self._subscription(session, op, req_id, request.get("args"))

    def _answer(self, session: Session, op: str, req_id: Any, objection: str = "") -> None:
        answer = {"success": not objection, "ret_msg": objection, "op": op, "conn_id": session.conn_id}
        send(session, {"req_id": req_id, **answer} if req_id is not None else answer)

    def _auth(self, session: Session, args: Any, req_id: Any) -> None:
        fault = self._faults.take("private")
        if fault:
            self._hub.counters["auth_refused"] += 1
            if fault == "refuse":
                self._answer(session, "auth", req_id, "API key is invalid.")
            return
        _, message = authenticate(self._hub, self._keys, session, args, self._now_ms())
        self._answer(session, "auth", req_id, message)

    def _subscription(self, session: Session, op: str, req_id: Any, args: Any) -> None:
        names = args if isinstance(args, list) and args else [""]
        held = session.private_topics
        for name in names:
            if name not in TOPICS:
                self._answer(session, op, req_id, f"error:handler not found,topic:{name}")
                return
            if op == "subscribe" and name in held:
                self._answer(session, op, req_id, f"error:already subscribed,topic:{name}")
                return
        if op == "subscribe" and len({_is_split(name) for name in names if name != "wallet"}) > 1:
            self._answer(session, op, req_id, "error:all-in-one and categorised topics must not be mixed")
            return
        if op == "subscribe":
            held.extend(names)
        else:
            session.private_topics = [name for name in held if name not in names]
        self._hub.counters[f"{op}_accepted"] += 1
        self._answer(session, op, req_id)

    # pushes

    def push(self, account: Account, topic: str, category: str, make: Callable[[], dict[str, Any]]) -> None:
        """Send a message to every session of a UID that subscribed the topic, under its subscribed name."""
        text: dict[str, str] = {}
        wanted = (topic, f"{topic}.{category}")
        for session in self._hub.sessions:
            for name in session.private_topics if session.uid == account.uid and not session.is_muted else ():
                if name in wanted:
                    text[name] = text.get(name) or self._message(account, name, make())
                    session.push_text(text[name])
                    self.pushed[name] += 1

    def _message(self, account: Account, topic: str, row: dict[str, Any]) -> str:
        now_ms = self._now_ms()
        head: dict[str, Any] = {"topic": topic, "creationTime": now_ms}
        if not topic.startswith("execution.fast"):
            head = {"id": f"{account.uid}{uuid.uuid4()}", **head}
        return json.dumps({**head, "data": [row]}, separators=(",", ":"))


def _is_split(name: str) -> bool:
    return name.rpartition(".")[2] in SPLIT


def authenticate(hub: Hub, keys: Keys, session: Session, args: Any, now_ms: int) -> tuple[int, str]:
    """Check an auth frame's args and count it; 0 and "" where the session has a UID now, else the refusal."""
    try:
        session.uid = keys.check_socket(args, now_ms).uid
    except AuthError as error:
        hub.counters["auth_refused"] += 1
        return error.code, error.message
    hub.counters["auth_accepted"] += 1
    return 0, ""


def read_frame(message: str | bytes) -> dict[str, Any]:
    """Decode a frame; {} for what is no JSON object."""
    try:
        request = json.loads(message)
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}


def send(session: Session, answer: dict[str, Any]) -> None:
    """Queue one answer."""
    session.push_text(json.dumps(answer, separators=(",", ":")))
