"""One client's side of Bybit's public protocol: requests to subscribe, unsubscribe and ping, and their answers.

Documentation page: ws/connect.

The event loop's thread. A frame's topics are taken whole or not at all; limits and answers are Bybit's, which differ by
market. Answers leave a moment later: pybit 5.17 dies of one that comes before it has recorded its own request.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from model.dialect import DialectClient

if TYPE_CHECKING:
    from exchanges.bybit.dialect.dialect import BybitDialect

ANSWER_DELAY_S = 0.05  # less than the way to the exchange and back; see above
ARGS_SPOT = 10  # topics per frame
ARGS_CHARACTERS = 21_000  # of all topics of one connection
REQ_ID_LENGTH = 64
ECHO_LENGTH = 100  # of what a client wrote, in an answer


class Request(msgspec.Struct):
    """A client's message."""

    op: str = ""
    args: list[str | int] | None = None
    req_id: str | int | None = None


class BybitSession:
    """One client's subscriptions on the path of one market."""

    def __init__(self, client: DialectClient, market: str, dialect: "BybitDialect") -> None:
        self._client, self._market, self._dialect = client, market, dialect
        self._topics: dict[str, None] = {}
        self._characters = 0

    def received(self, message: str | bytes) -> None:
        """Answer one message, a moment later; nothing that a client sends raises."""
        asyncio.get_running_loop().call_later(ANSWER_DELAY_S, self._handle, message)

    def _handle(self, message: str | bytes) -> None:
        if not self._client.is_open:
            return
        try:
            request = msgspec.json.decode(message, type=Request)
        except (msgspec.DecodeError, ValueError, RecursionError):
            self._refuse("", "error:request is not understood", None)
            return
        req_id = None if request.req_id is None else str(request.req_id)[:REQ_ID_LENGTH]
        args = [str(arg) for arg in request.args or ()]
        if request.op == "ping":  # on public sockets the answer's op is ping as well
            self._answer("ping", "pong", None if self._market == "spot" else req_id)
        elif request.op in ("subscribe", "unsubscribe") and not args:
            self._refuse(request.op, "error:args is empty", req_id)
        elif request.op == "subscribe":
            self._subscribe(args, req_id)
        elif request.op == "unsubscribe":
            self._unsubscribe(args, req_id)
        elif request.op == "auth":  # nothing here needs it; pybit with an api_key sends it all the same
            self._client.answer(self._dialect.authorized(self._client.connection_id, req_id))
        else:
            self._refuse(request.op[:ECHO_LENGTH], f"error:unknown op,op:{request.op[:ECHO_LENGTH]}", req_id)

    def _subscribe(self, topics: list[str], req_id: str | None) -> None:
        objection = self._objection(topics)
        if objection:
            self._refuse("subscribe", objection, req_id)
            return
        self._topics |= dict.fromkeys(topics)
        self._characters += _characters(topics)
        self._client.subscribe(self._market, self._topics)
        self._accept("subscribe", req_id)
        for topic in topics:
            if first := self._dialect.first_message(self._market, topic):
                self._client.send(first)

    def _unsubscribe(self, topics: list[str], req_id: str | None) -> None:
        """What was not subscribed is no mistake: the answer is the same."""
        active = [topic for topic in dict.fromkeys(topics) if topic in self._topics]
        for topic in active:
            del self._topics[topic]
        self._characters -= _characters(active)
        self._client.subscribe(self._market, self._topics)
        self._accept("unsubscribe", req_id)

    def _objection(self, topics: Sequence[str]) -> str | None:
        if self._market == "spot" and len(topics) > ARGS_SPOT:
            return f"args size >{ARGS_SPOT}"
        if self._characters + _characters(topics) > ARGS_CHARACTERS:
            return f"error:args length >{ARGS_CHARACTERS}"
        seen = set(self._topics)
        for topic in topics:
            if not self._dialect.has(self._market, topic):
                return f"error:handler not found,topic:{topic[:ECHO_LENGTH]}"
            if topic in seen:
                return f"error:already subscribed,topic:{topic}"
            seen.add(topic)
        return None

    def _accept(self, op: str, req_id: str | None) -> None:
        self._answer(op, op if self._market == "spot" else "", req_id)

    def _refuse(self, op: str, ret_msg: str, req_id: str | None) -> None:
        self._answer(op, ret_msg, req_id, success=False)

    def _answer(self, op: str, ret_msg: str, req_id: str | None, *, success: bool = True) -> None:
        """Answer in Bybit's order of keys; spot has req_id only where the request had one."""
        answer: dict[str, Any] = {"success": success, "ret_msg": ret_msg, "conn_id": self._client.connection_id}
        if req_id is not None or self._market != "spot":
            answer["req_id"] = req_id or ""
        self._client.answer(json.dumps({**answer, "op": op}, separators=(",", ":")))


def _characters(topics: Sequence[str]) -> int:
    """Bybit counts the args as written: quotes and commas are counted here, to be on the safe side."""
    return sum(len(topic) + 3 for topic in topics)
