"""Bitget's public WebSocket protocol: endpoints, topics, their limits, requests, and what a received message is.

Pure. A topic is `instType:channel:instId`, as SPOT:trade:BTCUSDT; liquidations, which only the newer v3 socket has, are
`usdt-futures:liquidation`. Documentation pages: websocket-intro, the public channels of spot and futures; UTA (v3)
liquidation channel. Requests have no id: each arg is answered by itself.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from exchanges.addresses import moved
from exchanges.bitget.markets import BOOKS, MARKETS
from exchanges.contract import OWN, Endpoints
from exchanges.streams import Op, PublicStreams, check_depth, check_one, names_of, request_text, symbols_of
from model.ports import Symbols, TopicOf
from model.protocol import (
    NEVER,
    Answer,
    Backlog,
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
)
from model.records import Kind
from model.symbols import canonical, is_symbol

HOST, PUBLIC, PUBLIC_V3 = "wss://ws.bitget.com", "/v2/ws/public", "/v3/ws/public"
PING, PONG, PING_S = "ping", b"pong", 25.0  # every 30 s; without one for two minutes the connection is closed

LIMITS = StreamLimits(
    topics=100,  # 1000; fewer than 50 are advised, 150 were seen to work, and an address has 100 connections
    bytes_per_message=4_000,  # 4096 of the args
    bytes_per_topic=39,  # {"instType":"","channel":"","instId":""}, without the colons of a topic
    messages_per_s=8.0,  # 10, pings among them
    requests_per_hour=220,  # 240
)

LIQUIDATION = "liquidation"
PAST_CHANNELS = ("trade", LIQUIDATION)  # their snapshots are what was before
CHANNELS = {"trades": "trade", "ticker": "ticker", "liquidations": LIQUIDATION}
KINDS: Mapping[str, tuple[Kind, int | None]] = MappingProxyType(
    {
        "trade": ("trades", None),
        "ticker": ("ticker", None),
        **{channel: ("orderbook", depth) for depth, channel in BOOKS.items()},
    }
)
PRODUCTS = ("SPOT", "USDT-FUTURES", "USDC-FUTURES", "COIN-FUTURES")

BEGIN, BEGIN_NEW = b'{"action":"', '{"action":"update","arg":{'
SENT_MS = re.compile(rb'"ts":(\d{13})')  # when it was sent; texts are of the trade or the book
LAST_PRICE = re.compile(rb'"lastPr":"([^"]+)"')
SEQUENCE = BookSequence(link=b'"pseq":%d', step=0, own=re.compile(rb'"seq":(\d{1,19})'), is_at_end=True)
SNAPSHOT = re.compile(rb'"action":"snapshot"')

TOO_MANY = ("30006", "30007")  # requests: asked again, it is no fault of the topic
_TOPIC = re.compile(
    rf"(?:(?P<product>[A-Za-z-]+):)?(?:{LIQUIDATION}|(?P<channel>[A-Za-z][A-Za-z0-9]*):(?P<of>[^\s:]+))"
)
_WANTED = re.compile(rb'"symbol":"([^"]+)"')


class BitgetProtocol(PublicStreams):
    """The streams of one market; a model.protocol.StreamProtocol. Spot and contracts are on one socket, told apart by
    the product of each arg.

    A depth of 500 is the channel books: a snapshot, then changes; 15, 5 and 1 are whole books. A kind `topics` takes
    any channel of v2, by itself (candle1m:BTCUSDT) or with another product (COIN-FUTURES:ticker:BTCUSD), and
    liquidations, one socket an entry.
    """

    limits = LIMITS
    lifetime_s = 86_400.0
    texts: Mapping[bytes, Message] = MappingProxyType({PONG: Pong()})
    keep_alive = KeepAlive(text=lambda _req_id: PING, most_s=PING_S)

    def __init__(self, market: str, endpoints: Endpoints = OWN) -> None:
        self.market, self._product = market, MARKETS[market].product
        self._host, self._stream = moved(HOST, endpoints.ws_url), endpoints.stream

    def endpoint(self, kind: Kind, topics: Sequence[str]) -> str:
        """Return the URL that carries topics of a kind; ValueError where two would have to."""
        paths = {PUBLIC_V3 if _is_v3(topic) else PUBLIC: topic for topic in topics}
        check_one(paths, "Bitget")
        return self._stream or self._host + next(iter(paths), PUBLIC_V3 if kind == "liquidations" else PUBLIC)

    def topics(self, kind: Kind, symbols: Symbols, depth: int) -> list[str]:
        """Return the topics of a request, without repeats; ValueError for one that Bitget does not have."""
        if kind == "topics":
            return names_of("topic", symbols, self._topic, "candle1m:BTCUSDT")
        if kind not in (kinds := MARKETS[self.market].kinds):
            raise ValueError(f"Bitget has no {kind} for {self.market}, only {', '.join(kinds)}")
        if kind == "orderbook":
            check_depth(depth, tuple(BOOKS), "Bitget has 500 (as changes), and 15, 5 and 1 (whole books)")
        names = symbols_of(symbols, "BTCUSDT")
        if kind == "liquidations":
            return [f"{self._product.lower()}:{LIQUIDATION}"]
        channel = BOOKS[depth] if kind == "orderbook" else CHANNELS[kind]
        return [f"{self._product}:{channel}:{name}" for name in names]

    def _topic(self, text: object) -> str:
        found = _TOPIC.fullmatch(text.strip()) if isinstance(text, str) else None
        product = ((found and found["product"]) or self._product).upper()
        name = canonical(found["of"] or "") if found else ""
        if not found or product not in PRODUCTS or not (is_symbol(name) or found["of"] is None):
            raise ValueError(f"topic is {text!r}, must be a channel and its symbol, e.g. candle1m:BTCUSDT")
        if product != self._product and (other := [m for m, spec in MARKETS.items() if spec.product == product]):
            raise ValueError(f"topic is {text!r}, which is of {other[0]}: make a STREAMS entry of that market")
        return f"{product}:{found['channel']}:{name}" if name else f"{product.lower()}:{LIQUIDATION}"

    def request(self, op: Op, _req_id: str, topics: Iterable[str]) -> str:
        """Return the text of a request."""
        return request_text({"op": op, "args": [_arg_of(topic) for topic in topics]})

    def read_object(self, message: dict[str, Any]) -> Message:
        """Return what a received object is."""
        topic, event = _topic_of(message.get("arg")), message.get("event")
        if event is None:
            if not topic or "data" not in message:
                return Unknown()
            is_past = message.get("action") == "snapshot" and topic.split(":")[1] in PAST_CHANNELS
            return Backlog(topic) if is_past else Data(topic)
        if topic and event in ("subscribe", "unsubscribe"):
            return Answer(True, accepted=(topic,), is_unsubscribe=event == "unsubscribe")
        if event != "error":
            return Unknown()
        code = str(message.get("code") or "")
        text = f"{code} {message.get('msg') or ''}".strip()
        if not topic or code in TOO_MANY:
            return Problem(text)
        return Answer(False, message=text, refused=(topic,), is_unsubscribe=message.get("op") == "unsubscribe")

    def frames(self, kind: Kind, topics: Sequence[str]) -> KindFrames:
        """Return how the data of topics of a kind looks. Past trades begin with another action than new ones.

        Data of topics of several channels have no prefix and no key in common: `read` says what they are of.
        """
        channels = {":".join(topic.split(":")[:2]) for topic in topics}
        if not topics and kind != "topics":
            product = self._product.lower() if kind == "liquidations" else self._product
            channels = {f"{product}:{BOOKS[500] if kind == 'orderbook' else CHANNELS[kind]}"}
        if len(channels) != 1:
            return KindFrames(NEVER, NEVER, SENT_MS)
        product, _, channel = channels.pop().partition(":")
        if channel == LIQUIDATION:
            begin = f'{BEGIN_NEW}"instType":"{product}","topic":"{channel}"'
            return KindFrames(begin.encode(), b'"instType":"', SENT_MS, is_market_wide=True)
        instrument = f'"instType":"{product}","channel":"{channel}","instId":"'
        marker = instrument.encode()
        if channel in PAST_CHANNELS:
            return KindFrames((BEGIN_NEW + instrument).encode(), marker, SENT_MS)
        if channel == BOOKS[500]:
            return KindFrames(
                BEGIN, marker, SENT_MS, infix=marker, is_steady=True, snapshot=SNAPSHOT, sequence=SEQUENCE
            )
        return KindFrames(BEGIN, marker, SENT_MS, infix=marker, price=LAST_PRICE if kind == "ticker" else None)

    def key_of(self, _kind: Kind, topic: str) -> bytes:
        """Return the key of a topic's payloads: its symbol; of liquidations their product."""
        return self.symbol_of(topic).encode()

    def symbol_of(self, topic: str) -> str:
        """Return the symbol of a topic; of liquidations their product."""
        product, _, rest = topic.partition(":")
        return rest.partition(":")[2] or product

    def read_topic(self, topic: str) -> TopicOf | None:
        """Return kind, depth of a book, and symbol of a topic of either market; None where it belongs to no kind."""
        product, _, rest = topic.strip().partition(":")
        channel, _, of = rest.partition(":")
        spec = next((each for each in MARKETS.values() if each.product == product.upper()), None)
        if spec is None:
            return None
        if rest == LIQUIDATION:
            return ("liquidations", None, product) if "liquidations" in spec.kinds else None
        return (*KINDS[channel], of) if channel in KINDS and is_symbol(of) else None

    def is_wanted(self, payload: bytes, symbols: frozenset[str]) -> bool:
        """Return whether a payload of liquidations has one of these symbols."""
        return any(found.decode(errors="replace") in symbols for found in _WANTED.findall(payload))


TRADE_KEYS = TradeKeys(b'"channel":"trade","instId":"', re.compile(rb'"tradeId":"(\d+)"'))
"""A connection has one market, a message one symbol."""


def _is_v3(topic: str) -> bool:
    return topic.endswith(f":{LIQUIDATION}")


def _arg_of(topic: str) -> dict[str, str]:
    product, channel, *of = topic.split(":")
    if not of:
        return {"instType": product, "topic": channel}
    return {"instType": product, "channel": channel, "instId": of[0]}


def _topic_of(arg: object) -> str:
    """The topic that an arg names; of v3 without what it is of; "" where it names none."""
    if not isinstance(arg, dict) or not isinstance(product := arg.get("instType"), str):
        return ""
    channel, of = arg.get("channel"), arg.get("instId")
    if isinstance(channel, str) and isinstance(of, str):
        return f"{product.upper()}:{channel}:{of}"
    return f"{product}:{channel}" if isinstance(channel := arg.get("topic"), str) else ""
