"""BingX's public WebSocket streams: endpoints, topics, their limits, requests, and what a received message is.

Pure. Every frame of the exchange is binary, one gzip member, its pings too. A topic is a `dataType`, as BTC-USDT@trade;
a request has one. Documentation pages: swap and spot, WebSocket market data; FAQ (limits).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from exchanges.addresses import moved
from exchanges.bingx.markets import CHANGES, DEPTHS, KINDS
from exchanges.contract import OWN, Endpoints
from exchanges.streams import Op, PublicStreams, check_depth, inflated, names_of, request_text, symbols_of
from model.ports import Symbols, TopicOf
from model.protocol import Answer, Data, KeepAlive, KindFrames, Message, Ping, Problem, StreamLimits, Unknown
from model.records import Kind
from model.symbols import canonical, is_symbol

URLS: Mapping[str, str] = MappingProxyType(
    {"linear": "wss://open-api-swap.bingx.com/swap-market", "spot": "wss://open-api-ws.bingx.com/market"}
)
HOST_DEMO = "wss://vst-open-api-ws.bingx.com"
PING_S = 20.0  # the exchange pings every 5 s, and ends a connection 30 s after a ping without an answer

LIMITS = StreamLimits(
    topics=100,  # of 200: 60 connections are allowed for an address, and 100 topics are subscribed in 13 s
    topics_per_message=1,  # a list of them is ignored without an answer
    messages_per_s=8.0,  # fewer than 10 are allowed, pings and pongs among them
)

CHANNELS: Mapping[Kind, str] = MappingProxyType({"trades": "trade", "ticker": "ticker"})
KIND_OF: Mapping[str, Kind] = MappingProxyType({channel: kind for kind, channel in CHANNELS.items()})
FAST = frozenset({"BTC-USDT", "ETH-USDT"})  # their whole books of swaps come every 200 ms, others' every 500

# Of swaps data begin with their topic, and an answer with its id. Of spot the topic may stand behind the data.
SWAP, SPOT = b'{"code":0,"dataType":"', b'{"code":0,'
MARKER = b'"dataType":"'
_SENT: Mapping[str, re.Pattern[bytes]] = MappingProxyType(
    {
        "trades": re.compile(rb'"(?:E|T)":(\d{13})\b'),  # of a message of swaps the newest trade comes first
        "ticker": re.compile(rb'"E":(\d{13})\b'),
        "orderbook": re.compile(rb'"(?:ts|time|timestamp)":(\d{13})\b'),
        "topics": re.compile(rb'"(?:E|ts|time|timestamp)":(\d{13})\b'),
    }
)
LAST_PRICE = re.compile(rb'"c":"?([0-9.]+)')
SNAPSHOT = re.compile(rb'"action":"all"')
_TOPIC = re.compile(r"(?P<of>[^\s@\"]+)@(?P<channel>[A-Za-z][^\s\"]*)")
_LEVELS = re.compile(r"depth([0-9]{1,4})(?:@[0-9]+ms)?")


class BingxProtocol(PublicStreams):
    """The streams of one market; a model.protocol.StreamProtocol.

    A depth of 1000 is the channel incrDepth: a whole book, then changes, whose ids rise and skip. Others are whole
    books of so many levels, which come with every message.
    """

    inflate = staticmethod(inflated)
    limits = LIMITS
    keep_alive = KeepAlive(most_s=PING_S)
    texts: Mapping[bytes, Message] = MappingProxyType({b"Ping": Ping("Pong"), b"ping": Ping("pong")})

    def __init__(self, market: str, endpoints: Endpoints = OWN) -> None:
        self.market = market
        url = moved(URLS[market], HOST_DEMO if endpoints.testnet else None)
        self._url = endpoints.stream or moved(url, endpoints.ws_url)

    def endpoint(self, _kind: Kind, _topics: Sequence[str]) -> str:
        """Return the one URL of the market."""
        return self._url

    def topics(self, kind: Kind, symbols: Symbols, depth: int) -> list[str]:
        """Return the topics of a request, without repeats; ValueError for one that BingX does not have."""
        if kind == "topics":
            return names_of("topic", symbols, _topic, "BTC-USDT@kline_1m")
        if kind not in KINDS:
            raise ValueError(f"BingX has no public {kind}, only {', '.join(KINDS)}")
        if kind == "orderbook":
            whole = ", ".join(map(str, sorted(DEPTHS[self.market])[:-1]))
            known = f"BingX has {whole} (whole books) and {CHANGES} (as changes) for {self.market}"
            check_depth(depth, DEPTHS[self.market], known)
        return [f"{name}@{self._channel(kind, name, depth)}" for name in symbols_of(symbols, "BTC-USDT")]

    def request(self, op: Op, req_id: str, topics: Iterable[str]) -> str:
        """Return the text of a request, of one topic."""
        (topic,) = topics
        return request_text({"id": req_id, "reqType": op.removesuffix("scribe"), "dataType": topic})

    def read_object(self, message: dict[str, Any]) -> Message:
        """Return what a received object is: answers are found by their id alone."""
        topic, code = message.get("dataType"), message.get("code")
        if "ping" in message:
            return Ping(request_text({"pong": message["ping"], "time": message.get("time")}))
        if isinstance(topic, str) and topic and message.get("data") is not None:
            return Data(topic)
        if code is None:
            return Unknown()
        req_id, text = (str(message.get(name) or "") for name in ("id", "msg"))
        is_good = code in (0, "0")
        if req_id:
            return Answer(is_good, req_id, "" if is_good else f"{code} {text}".strip())
        return Unknown() if is_good else Problem(f"{code} {text}".strip())

    def frames(self, kind: Kind, topics: Sequence[str]) -> KindFrames:
        """Return how the data of topics of a kind looks."""
        if kind == "topics":
            return KindFrames(SPOT, MARKER, _SENT[kind], infix=b"@")
        is_spot, is_of_changes = self.market == "spot", topics and topics[0].endswith("@incrDepth")
        return KindFrames(
            SPOT if is_spot else SWAP,
            MARKER,
            _SENT[kind],
            infix=b'"data":[' if kind == "trades" and not is_spot else b'"data":{',
            snapshot=SNAPSHOT if is_of_changes else None,
            price=LAST_PRICE if kind == "ticker" else None,
        )

    def symbol_of(self, topic: str) -> str:
        """Return the symbol of a topic."""
        return topic.partition("@")[0]

    def read_topic(self, topic: str) -> TopicOf | None:
        """Return kind, depth of a book, and symbol of a topic; None where it belongs to no kind."""
        symbol, _, channel = topic.strip().partition("@")
        name = canonical(symbol)
        if not is_symbol(name):
            return None
        if kind := KIND_OF.get(channel):
            return kind, None, name
        levels = _LEVELS.fullmatch(channel)
        depth = CHANGES if channel == "incrDepth" else int(levels[1]) if levels else 0
        is_ours = depth in DEPTHS[self.market] and channel == self._channel("orderbook", name, depth)
        return ("orderbook", depth, name) if is_ours else None

    def _channel(self, kind: Kind, symbol: str, depth: int) -> str:
        if kind != "orderbook":
            return CHANNELS[kind]
        if depth == CHANGES:
            return "incrDepth"
        return f"depth{depth}" if self.market == "spot" else f"depth{depth}@{200 if symbol in FAST else 500}ms"


def _topic(text: object) -> str:
    found = _TOPIC.fullmatch(text.strip()) if isinstance(text, str) else None
    name = canonical(found["of"]) if found else ""
    if not found or not is_symbol(name):
        raise ValueError(f"topic is {text!r}, must be a symbol and a channel, e.g. BTC-USDT@kline_1m")
    return f"{name}@{found['channel']}"
