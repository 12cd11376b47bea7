"""Toy's WebSocket protocol. Pure, but for `resolve`. A topic is `channel@symbol`, as trade@BTC-USDT."""

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from exchanges.addresses import moved
from exchanges.contract import Endpoints
from exchanges.rest_client import Budget, Verdict, ask, verdict_of_status
from exchanges.streams import Op, PublicStreams, check_depth, request_text, symbols_of
from model.ports import Symbols, TopicOf
from model.protocol import (
    Answer,
    Backlog,
    Data,
    KeepAlive,
    KindFrames,
    Message,
    Ping,
    StreamLimits,
    Unknown,
    Welcome,
)
from model.records import Kind
from model.symbols import is_symbol

WS, REST = "wss://ws.toy.example", "https://api.toy.example"
PATH, TOKEN_PATH = "/stream", "/token"
TOKENS = Budget(20, 1.0, "tokens")
DEPTH = 5
CHANNELS: Mapping[Kind, str] = {"trades": "trade", "orderbook": "book", "ticker": "ticker"}
KINDS: Mapping[str, Kind] = {channel: kind for kind, channel in CHANNELS.items()}
SENT_MS = re.compile(rb'"ts":(\d{13})')
PRICE = re.compile(rb'"last":"([^"]+)"')
GZIP = 31  # zlib's window bits of a gzip member


class ToyProtocol(PublicStreams):
    """The streams of spot; a model.protocol.StreamProtocol."""

    market = "spot"
    limits = StreamLimits(topics=200, topics_per_message=1, messages_per_s=20.0)
    keep_alive = KeepAlive(most_s=5.0, is_welcomed=True)
    texts: Mapping[bytes, Message] = MappingProxyType({b"Ping": Ping("Pong")})

    def __init__(self, endpoints: Endpoints) -> None:
        self._url = endpoints.stream or moved(WS, endpoints.ws_url) + PATH
        self._rest = moved(REST, endpoints.rest_url)

    def inflate(self, payload: bytes) -> bytes:
        """Return the text of a frame."""
        return zlib.decompress(payload, GZIP)

    def endpoint(self, _kind: Kind, _topics: Sequence[str]) -> str:
        """Return the one URL, without its token."""
        return self._url

    def resolve(self, endpoint: str) -> str:
        """Return the URL with a fresh token."""
        token = ask(self._rest, TOKEN_PATH, budget=TOKENS, sort=sort_answer, read=lambda body: str(body["token"]))
        return f"{endpoint}?token={token}"

    def topics(self, kind: Kind, symbols: Symbols, depth: int) -> list[str]:
        """Return the topics of a request; ValueError for one that Toy does not have."""
        if kind not in CHANNELS:
            raise ValueError(f"Toy has no {kind}, only {', '.join(CHANNELS)}")
        if kind == "orderbook":
            check_depth(depth, (DEPTH,), f"Toy has {DEPTH} alone")
        return [f"{CHANNELS[kind]}@{name}" for name in symbols_of(symbols, "BTC-USDT")]

    def request(self, op: Op, req_id: str, topics: Iterable[str]) -> str:
        """Return the text of a request, of one topic."""
        (topic,) = topics
        return request_text({"id": req_id, "op": op.removesuffix("scribe"), "topic": topic})

    def read_object(self, message: dict[str, Any]) -> Message:
        """Return what a received object is."""
        topic = message.get("topic")
        if isinstance(topic, str) and "data" in message:
            return Data(topic)
        if isinstance(topic, str) and "past" in message:
            return Backlog(topic)
        if message.get("welcome") is True:
            return Welcome()
        if "code" in message and message.get("id"):
            text = str(message.get("msg") or "")
            return Answer(message["code"] == 0, str(message["id"]), text, is_unsubscribe=message.get("op") == "unsub")
        return Unknown()

    def frames(self, kind: Kind, _topics: Sequence[str]) -> KindFrames:
        """Return how the data of a kind looks."""
        begin = b'{"ts":' if kind == "topics" else f'{{"topic":"{CHANNELS[kind]}@'.encode()
        return KindFrames(begin, begin, SENT_MS, price=PRICE if kind == "ticker" else None)

    def key_of(self, _kind: Kind, topic: str) -> bytes:
        """Return the key of a topic's payloads: its symbol."""
        return self.symbol_of(topic).encode()

    def symbol_of(self, topic: str) -> str:
        """Return the symbol of a topic."""
        return topic.partition("@")[2]

    def read_topic(self, topic: str) -> TopicOf | None:
        """Return kind, depth of a book, and symbol of a topic; None where it belongs to no kind."""
        channel, _, symbol = topic.partition("@")
        kind = KINDS.get(channel)
        return (kind, DEPTH if kind == "orderbook" else None, symbol) if kind and is_symbol(symbol) else None


def sort_answer(status: int, _headers: Mapping[str, str], _body: object) -> Verdict:
    """What an answer is, by its status."""
    return Verdict("ok") if status == 200 else verdict_of_status(status)
