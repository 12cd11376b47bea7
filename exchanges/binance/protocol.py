"""Binance's public WebSocket streams: endpoints, topics, their limits, requests, and what a received message is.

Pure. Combined streams (`{"stream":"btcusdt@trade","data":{...}}`): a topic is the name of a stream, and every message
names its own. Documentation pages: web-socket-streams (spot), websocket-market-streams (USD-M and COIN-M futures).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from exchanges.addresses import moved
from exchanges.contract import OWN, Endpoints
from exchanges.streams import Op, PublicStreams, check_depth, check_one, names_of, request_text, symbols_of
from model.ports import Symbols, TopicOf
from model.protocol import (
    Answer,
    BookSequence,
    Data,
    KindFrames,
    Message,
    Notice,
    Problem,
    StreamLimits,
    TradeKeys,
    Unknown,
)
from model.records import Kind
from model.symbols import canonical, is_symbol

WHOLE_BOOK = 1000
"""The depth that stands for the whole book: changes of any level, every 100 ms. What the REST API gives of futures."""
DEPTHS = (WHOLE_BOOK, 20, 10, 5)  # the others are whole books of so many levels (Partial Book Depth Streams)

HOSTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "spot": ("wss://stream.binance.com:9443", "wss://stream.testnet.binance.vision"),
        "linear": ("wss://fstream.binance.com", "wss://fstream.binancefuture.com"),
        "inverse": ("wss://dstream.binance.com", "wss://dstream.binancefuture.com"),
    }
)
"""Of each market, and of its testnet."""

LIFETIME_S = 86_400.0  # "a single connection is only valid for 24 hours"
SPOT_TOPICS = 1024
FUTURES_TOPICS = 200  # 1,024 by today's page, 200 by the older one of COIN-M
MESSAGE_BYTES = 3_500  # not documented: a longer one than 4,096 bytes is dropped without an answer
BYTES_PER_TOPIC = 3  # two quotes and a comma
SPOT_MESSAGES_PER_S, FUTURES_MESSAGES_PER_S = 4.0, 8.0  # 5 and 10 are allowed, pings and pongs among them

SHUTDOWN = "serverShutdown"
MARKER = b'{"stream":"'
FLOOR = MARKER + b"0"  # names of symbols begin with letters or digits; !serverShutdown is less
SENT_MS = re.compile(rb'"E"\s*:\s*(\d{1,15})\b')
LAST_PRICE = re.compile(rb'"c"\s*:\s*"([^"]+)"')
_BOOK_ID = re.compile(rb'"u":(\d{1,18})\b')

PUBLIC_KINDS = frozenset({"trades", "orderbook"})
"""What is on the path /public of USD-M."""
_STREAM = {"trades": "trade", "ticker": "ticker", "liquidations": "forceOrder"}
_KIND_OF: Mapping[str, Kind] = MappingProxyType(
    {"trade": "trades", "ticker": "ticker", "forceOrder": "liquidations", "depth": "orderbook"}
)
# Names are case-sensitive, and of a wrong one nothing comes: those that are known are written as they must be.
_SPELLED = {
    name.lower(): name
    for name in (
        *("trade", "aggTrade", "blockTrade", "bookTicker", "ticker", "miniTicker", "avgPrice", "depth", "rpiDepth"),
        *("kline", "continuousKline", "indexPriceKline", "markPriceKline", "markPrice", "indexPrice", "forceOrder"),
        *("compositeIndex", "assetIndex", "contractInfo", "tradingSession"),
    )
}
_TOPIC = re.compile(r"(?P<of>!|[^\s@/\"!]+@|)(?P<head>[A-Za-z]+)(?P<rest>[^\s/\"!]*)")
_BOOK_LEVELS = re.compile(r"@depth[0-9]")
_BOOK = re.compile(r"depth(5|10|20|)(@100ms|@250ms|@500ms|@1000ms|)")


class BinanceProtocol(PublicStreams):
    """The streams of one market; a model.protocol.StreamProtocol.

    USD-M has two paths since 2026-03: /public for trades and books, /market for all else. On the wrong one a topic is
    acknowledged and nothing comes. COIN-M is dialled without such a path, as Binance's own client of 2026-08 does;
    other programs dial /public and /market there too, and which of them will stay is not documented.
    """

    lifetime_s = LIFETIME_S  # kept alive by ping frames; those of the exchange are answered by the frame layer

    def __init__(self, market: str, endpoints: Endpoints = OWN) -> None:
        self.market = market
        self._host, self._stream = moved(HOSTS[market][endpoints.testnet], endpoints.ws_url), endpoints.stream
        is_spot = market == "spot"
        self.limits = StreamLimits(
            topics=SPOT_TOPICS if is_spot else FUTURES_TOPICS,
            bytes_per_topic=BYTES_PER_TOPIC,
            bytes_per_message=MESSAGE_BYTES,
            messages_per_s=SPOT_MESSAGES_PER_S if is_spot else FUTURES_MESSAGES_PER_S,
        )
        # Spot counts on by itself; of futures each message names the one before.
        link, step = (b'"U":%d,', 1) if is_spot else (b'"pu":%d,', 0)
        self._book = KindFrames(
            MARKER, MARKER, SENT_MS, FLOOR, is_steady=True, sequence=BookSequence(link, step=step, own=_BOOK_ID)
        )
        self._ticker = KindFrames(MARKER, MARKER, SENT_MS, FLOOR, is_steady=True, price=LAST_PRICE)
        self._partial = KindFrames(MARKER, MARKER, SENT_MS, FLOOR, is_steady=True)
        self._other = KindFrames(MARKER, MARKER, SENT_MS, FLOOR)

    def endpoint(self, kind: Kind, topics: Sequence[str]) -> str:
        """Return the URL that carries topics of a kind."""
        if self._stream is not None:
            return self._stream
        if self.market != "linear":
            return f"{self._host}/stream"
        path = _path_of(topics[0]) if kind == "topics" else "public" if kind in PUBLIC_KINDS else "market"
        return f"{self._host}/{path}/stream"

    def topics(self, kind: Kind, symbols: Symbols, depth: int) -> list[str]:
        """Return the topics of a request, without repeats; ValueError for one that Binance does not have."""
        if kind == "topics":
            return self._checked(names_of("topic", symbols, self._topic, "btcusdt@kline_1m"))
        if kind == "liquidations" and self.market == "spot":
            raise ValueError("Binance has no liquidations for spot, only for linear and inverse")
        if kind == "orderbook":
            levels = ", ".join(map(str, sorted(DEPTHS[1:])))
            known = f"{WHOLE_BOOK} (the whole book, as changes) and {levels} (whole books of so many levels)"
            check_depth(depth, DEPTHS, f"Binance has {known}")
        name = f"depth{'' if depth == WHOLE_BOOK else depth}@100ms" if kind == "orderbook" else _STREAM[kind]
        return list(dict.fromkeys(f"{symbol.lower()}@{name}" for symbol in symbols_of(symbols, "BTCUSDT")))

    def request(self, op: Op, req_id: str, topics: Iterable[str]) -> str:
        """Return a request. Ids are 64-bit integers; spot takes texts too."""
        number: int | str = int(req_id) if req_id.isdecimal() else req_id
        return request_text({"method": op.upper(), "params": list(topics), "id": number})

    def read_object(self, message: dict[str, Any]) -> Message:
        """Return what a received object is."""
        topic, data = message.get("stream"), message.get("data")
        event = data.get("e") if isinstance(data, dict) else message.get("e")
        if event == SHUTDOWN:
            return Notice(SHUTDOWN)
        if isinstance(topic, str):
            return Data(topic)
        req_id = "" if (number := message.get("id")) is None else str(number)
        error = message.get("error", message if "code" in message else None)
        if error is not None:
            text = str(error.get("msg") or error) if isinstance(error, dict) else str(error)
            return Answer(False, req_id, text) if req_id else Problem(text)
        return Answer(True, req_id) if "result" in message else Unknown()

    def frames(self, kind: Kind, topics: Sequence[str]) -> KindFrames:
        """Return how data of topics of a kind looks: all alike, but that books of some levels need no other."""
        if kind == "orderbook":
            return self._partial if topics and _BOOK_LEVELS.search(topics[0]) else self._book
        return self._ticker if kind == "ticker" else self._other

    def symbol_of(self, topic: str) -> str:
        """Return the symbol of a topic in capitals, as the REST API writes it; a topic of no symbol is its own."""
        symbol, at, _ = topic.partition("@")
        return symbol.upper() if at and not topic.startswith("!") else topic

    def read_topic(self, topic: str) -> TopicOf | None:
        """Return kind, depth of a book, and symbol of a topic; None where it belongs to no kind."""
        symbol, _, stream = topic.strip().partition("@")
        book = _BOOK.fullmatch(stream)
        kind = _KIND_OF.get("depth" if book else stream)
        if kind is None or not is_symbol(canonical(symbol)) or (kind == "liquidations" and self.market == "spot"):
            return None
        return kind, (int(book[1] or WHOLE_BOOK) if book else None), canonical(symbol)

    def is_wanted(self, payload: bytes, symbols: frozenset[str]) -> bool:
        """Return whether a payload of a topic that is of all symbols has one of these."""
        return any(f'"s":"{symbol}"'.encode() in payload for symbol in symbols)

    def _topic(self, text: object) -> str:
        found = _TOPIC.fullmatch(text.strip()) if isinstance(text, str) else None
        head = _SPELLED.get(found["head"].lower(), found["head"] if found["of"] else "") if found else ""
        if not found or not head:
            raise ValueError(f"topic is {text!r}, must be the name of a stream, e.g. btcusdt@kline_1m, !miniTicker@arr")
        topic = f"{found['of'].lower()}{head}{found['rest']}"
        if topic.startswith("!ticker@arr") and self.market == "spot":
            raise ValueError("Binance spot has no !ticker@arr since 2026-03-26, use !miniTicker@arr or <symbol>@ticker")
        return topic

    def _checked(self, topics: list[str]) -> list[str]:
        if self.market == "linear":
            by_path = sorted({f"/{_path_of(topic)}": topic for topic in topics}.items(), reverse=True)
            check_one(dict(by_path), "Binance")
        return topics


TRADE_KEYS = TradeKeys(MARKER, re.compile(rb'"t":(\d+)'))
"""One trade a message, its id in `t`: consecutive within a symbol."""


def is_stream(name: str) -> bool:
    """Return whether a name is that of a stream of Binance's, spelled as it must be; its symbol may be none."""
    found = _TOPIC.fullmatch(name)
    return found is not None and found["of"] == found["of"].lower() and found["head"] in _SPELLED.values()


def _path_of(topic: str) -> str:
    """Return the path of USD-M that has a topic."""
    stream = topic[1:] if topic.startswith("!") else topic.partition("@")[2]
    name = stream.partition("@")[0]
    return "public" if name in ("trade", "bookTicker") or name.startswith(("depth", "rpiDepth")) else "market"
