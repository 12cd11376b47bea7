"""Bybit's public WebSocket protocol for a server: topics and their state, clients' requests and the answers.

Implements model/dialect.py (documentation page: ws/connect). The event loop's thread. Raw payloads go on byte for byte;
the snapshot that a new subscriber begins with is made of the payloads that passed. A request's topics are taken whole
or not at all; limits and answers are Bybit's, which differ by market.
"""

import asyncio
import json
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
import structlog

from exchanges.bybit.dialect.klines import kline_message, kline_topic
from exchanges.bybit.dialect.state import DEPTHS, Book, ShallowBook, Ticker
from exchanges.bybit.intervals import INTERVALS
from exchanges.open_klines import OpenKlines
from model.clock import now_ms
from model.dialect import DialectClient, DialectOptions, RawPayload, Topic, TopicPublisher
from model.intervals import parse_interval
from model.pacing import ThrottledLogger
from model.records import Kline

log = structlog.get_logger()

PREFIX = "/v5/public/"
KINDS = {"publicTrade": "trades", "tickers": "ticker", "allLiquidation": "liquidations"}
BOOK = "orderbook."
TOPICS_LIMIT = 50_000  # books and tickers kept; topics that are only delisted pile up slowly
TOPIC = re.compile(rb'"topic"\s*:\s*"([^"]+)"')
TOPIC_BEGIN = b'{"topic":"'

ANSWER_DELAY_S = 0.05  # pybit 5.17 dies of an answer that comes before it has recorded its own request
ARGS_SPOT = 10  # topics per frame
ARGS_CHARACTERS = 21_000  # of all topics of one connection
REQ_ID_LENGTH = 64
ECHO_LENGTH = 100  # of what a client wrote, in an answer


