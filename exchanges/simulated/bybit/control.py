"""Control frames of the public sockets: subscribe, unsubscribe, ping, and their answers (BYBIT_V5.md section 3).

Pure: reads text, changes the hub's subscriptions, queues answers. A batch is applied whole or not at all (trap T2).
Answers differ per category; their key order is as recorded.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from ..hub import Hub, Session, Topic
from .topics import MAX_ARGS_CHARACTERS, MAX_ARGS_OPTION, MAX_ARGS_SPOT, args_characters

FindTopic = Callable[[str, str], Topic | None]
Snapshots = Callable[[Topic], Iterable[str]]


class Control:
    """Answers control frames. `find` names a listed topic or None, `snapshots` gives what a new subscriber gets."""

    def __init__(self, hub: Hub, find: FindTopic, snapshots: Snapshots, clock_ms: Callable[[], int]) -> None:
        self._hub, self._find, self._snapshots, self._clock_ms = hub, find, snapshots, clock_ms

    def handle(self, session: Session, message: str | bytes) -> None:
        """Answer one message of a client; nothing a client sends raises."""
        try:
            request = json.loads(message)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            self._refuse(session, "", None, "error:request is not a JSON object", [])
            return
        op, req_id = str(request.get("op", "")), _req_id(request)
        if op == "ping":
            self._hub.counters["pings"] += 1
            session.push_text(pong(session.category, session.conn_id, req_id, self._clock_ms()))
        elif op in ("subscribe", "unsubscribe"):
            self._command(session, op, req_id, request.get("args"))
        else:
            self._refuse(session, op, req_id, f"error:unknown op,op:{op[:40]}", [])

    def _command(self, session: Session, op: str, req_id: str | None, args: object) -> None:
        if not isinstance(args, list) or not args or not all(isinstance(arg, str) for arg in args):
            self._refuse(session, op, req_id, "error:args must be a list of topics", [])
        elif op == "subscribe":
            self._subscribe(session, req_id, args)
        else:
            self._unsubscribe(session, req_id, args)

    def _subscribe(self, session: Session, req_id: str | None, names: list[str]) -> None:
        objection = self._limit_broken(session, names)
        topics: list[Topic] = []
        for name in names if objection is None else ():
            topic = self._find(session.category, name)
            if topic is None:
                objection = f"error:handler not found,topic:{name}"
            elif name in session.topics or topic in topics:
                objection = f"error:already subscribed,topic:{name}"
            else:
                topics.append(topic)
                continue
            break
        if objection is not None:
            self._refuse(session, "subscribe", req_id, objection, names)
            return
        self._apply(session, req_id, topics)

    def _apply(self, session: Session, req_id: str | None, topics: list[Topic]) -> None:
        """Subscribe and answer. First snapshots leave before the ack, as Bybit's may (trap T3)."""
        session.characters += args_characters([topic.name for topic in topics])
        for topic in topics:
            self._hub.join(session, topic)
            for payload in self._snapshots(topic):
                self._hub.snapshot_to(session, topic, payload)
        self._acknowledge(session, "subscribe", req_id, [topic.name for topic in topics])

    def _unsubscribe(self, session: Session, req_id: str | None, names: list[str]) -> None:
        """Unsubscribe and answer. An inactive topic is no error: Bybit's behaviour there is not documented."""
        for name in names:
            topic = session.topics.get(name)
            if topic is not None:
                self._hub.leave(session, topic)
                session.characters -= args_characters([name])
        self._acknowledge(session, "unsubscribe", req_id, names)

    def _limit_broken(self, session: Session, names: list[str]) -> str | None:
        if session.category == "spot" and len(names) > MAX_ARGS_SPOT:
            return f"args size >{MAX_ARGS_SPOT}"
        if session.category == "option" and len(session.topics) + len(names) > MAX_ARGS_OPTION:
            return f"args size >{MAX_ARGS_OPTION}"
        if session.characters + args_characters(names) > MAX_ARGS_CHARACTERS:
            return f"error:args length >{MAX_ARGS_CHARACTERS}"
        return None

    def _acknowledge(self, session: Session, op: str, req_id: str | None, names: list[str]) -> None:
        self._hub.counters[f"{op}_accepted"] += 1
        session.push_text(command_answer(session, op, req_id, names))

    def _refuse(self, session: Session, op: str, req_id: str | None, ret_msg: str, names: list[str]) -> None:
        self._hub.counters["refused"] += 1
        session.push_text(command_answer(session, op, req_id, names, ret_msg))


def _req_id(request: dict[str, object]) -> str | None:
    value = request.get("req_id")
    return None if value is None else str(value)


def _text(answer: dict[str, Any]) -> str:
    return json.dumps(answer, separators=(",", ":"))


def _envelope(category: str, success: bool, ret_msg: str, conn_id: str, req_id: str | None, op: str) -> dict[str, Any]:
    """The common fields of an answer: linear and inverse always have req_id, spot only where one was sent."""
    answer: dict[str, Any] = {"success": success, "ret_msg": ret_msg, "conn_id": conn_id}
    if req_id is not None or category != "spot":
        answer["req_id"] = req_id or ""
    answer["op"] = op
    return answer


def command_answer(session: Session, op: str, req_id: str | None, topics: list[str], refusal: str | None = None) -> str:
    """The answer to a frame: applied whole, or not at all for the `refusal`, which names at most one offender."""
    category, is_good = session.category, refusal is None
    if category == "option" and (topics or is_good):
        data = {"failTopics": [] if is_good else topics, "successTopics": topics if is_good else []}
        return _text({"success": is_good, "conn_id": session.conn_id, "data": data, "type": "COMMAND_RESP"})
    ret_msg = refusal if refusal is not None else op if category == "spot" else ""
    return _text(_envelope(category, is_good, ret_msg, session.conn_id, req_id, op))


def pong(category: str, conn_id: str, req_id: str | None, now_ms: int) -> str:
    """The answer to a ping, in three of the five shapes there are; private and trade sockets have their own."""
    if category == "option":
        return _text({"args": [str(now_ms)], "op": "pong"})
    if category == "spot":
        req_id = None
    return _text(_envelope(category, True, "pong", conn_id, req_id, "ping"))
