"""Toy's WebSocket protocol. Pure, but for `resolve`. A topic is `channel@symbol`, as trade@BTC-USDT."""

import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence

from exchanges.addresses import moved
from exchanges.contract import Endpoints
from exchanges.rest_client import Budget, Verdict, ask, verdict_of_status
from model.ports import Symbols, TopicOf
from model.protocol import (
    Answer,
    Backlog,
    Data,
    KeepAlive,
    KindFrames,
    Malformed,
    Message,
    Ping,
    StreamLimits,
    Unknown,
    Welcome,
)
from model.records import Kind
from model.symbols import is_symbol, read_symbol

WS, REST = "wss://ws.toy.example", "https://api.toy.example"
PATH, TOKEN_PATH = "/stream", "/token"
TOKENS = Budget(20, 1.0, "tokens")
DEPTH = 5
CHANNELS: Mapping[Kind, str] = {"trades": "trade", "orderbook": "book", "ticker": "ticker"}
KINDS: Mapping[str, Kind] = {channel: kind for kind, channel in CHANNELS.items()}
SENT_MS = re.compile(rb'"ts":(\d{13})')
PRICE = re.compile(rb'"last":"([^"]+)"')
GZIP = 31  # zlib's window bits of a gzip member


class ToyProtocol:
    """The streams of spot; a model.protocol.StreamProtocol."""

    market = "spot"
    limits = StreamLimits(topics=200, topics_per_message=1, messages_per_s=20.0)
    keep_alive = KeepAlive(most_s=5.0, is_welcomed=True)
    lifetime_s = None

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
        if kind == "orderbook" and depth != DEPTH:
            raise ValueError(f"orderbook depth is {depth!r}, Toy has {DEPTH} alone")
        names = [symbols] if isinstance(symbols, str) else list(symbols)
        if not names:
            raise ValueError("no symbol given, name at least one, e.g. BTC-USDT")
        return [f"{CHANNELS[kind]}@{name}" for name in dict.fromkeys(map(read_symbol, names))]

    def subscribe(self, req_id: str, topics: Iterable[str]) -> str:
        """Return the text of a subscribe request, of one topic."""
        return _request(req_id, "sub", topics)

    def unsubscribe(self, req_id: str, topics: Iterable[str]) -> str:
        """Return the text of an unsubscribe request, of one topic."""
        return _request(req_id, "unsub", topics)

    def read(self, payload: bytes) -> Message:
        """Return what a received text is; never raises."""
        if payload == b"Ping":
            return Ping("Pong")
        try:
            message = json.loads(payload)
        except (ValueError, RecursionError):
            return Malformed()
        if not isinstance(message, dict):
            return Unknown()
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

    def is_wanted(self, _payload: bytes, _symbols: frozenset[str]) -> bool:
        """No topic is of all symbols."""
        return True


def sort_answer(status: int, _headers: Mapping[str, str], _body: object) -> Verdict:
    """What an answer is, by its status."""
    return Verdict("ok") if status == 200 else verdict_of_status(status)


def _request(req_id: str, op: str, topics: Iterable[str]) -> str:
    (topic,) = topics
    return json.dumps({"id": req_id, "op": op, "topic": topic}, separators=(",", ":"), ensure_ascii=False)
