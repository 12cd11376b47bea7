"""OKX's public WebSocket protocol: endpoints, topics, their limits, requests, and what a received message is.

Pure. A topic is `channel:instId`, as trades:BTC-USDT-SWAP; of the few channels that are of more than an instrument, it
is `channel:instType`, as liquidation-orders:SWAP. Documentation pages: overview (WebSocket), public data, order book
trading (market data), error codes (WebSocket).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from exchanges.addresses import moved
from exchanges.contract import OWN, Endpoints
from exchanges.okx.markets import BOOKS, MARKETS
from exchanges.streams import Op, PublicStreams, check_depth, check_one, names_of, request_text, symbols_of
from model.ports import Symbols, TopicOf
from model.protocol import (
    NEVER,
    Answer,
    BookSequence,
    Data,
    KeepAlive,
    KindFrames,
    Message,
    Notice,
    Pong,
    Problem,
    StreamLimits,
    TradeKeys,
    Unknown,
)
from model.records import Kind
from model.symbols import canonical, is_symbol

HOST, HOST_DEMO = "wss://ws.okx.com:8443", "wss://wspap.okx.com:8443"
PUBLIC, BUSINESS = "/ws/v5/public", "/ws/v5/business"
PING, PONG = "ping", b"pong"
PING_S = 20.0  # a connection without data for 30 s is closed (4004); ping frames do not count as such

LIMITS = StreamLimits(
    bytes=60_000,  # 64 KB: taken as that of one request and of all of a connection, for the docs say "total length"
    bytes_per_topic=30,  # {"channel":"","instType":""}, without the colon of a topic
    bytes_per_message=60_000,
    requests_per_hour=400,  # 480, logins among them
)

CHANNELS = {"trades": "trades", "ticker": "tickers", "liquidations": "liquidation-orders"}
KINDS: Mapping[str, tuple[Kind, int | None]] = MappingProxyType(
    {
        "trades": ("trades", None),
        "tickers": ("ticker", None),
        "liquidation-orders": ("liquidations", None),
        **{channel: ("orderbook", depth) for depth, channel in sorted(BOOKS.items())},  # of books the larger
    }
)
ARGS: Mapping[str, str] = MappingProxyType(
    {
        "liquidation-orders": "instType",
        "instruments": "instType",
        "adl-warning": "instType",
        "opt-summary": "instFamily",
    }
)
"""What a channel is of where that is no instrument."""
ARG_NAMES = ("instId", "instType", "instFamily")
BUSINESS_CHANNELS = re.compile(r"(mark-price-|index-)?candle.*|trades-all|public-(struc-)?block-trades|block-tickers")

SENT_MS = re.compile(rb'"ts":"(\d{1,15})"')
LAST_PRICE = re.compile(rb'"last":"([^"]+)"')
SEQUENCE = BookSequence(
    link=b'"prevSeqId":%d,',  # of a beat, without changes, it equals seqId; after a maintenance seqId may be lower
    step=0,
    own=re.compile(rb'"seqId":(-?\d{1,19})\b'),
    is_at_end=True,
)
SNAPSHOT = re.compile(rb'"action":"snapshot"')

TOO_FREQUENT = "60014"  # the connection is closed then: to ask again is no use
INTERNAL_ERROR = "64007"
CLOSING = "64008"
_NAMED = re.compile(r"channel:(?P<channel>[^,\s]+),\s*inst(?:Id|Type|Family):(?P<of>.+?)\s+doesn'?t exist")
_TOPIC = re.compile(r"(?P<channel>[A-Za-z][A-Za-z0-9-]*):(?P<of>[^\s:]+)")
_WANTED = re.compile(rb'"instId":"([^"]+)"')


class OkxProtocol(PublicStreams):
    """The streams of one market; a model.protocol.StreamProtocol. Linear and inverse swaps are told apart by symbol.

    A depth of 400 is the channel books: a snapshot, then changes; so is 50, for books of 50 levels need a login. 5 and
    1 are books5 and bbo-tbt, whole books each. A kind `topics` takes any public channel, one path an entry.
    """

    limits = LIMITS
    texts: Mapping[bytes, Message] = MappingProxyType({PONG: Pong()})
    keep_alive = KeepAlive(text=lambda _req_id: PING, most_s=PING_S)

    def __init__(self, market: str, endpoints: Endpoints = OWN) -> None:
        self.market = market
        self._host, self._stream = moved(HOST_DEMO if endpoints.testnet else HOST, endpoints.ws_url), endpoints.stream

    def endpoint(self, kind: Kind, topics: Sequence[str]) -> str:
        """Return the URL that carries topics of a kind; ValueError where two would have to."""
        if self._stream is not None:
            return self._stream
        paths = {path_of(topic): topic for topic in topics} if kind == "topics" else {PUBLIC: ""}
        check_one(dict(sorted(paths.items(), reverse=True)), "OKX")
        return self._host + next(iter(paths))

    def topics(self, kind: Kind, symbols: Symbols, depth: int) -> list[str]:
        """Return the topics of a request, without repeats; ValueError for one that OKX does not have."""
        if kind == "topics":
            return names_of("topic", symbols, _topic, "candle1m:BTC-USDT")
        spec = MARKETS[self.market]
        if kind not in spec.kinds:
            raise ValueError(f"OKX has no {kind} for {self.market}, only {', '.join(spec.kinds)}")
        if kind == "orderbook":
            check_depth(depth, tuple(BOOKS), "OKX has 400 (as changes; 50 means the same), and 5 and 1 (whole books)")
        names = symbols_of(symbols, "BTC-USDT-SWAP")
        if kind == "liquidations":
            return [f"{CHANNELS[kind]}:{spec.product}"]
        channel = BOOKS[depth] if kind == "orderbook" else CHANNELS[kind]
        return [f"{channel}:{name}" for name in names]

    def request(self, op: Op, req_id: str, topics: Iterable[str]) -> str:
        """Return the text of a request."""
        parts = (topic.partition(":") for topic in topics)
        args = [{"channel": channel, arg_of(channel): of} for channel, _, of in parts]
        return request_text({"id": req_id, "op": op, "args": args})

    def read_object(self, message: dict[str, Any]) -> Message:
        """Return what a received object is."""
        event, topic = message.get("event"), _topic_of(message.get("arg"))
        if event is None:
            return Data(topic) if topic and "data" in message else Unknown()
        req_id, code, text = (str(message.get(name) or "") for name in ("id", "code", "msg"))
        if event in ("subscribe", "unsubscribe") and topic:
            return Answer(True, req_id, accepted=(topic,), is_unsubscribe=event == "unsubscribe")
        if code == CLOSING:
            return Notice(f"{code} {text}")
        if event == "error":
            return _error(req_id, code, f"{code} {text}".strip(), topic)
        return Problem(f"{code} {text}") if event == "notice" else Unknown()

    def frames(self, kind: Kind, topics: Sequence[str]) -> KindFrames:
        """Return how the data of topics of a kind looks: each channel begins by itself.

        Data of topics of several channels have no prefix and no key in common: `read` says what they are of.
        """
        channels = {topic.partition(":")[0] for topic in topics}
        if not topics and kind != "topics":
            channels = {BOOKS[400] if kind == "orderbook" else CHANNELS[kind]}
        if len(channels) != 1:
            return KindFrames(NEVER, NEVER, SENT_MS)
        (channel,) = channels
        begin = f'{{"arg":{{"channel":"{channel}","{arg_of(channel)}":"'.encode()
        if channel == BOOKS[400]:
            return KindFrames(begin, begin, SENT_MS, is_steady=True, snapshot=SNAPSHOT, sequence=SEQUENCE)
        return KindFrames(
            begin,
            begin,
            SENT_MS,
            price=LAST_PRICE if kind == "ticker" else None,
            is_market_wide=channel == CHANNELS["liquidations"],
        )

    def key_of(self, _kind: Kind, topic: str) -> bytes:
        """Return the key of a topic's payloads: what it is of."""
        return self.symbol_of(topic).encode()

    def symbol_of(self, topic: str) -> str:
        """Return the symbol of a topic; of one that is of more, what that is."""
        return topic.partition(":")[2]

    def read_topic(self, topic: str) -> TopicOf | None:
        """Return kind, depth of a book, and symbol of a topic; None where it belongs to no kind."""
        channel, _, of = topic.strip().partition(":")
        if channel not in KINDS or not is_symbol(canonical(of)):
            return None
        kind, depth = KINDS[channel]
        return (kind, depth, canonical(of)) if kind in MARKETS[self.market].kinds else None

    def is_wanted(self, payload: bytes, symbols: frozenset[str]) -> bool:
        """Return whether a payload of liquidations has one of these symbols."""
        return any(found.decode(errors="replace") in symbols for found in _WANTED.findall(payload))


