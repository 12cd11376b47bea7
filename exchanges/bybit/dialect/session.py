"""Bybit's public protocol, as one client speaks it: subscribe, unsubscribe, ping (docs: ws/connect).

The event loop's thread. A frame's topics are taken whole or not at all; limits and answers are Bybit's, which differ by
market. Answers leave a moment later: pybit 5.17 dies of one that comes before it has noted what it asked for.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from consumers.web.client import Client
from consumers.web.fanout import Fanout
from consumers.web.frames import Answer, Message
from exchanges.bybit.dialect import answers
from exchanges.bybit.dialect.market import BybitMarkets, key_of

ANSWER_DELAY_S = 0.05  # less than the way to the exchange and back; see above
ARGS_SPOT = 10  # topics per frame
ARGS_CHARACTERS = 21_000  # of all topics of one connection
REQ_ID_LENGTH = 64
ECHO_LENGTH = 100  # of what a client wrote, in an answer


class Request(msgspec.Struct):
    """What a client may say."""

    op: str = ""
    args: list[str | int] | None = None
    req_id: str | int | None = None


class Topics:
    """A set of topics as one filter; equal sets are equal."""

    def __init__(self, keys: frozenset[str]) -> None:
        self.keys = keys

    def matches(self, key: str) -> bool:
        """Say whether a topic is among them."""
        return key in self.keys

    def __hash__(self) -> int:
        return hash(self.keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Topics) and self.keys == other.keys


class BybitSession:
    """One client's side of the protocol on the path of one market."""

    def __init__(self, client: Client, market: str, markets: BybitMarkets, fanout: Fanout) -> None:
        self._client = client
        self._market = market
        self._markets = markets
        self._fanout = fanout
        self._conn_id = str(client.connection.id)
        self._topics: dict[str, None] = {}
        self._characters = 0

    def received(self, message: str | bytes) -> None:
        """Answer one message, a moment later; nothing a client sends raises."""
        asyncio.get_running_loop().call_later(ANSWER_DELAY_S, self._handle, message)

    def end(self) -> None:
        """The client has gone."""
        self._fanout.leave(self._client)

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
        if request.op == "ping":
            self._answer(answers.pong(self._market, self._conn_id, req_id))
        elif request.op in ("subscribe", "unsubscribe") and not args:
            self._refuse(request.op, "error:args is empty", req_id)
        elif request.op == "subscribe":
            self._subscribe(args, req_id)
        elif request.op == "unsubscribe":
            self._unsubscribe(args, req_id)
        elif request.op == "auth":  # nothing here needs it; pybit with an api_key sends it all the same
            self._answer(answers.authorized(self._conn_id, req_id))
        else:
            self._refuse(request.op[:ECHO_LENGTH], f"error:unknown op,op:{request.op[:ECHO_LENGTH]}", req_id)

    def _subscribe(self, topics: list[str], req_id: str | None) -> None:
        objection = self._objection(topics)
        if objection:
            self._refuse("subscribe", objection, req_id)
            return
        self._topics |= dict.fromkeys(topics)
        self._characters += _characters(topics)
        self._listen()
        self._answer(answers.accepted(self._market, "subscribe", self._conn_id, req_id))
        for topic in topics:
            if first := self._markets.first_message(self._market, topic):
                self._client.send(Message(first))

    def _unsubscribe(self, topics: list[str], req_id: str | None) -> None:
        """What was not subscribed is no mistake: the answer is the same."""
        active = [topic for topic in dict.fromkeys(topics) if topic in self._topics]
        for topic in active:
            del self._topics[topic]
        self._characters -= _characters(active)
        self._listen()
        self._answer(answers.accepted(self._market, "unsubscribe", self._conn_id, req_id))

    def _objection(self, topics: Sequence[str]) -> str | None:
        if self._market == "spot" and len(topics) > ARGS_SPOT:
            return f"args size >{ARGS_SPOT}"
        if self._characters + _characters(topics) > ARGS_CHARACTERS:
            return f"error:args length >{ARGS_CHARACTERS}"
        seen = set(self._topics)
        for topic in topics:
            if not self._markets.has(self._market, topic):
                return f"error:handler not found,topic:{topic[:ECHO_LENGTH]}"
            if topic in seen:
                return f"error:already subscribed,topic:{topic}"
            seen.add(topic)
        return None

    def _listen(self) -> None:
        self._fanout.move(self._client, Topics(frozenset(key_of(self._market, topic) for topic in self._topics)))

    def _refuse(self, op: str, ret_msg: str, req_id: str | None) -> None:
        self._answer(answers.refused(self._market, op, ret_msg, self._conn_id, req_id))

    def _answer(self, text: str) -> None:
        self._client.send(Answer(text.encode()))


def _characters(topics: Sequence[str]) -> int:
    """Bybit counts the args as written: quotes and commas are counted here, to be on the safe side."""
    return sum(len(topic) + 3 for topic in topics)
