"""BingX's control messages: one topic a request, answers by id, and what is not answered at all.

Event loop thread only. Nothing that a client sends raises.
"""

import json
from typing import Any

from ..frames import gzip_frame
from ..hub import Session
from ..service import World

TOPICS_MOST = 200
NO_SUCH = (80015, "dataType not support")
TOO_MANY = (80403, "your topic num over max 200")


class Control:
    """Answers messages of clients."""

    def __init__(self, world: World) -> None:
        self._world, self._hub = world, world.hub

    def opened(self, session: Session, target: str) -> None:  # noqa: ARG002
        """Everything is one gzip member in a binary frame from here on."""
        session.wrap = gzip_frame

    def handle(self, session: Session, message: str | bytes) -> None:
        """Take a pong, or answer one request; what is no request of one topic is ignored."""
        if message == "Pong":
            session.answer_ping()
            return
        try:
            request = json.loads(message)
        except (ValueError, RecursionError):
            return
        if not isinstance(request, dict) or not isinstance(name := request.get("dataType"), str):
            return
        if (req_type := request.get("reqType", "sub")) == "unsub":
            if (topic := session.topics.get(name)) is not None:
                self._hub.leave(session, topic)
            self._acknowledge(session, request)
        elif req_type == "sub":
            self._subscribe(session, request, name)

    def _subscribe(self, session: Session, request: dict[str, Any], name: str) -> None:
        if name in session.topics:
            self._acknowledge(session, request)
            return
        topic = self._world.find(session.category, name)
        if topic is None:
            self._refuse(session, request, *NO_SUCH)
            return
        first = list(self._world.first(topic))
        if len(session.topics) >= TOPICS_MOST:
            self._refuse(session, request, *TOO_MANY)
            for text in first[:1]:  # a message of it may come all the same
                session.push_text(text)
            return
        self._hub.join(session, topic)
        self._acknowledge(session, request)
        for text in first:
            self._hub.snapshot_to(session, topic, text)

    def _acknowledge(self, session: Session, request: dict[str, Any]) -> None:
        req_id = request.get("id", "")
        if session.category == "spot":
            answer = {"code": 0, "id": req_id, "msg": "SUCCESS", "timestamp": self._world.market.now_ms()}
        else:
            answer = {"id": req_id, "code": 0, "msg": "", "dataType": "", "data": None}
        session.push_text(json.dumps(answer, separators=(",", ":")))

    def _refuse(self, session: Session, request: dict[str, Any], code: int, text: str) -> None:
        """Answer with a code: only the id tells what was asked for."""
        self._hub.counters[f"error_{code}"] += 1
        answer = {"id": request.get("id", ""), "code": code, "msg": text, "dataType": "", "data": None}
        session.push_text(json.dumps(answer, separators=(",", ":")))
