"""KuCoin's classic public WebSocket protocol: tokens, topics, their limits, requests, what a received message is.

Pure, but for `resolve`. A topic is `channel:symbol`, as /market/match:BTC-USDT. Documentation pages: websocket-api
(introduction, base-info), spot and futures public channels, error-code/websocket, rate-limit.
"""

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec

from exchanges.addresses import moved
from exchanges.contract import OWN, Endpoints
from exchanges.kucoin.rest import PUBLIC, URLS, sort_answer
from exchanges.rest_client import ask
from exchanges.streams import Op, PublicStreams, check_depth, names_of, request_text, symbols_of
from model.markets import KlineRules, MarketSpec, by_name
from model.ports import Symbols, TopicOf
from model.protocol import (
    Answer,
    BookSequence,
    Data,
    KeepAlive,
    KindFrames,
    Message,
    Pong,
    Problem,
    StreamLimits,
    TradeKeys,
    Unknown,
    Welcome,
)
from model.records import Kind
from model.symbols import canonical, is_symbol

KINDS: Sequence[Kind] = ("trades", "orderbook", "ticker")
"""There are no public liquidations: every topic that might have them is answered with 404."""
CHANGES = 1000
"""The depth that stands for changes of the whole book: what REST gives of one, of spot with a key alone."""
DEPTHS = (50, 5, CHANGES)  # the first two are whole books, every 100 ms
RULES = KlineRules("first_trade", lacks_quiet=True)  # spot writes quiet minutes late, futures not at all
MARKETS = by_name(
    MarketSpec("linear", "futures", "linear", KINDS, DEPTHS, RULES, has_contracts=True),
    MarketSpec("spot", "spot", "spot", KINDS, DEPTHS, RULES),
)
"""Inverse contracts (multiplier -1) are left out: nothing of them was verified."""

WS = {"spot": "wss://ws-api-spot.kucoin.com/", "linear": "wss://ws-api-futures.kucoin.com/"}
"""What the answers with tokens named so far; what they name is dialled."""
TOKEN, TOKEN_WEIGHT = "/api/v1/bullet-public", 10
PING_S, PING_SHARE = 15.0, 0.8  # of pingInterval, 18 s, after which (and pingTimeout) the exchange gives a client up
TOPICS = {"spot": 250, "linear": 100}  # of 300; futures had 100 in 2023, and are not limited by newer pages

SPOT_CHANGES = BookSequence(link=b'"sequenceStart":%d,', step=1, own=re.compile(rb'"sequenceEnd":(\d{1,19})\b'))
FUTURES_CHANGES = BookSequence(
    link=b'"sequence":%d,', step=1, own=re.compile(rb'"sequence":(\d{1,19})\b'), is_own_linked=True
)
TOPIC_EXAMPLE = "/market/candles:BTC-USDT_1min"
_TOPIC = re.compile(r"/[A-Za-z0-9/]+:[^\s:,\"]+")
_NO_TOPIC = re.compile(r"topic (\S+) is not found")


class Channel(NamedTuple):
    """A channel of a market, and how its data looks."""

    name: str
    kind: Kind
    depth: int | None
    frames: KindFrames


def _channel(name: str, kind: Kind, sent: bytes, depth: int | None = None, **frames: Any) -> Channel:
    """Its data are told by their topic, wherever that stands: the order of the fields was another over the years."""
    topic = f'"topic":"{name}:'.encode()
    return Channel(name, kind, depth, KindFrames(b"{", topic, re.compile(sent + rb'"?(\d{13})'), infix=topic, **frames))