class BybitDialect:
    """The state of all topics of all markets; see model.dialect.Dialect for the methods."""

    name = "Bybit"

    def __init__(self, options: DialectOptions) -> None:
        self.options = options
        self.paths = frozenset(PREFIX + market for market in options.markets)
        self.unreadable = self.withheld = 0
        self._publisher: TopicPublisher
        self._states: dict[Topic, Book | Ticker] = {}
        self._shallow: dict[Topic, ShallowBook] = {}
        self._open = OpenKlines()
        steps_ms = (parse_interval(text).step_ms for text in options.intervals)
        self._intervals = {INTERVALS[step_ms] for step_ms in steps_ms if step_ms in INTERVALS}
        self._logger = ThrottledLogger(log)

    def start(self, publisher: TopicPublisher) -> None:
        self._publisher = publisher

    def session(self, path: str, client: DialectClient) -> Callable[[str | bytes], None]:
        """Return what answers the messages of a client on the path of one market."""
        return BybitSession(client, path.removeprefix(PREFIX), self).received

    def authorized(self, connection_id: str, req_id: str | None = None) -> str:
        """Return Bybit's answer to a right login."""
        answer = {"success": True, "ret_msg": "", "op": "auth", "conn_id": connection_id}
        return json.dumps(answer | ({"req_id": req_id} if req_id else {}), separators=(",", ":"))

    def unauthorized(self, connection_id: str) -> str:
        """Return Bybit's answer to a wrong login, or to a message that came before one."""
        answer = {"success": False, "ret_msg": "error:login first", "op": "auth", "conn_id": connection_id}
        return json.dumps(answer, separators=(",", ":"))

    def topic_of(self, payload: bytes) -> str:
        """Return the topic of a payload; "" where it has none. Fast where it stands first, as Bybit writes it."""
        if payload.startswith(TOPIC_BEGIN):
            return payload[len(TOPIC_BEGIN) : payload.find(b'"', len(TOPIC_BEGIN))].decode("utf-8", "replace")
        match = TOPIC.search(payload)
        return match[1].decode("utf-8", "replace") if match else ""

    def has(self, market: str, topic: str) -> bool:
        """Return whether a client may subscribe to the topic."""
        kind, _, rest = topic.partition(".")
        if kind in ("kline", "orderbook"):
            detail, _, symbol = rest.partition(".")
            if kind == "kline":
                return detail in self._intervals and symbol in self.options.symbols(market)
            is_here = detail in map(str, DEPTHS) and int(detail) <= self.options.depth
            return is_here and "orderbook" in self.options.kinds and symbol in self.options.symbols(market)
        if kind == "allLiquidation" and market == "spot":
            return False
        return KINDS.get(kind) in self.options.kinds and rest in self.options.symbols(market)

    def latest(self, market: str, topic: str) -> bytes | None:
        state = self._states.get((market, topic))
        return state.snapshot() if state else None

    def first_message(self, market: str, topic: str) -> bytes | None:
        """Return the message that a new subscriber begins with; None where the topic has no state, or none yet."""
        state = self._states.get((market, topic))
        if state is not None:
            return state.snapshot()
        if topic.startswith(BOOK):
            return self._first_shallow(market, topic)
        kline = self._open.get(market, topic)
        return kline_message(topic, kline, now_ms(), confirm=False) if kline else None

    def take_raw(self, payloads: Sequence[RawPayload], lost: Collection[Topic]) -> None:
        """Merge payloads into their topics' state and publish them; `lost` names topics that lack older ones."""
        for topic in lost:
            if state := self._states.get(topic):
                state.lost()
        for market, payload in payloads:
            name = self.topic_of(payload)
            if self._keep(market, name, payload):
                self._publisher.publish(market, name, payload)
                if self._shallow and name.startswith(BOOK):
                    self._publish_shallow(market, name, payload)

    def closed(self, market: str, klines: Sequence[Kline]) -> None:
        at_ms = now_ms()
        for kline in klines:
            topic = kline_topic(kline)
            if topic is not None:
                self._open.closed(market, topic, kline)
                if kline.complete:
                    self._publish_kline(market, topic, kline, at_ms, confirm=True)

    def opened(self, klines: Sequence[tuple[str, Kline]]) -> None:
        """Publish the present state of the open klines that changed."""
        for market, kline in klines:
            if topic := kline_topic(kline):
                self._open.opened(market, topic, kline)
        at_ms = now_ms()
        for market, topic, kline in self._open.take_changed():
            self._publish_kline(market, topic, kline, at_ms, confirm=False)

    def _publish_kline(self, market: str, topic: str, kline: Kline, at_ms: int, *, confirm: bool) -> None:
        if self._publisher.is_wanted(market, topic):
            payload = kline_message(topic, kline, at_ms, confirm=confirm)
            self._publisher.publish(market, topic, payload, None if confirm else (market, topic, kline.timestamp))

    def _first_shallow(self, market: str, topic: str) -> bytes | None:
        _, depth, symbol = topic.split(".", 2)
        if int(depth) >= self.options.depth:
            return None
        book = self._states.setdefault((market, f"{BOOK}{self.options.depth}.{symbol}"), Book())
        assert isinstance(book, Book)
        shallow = self._shallow.setdefault((market, topic), ShallowBook(topic, int(depth)))
        return shallow.snapshot(book)

    def _publish_shallow(self, market: str, topic: str, payload: bytes) -> None:
        """Publish what a change of the collected book changes in the shallower ones that have subscribers."""
        book, symbol = self._states[market, topic], topic.split(".", 2)[2]
        for depth in DEPTHS:
            name = f"{BOOK}{depth}.{symbol}"
            shallow = self._shallow.get((market, name))
            if shallow is None or not isinstance(book, Book):
                continue
            if not self._publisher.is_wanted(market, name):
                del self._shallow[market, name]
            elif made := shallow.follow(book, is_new=b'"snapshot"' in payload):
                self._publisher.publish(market, name, made, (market, name) if depth == 1 else None)

    def _keep(self, market: str, topic: str, payload: bytes) -> bool:
        """Merge the payload into its topic's state; False where subscribers could not use it."""
        is_book = topic.startswith(BOOK)
        if not (is_book or topic.startswith("tickers.")):
            return bool(topic)
        state = self._states.get((market, topic))
        if state is None:
            if len(self._states) >= TOPICS_LIMIT:
                del self._states[next(iter(self._states))]
            state = self._states[market, topic] = Book() if is_book else Ticker()
        try:
            is_kept = state.apply(payload)
        except (msgspec.DecodeError, ValueError, RecursionError):
            self.unreadable += 1
            state.lost()
            self._logger.warning("websocket_payload_unreadable", topic=topic)
            return False
        self.withheld += not is_kept
        return is_kept


# -- one client ---------------------------------------------------------------------------------------------


class Request(msgspec.Struct):
    """A client's message."""

    op: str = ""
    args: list[str | int] | None = None
    req_id: str | int | None = None


class BybitSession:
    """One client's subscriptions on the path of one market."""

    def __init__(self, client: DialectClient, market: str, dialect: BybitDialect) -> None:
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
        """Unsubscribe topics; one that was not subscribed is no mistake: the answer is the same."""
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