TRADE_KEYS = TradeKeys(b'{"arg":{"channel":"trades","instId":"', re.compile(rb'"tradeId":"(\d+)"'))
"""A topic has one symbol; the id is that of the last match, consecutive within it."""


def arg_of(channel: str) -> str:
    """Return the name of what a channel is of: an instrument, nearly always."""
    return ARGS.get(channel, "instId")


def path_of(topic: str) -> str:
    """Return the path of the socket that carries a topic, or a channel."""
    return BUSINESS if BUSINESS_CHANNELS.fullmatch(topic.partition(":")[0]) else PUBLIC


def _topic(text: object) -> str:
    found = _TOPIC.fullmatch(text.strip()) if isinstance(text, str) else None
    name = canonical(found["of"]) if found else ""
    if not found or not is_symbol(name):
        raise ValueError(f"topic is {text!r}, must be a channel and what it is of, e.g. candle1m:BTC-USDT")
    return f"{found['channel']}:{name}"


def _topic_of(arg: object) -> str:
    """The topic that an arg names; "" where it names none."""
    if not isinstance(arg, dict) or not isinstance(channel := arg.get("channel"), str):
        return ""
    of = next((of for name in ARG_NAMES if isinstance(of := arg.get(name), str)), "")
    return f"{channel}:{of}"


def _error(req_id: str, code: str, text: str, topic: str) -> Message:
    """An error: of the topic that its text names, of the whole request where it is malformed, or of none."""
    if code in (TOO_FREQUENT, INTERNAL_ERROR):
        return Problem(text)
    if found := _NAMED.search(text):
        topic = f"{found['channel']}:{found['of']}"
    if topic:
        return Answer(False, req_id, text, refused=(topic,))
    return Answer(False, req_id, text)