_PRICE = rb'"?([^",}]+)'
CHANNELS: Mapping[str, Sequence[Channel]] = MappingProxyType(
    {
        "spot": (
            _channel("/market/match", "trades", b'"time":'),
            _channel("/spotMarket/level2Depth50", "orderbook", b'"timestamp":', 50),
            _channel("/spotMarket/level2Depth5", "orderbook", b'"timestamp":', 5),
            _channel("/market/level2", "orderbook", b'"time":', CHANGES, sequence=SPOT_CHANGES),
            _channel("/market/snapshot", "ticker", b'"datetime":', price=re.compile(rb'"lastTradedPrice":' + _PRICE)),
        ),
        "linear": (
            _channel("/contractMarket/execution", "trades", b'"ts":'),
            _channel("/contractMarket/level2Depth50", "orderbook", b'"timestamp":', 50, is_steady=True),
            _channel("/contractMarket/level2Depth5", "orderbook", b'"timestamp":', 5, is_steady=True),
            _channel("/contractMarket/level2", "orderbook", b'"timestamp":', CHANGES, sequence=FUTURES_CHANGES),
            _channel("/contractMarket/snapshot", "ticker", b'"ts":', price=re.compile(rb'"lastPrice":' + _PRICE)),
        ),
    }
)
"""Those of the kinds, the usual one of a kind first. Both tickers have the last price: spot's every 2 s, of futures
every 5 s; /market/ticker and /contractMarket/tickerV2 are quicker and have the best offers alone, or nothing of 24 h.
"""
_ALL = {channel.name: channel for channels in CHANNELS.values() for channel in channels}
_SENT_MS = re.compile(rb'"(?:time|ts|timestamp|datetime)":"?(\d{13})')  # of ms, us and ns
_TOPICS = KindFrames(b"{", b'"topic":"', _SENT_MS, infix=b'"topic":"')
_ALONE = frozenset({"/market/candles", "/contractMarket/limitCandle"})  # no list of these is documented


class _Server(msgspec.Struct):
    endpoint: Annotated[str, msgspec.Meta(pattern="^wss?://.")]
    pingInterval: Annotated[float, msgspec.Meta(gt=0)] = 18_000.0  # noqa: N815 - KuCoin's name


class _Bullet(msgspec.Struct):
    token: Annotated[str, msgspec.Meta(min_length=1)]
    instanceServers: Annotated[list[_Server], msgspec.Meta(min_length=1)]  # noqa: N815 - KuCoin's name


class KucoinProtocol(PublicStreams):
    """The streams of one market; a model.protocol.StreamProtocol.

    Depths of 50 and 5 are whole books; 1000 are changes, without a snapshot on the stream. A topic of an unknown symbol
    is acknowledged, and nothing comes.
    """

    lifetime_s = 86_400.0  # of a token, and a connection is expected to end with it

    def __init__(self, market: str, endpoints: Endpoints = OWN) -> None:
        self.market = market
        self.limits = StreamLimits(  # of 100 messages in 10 s, pings among them
            topics=TOPICS[market], topics_per_message=100, messages_per_s=8.0, channel_of=_list_of
        )
        self.keep_alive = _keep_alive(PING_S)
        self._url = endpoints.stream or moved(WS[market], endpoints.ws_url)
        self._is_given = bool(endpoints.stream or endpoints.ws_url)
        self._rest = moved(URLS[market], endpoints.rest_url)
        self._channels = {channel.name: channel for channel in CHANNELS[market]}

    def endpoint(self, _kind: Kind, _topics: Sequence[str]) -> str:
        """Return the one URL, without its token."""
        return self._url

    def resolve(self, endpoint: str) -> str:
        """Return the URL of the exchange's answer, with a fresh token; a host that the user gave stays.

        From now on pings keep to the interval that the answer names.
        """
        bullet = ask(self._rest, TOKEN, budget=PUBLIC, weight=TOKEN_WEIGHT, sort=sort_answer, read=_bullet_of)
        server = bullet.instanceServers[0]
        self.keep_alive = _keep_alive(min(PING_S, PING_SHARE * server.pingInterval / 1000))
        url = urlsplit(endpoint if self._is_given else server.endpoint)
        query = urlencode({"token": bullet.token, "connectId": uuid.uuid4().hex})
        return url._replace(path=url.path or "/", query=query).geturl()  # without a path it answers 400

    def topics(self, kind: Kind, symbols: Symbols, depth: int) -> list[str]:
        """Return the topics of a request, without repeats; ValueError for one that KuCoin does not have."""
        if kind == "topics":
            return names_of("topic", symbols, _topic, TOPIC_EXAMPLE)
        spec = MARKETS[self.market]
        if kind not in spec.kinds:
            raise ValueError(f"KuCoin has no public {kind}, only {', '.join(spec.kinds)}")
        if kind == "orderbook":
            check_depth(depth, spec.depths, "KuCoin has 50 and 5 (whole books), and 1000 (changes of the whole book)")
        channel = self._channel_of(kind, depth)
        return [f"{channel.name}:{name}" for name in symbols_of(symbols, "BTC-USDT, XBTUSDTM")]

    def request(self, op: Op, req_id: str, topics: Iterable[str]) -> str:
        """Return the text of a request: one channel, and a list of what it is of."""
        parts = [topic.partition(":") for topic in topics]
        topic = f"{parts[0][0]}:{','.join(of for _, _, of in parts)}"
        return request_text({"id": req_id, "type": op, "topic": topic, "privateChannel": False, "response": True})

    def read_object(self, message: dict[str, Any]) -> Message:
        """Return what a received object is."""
        kind, topic = message.get("type"), message.get("topic")
        req_id = str(message.get("id") or "")
        if kind == "message":
            return Data(topic) if isinstance(topic, str) and "data" in message else Unknown()
        if kind == "error":
            return _error(req_id, message.get("code"), message.get("data"))
        if kind == "pong":
            us = message.get("timestamp")
            return Pong(us // 1000 if isinstance(us, int) and us > 10**15 else 0, req_id)  # less is another unit
        return Answer(True, req_id) if kind == "ack" else Welcome() if kind == "welcome" else Unknown()

    def frames(self, kind: Kind, topics: Sequence[str]) -> KindFrames:
        """Return how the data of topics of a kind looks: each channel begins by itself."""
        if kind == "topics":
            return _TOPICS
        channel = self._channels.get(topics[0].partition(":")[0]) if topics else None
        return (channel or self._channel_of(kind)).frames

    def key_of(self, kind: Kind, topic: str) -> bytes:
        """Return the key of a topic's payloads: its symbol; of topics of the user's, all of it."""
        return (topic if kind == "topics" else topic.partition(":")[2]).encode()

    def symbol_of(self, topic: str) -> str:
        """Return the symbol of a topic; of one that is of more, what that is."""
        return topic.partition(":")[2].partition("_")[0]

    def read_topic(self, topic: str) -> TopicOf | None:
        """Return kind, depth of a book, and symbol of a topic of either market; None where it belongs to no kind."""
        name, _, of = topic.strip().partition(":")
        channel, symbol = _ALL.get(name), canonical(of)
        return (channel.kind, channel.depth, symbol) if channel and is_symbol(symbol) else None

    def _channel_of(self, kind: Kind, depth: int | None = None) -> Channel:
        """The channel of a kind; the usual one where no depth is given, or its topics have none."""
        own = [channel for channel in self._channels.values() if channel.kind == kind]
        return next((channel for channel in own if channel.depth == depth), own[0])


TRADE_KEYS = TradeKeys(b'"topic":"', re.compile(rb'"sequence":"?(\d+)'))
"""One trade a message. Its sequence is the book's: unique within a symbol, growing, and not consecutive."""


def _keep_alive(most_s: float) -> KeepAlive:
    return KeepAlive(lambda req_id: request_text({"id": req_id, "type": "ping"}), most_s, is_welcomed=True)


def _list_of(topic: str) -> str:
    """What topics of one request have in common: their channel, where it takes a list."""
    channel, _, of = topic.partition(":")
    return topic if channel in _ALONE or of == "all" else channel


def _bullet_of(body: Mapping[str, object]) -> _Bullet:
    return msgspec.convert(body.get("data"), _Bullet, strict=False)


def _topic(text: object) -> str:
    found = text.strip() if isinstance(text, str) else ""
    if not _TOPIC.fullmatch(found):
        raise ValueError(f"topic is {text!r}, must be a channel and what it is of, e.g. {TOPIC_EXAMPLE}")
    return found


def _error(req_id: str, code: object, reason: object) -> Message:
    """An error: of the topic that it names, of its request, or of none: the rate, a ping that did not come, its own.

    Too many topics refuse a request; it is halved until what fits is subscribed, and the rest is tried again later.
    """
    text = f"{code} {reason}"
    if not req_id or code in (500, "500") or "per second" in text or "ping" in text:
        return Problem(text)
    found = _NO_TOPIC.search(text)
    return Answer(False, req_id, text, named=(found[1],) if found else ())
