"""Gate's public WebSocket protocol: endpoints, topics, requests, and what a received message is.

Pure, but that a request has the time at which it is made. A topic is `channel:what`, as spot.trades:BTC_USDT; where a
channel takes several words of one request, they have commas: spot.candlesticks:1m,BTC_USDT. Documentation pages: Spot
WebSocket v4, Futures WebSocket v4.
"""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from exchanges.addresses import moved
from exchanges.contract import OWN, Endpoints
from exchanges.gate.markets import DEPTHS, MARKETS
from exchanges.streams import Op, PublicStreams, check_depth, names_of, request_text, symbols_of
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
    Unknown,
)
from model.records import Kind
from model.symbols import canonical, is_symbol

URLS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "spot": ("wss://api.gateio.ws/ws/v4/", "wss://ws-testnet.gate.com/v4/ws/spot"),
        "linear": ("wss://fx-ws.gateio.ws/v4/ws/usdt", "wss://ws-testnet.gate.com/v4/ws/futures/usdt"),
    }
)
"""Of each market, and of its testnet."""
LISTING = "futures.contract_info"  # of contracts whose size, or another rule, changes
PING_S = 15.0  # a connection without subscriptions and without messages of ours is closed after 30 s (measured)
CANDLES = "candlesticks:1m,BTC_USDT"  # a topic for examples
ALREADY = "Alert sub"  # of a book that is subscribed on this connection

_CHANNELS: Mapping[str, Kind] = MappingProxyType(
    {"trades": "trades", "obu": "orderbook", "tickers": "ticker", "public_liquidates": "liquidations"}
)
_NAME_OF: Mapping[str, str] = MappingProxyType({kind: name for name, kind in _CHANNELS.items()})
_MORE_LISTS = ("trades_v2", "book_ticker", "contract_info")
LISTS = frozenset(f"{market}.{name}" for market in ("spot", "futures") for name in (*_CHANNELS, *_MORE_LISTS))
"""Channels that take many symbols in one request; of the others each word of a request says something else."""

_TOPIC = re.compile(r"(spot|futures)\.[a-z_0-9]+:[^\s:,\"]+(,[^\s:,\"]+)*")
_BOOK = re.compile(r"ob\.(.+)\.(\d+)")
_NAMES = ("currency_pair", "contract", "s", "n", "c")  # of what a message is of; "c" is of 2020
SENT_MS = re.compile(rb'"(?:time_ms|create_time_ms|t)":"?(\d{13})')  # first is that of the push; of obu, of the book
FLOOR = b'{"time":16'  # before, in 2020, trades had no milliseconds
LAST_PRICE = re.compile(rb'"last":"([^"]+)"')
SNAPSHOT = re.compile(rb'"full":true')
SEQUENCE = BookSequence(b'"U":%d,', step=1, own=re.compile(rb'"u":(\d{1,19})\b'))


class GateProtocol(PublicStreams):
    """The streams of one market; a model.protocol.StreamProtocol.

    A kind `topics` takes any public channel of the market. Books that do not exist are acknowledged, and silent.
    """

    def __init__(self, market: str, endpoints: Endpoints = OWN) -> None:
        self.market = market
        self._begin = MARKETS[market].product + "."
        self._url = endpoints.stream or moved(URLS[market][endpoints.testnet], endpoints.ws_url)
        self.listing_topics = () if market == "spot" else (f"{LISTING}:!all",)
        self._symbol = b'"currency_pair":"' if market == "spot" else b'"contract":"'
        self.limits = StreamLimits(topics=150, topics_per_message=100, channel_of=_channel_of)  # 150 are known to work
        ping = self._begin + "ping"
        self.keep_alive = KeepAlive(lambda _: request_text({"time": int(time.time()), "channel": ping}), most_s=PING_S)

    def endpoint(self, _kind: Kind, _topics: Sequence[str]) -> str:
        """Return the URL of the market: it carries everything."""
        return self._url

    def topics(self, kind: Kind, symbols: Symbols, depth: int) -> list[str]:
        """Return the topics of a request, without repeats; ValueError for one that Gate does not have."""
        if kind == "topics":
            return names_of("topic", symbols, self._topic, self._begin + CANDLES)
        if kind not in (kinds := MARKETS[self.market].kinds):
            raise ValueError(f"Gate has no {kind} for {self.market}, only {', '.join(kinds)}")
        if kind == "orderbook":
            check_depth(depth, DEPTHS, "Gate has 50 and 400")
        of = f"ob.{{}}.{depth}" if kind == "orderbook" else "{}"
        return [f"{self._begin}{_NAME_OF[kind]}:{of.format(name)}" for name in symbols_of(symbols, "BTC_USDT")]

    def request(self, op: Op, req_id: str, topics: Iterable[str]) -> str:
        """Return the text of a request, of one channel; Gate takes those whose time is within 60 s of its own."""
        parts = [topic.partition(":") for topic in topics]
        channel, payload = parts[0][0], [of for _, _, of in parts]
        if channel not in LISTS:
            payload = payload[0].split(",")
        number: int | str = int(req_id) if req_id.isdecimal() else req_id
        return request_text(
            {"time": int(time.time()), "id": number, "channel": channel, "event": op, "payload": payload}
        )

    def read_object(self, message: dict[str, Any]) -> Message:
        """Return what a received object is."""
        channel, event, error = (message.get(name) for name in ("channel", "event", "error"))
        if not isinstance(channel, str):
            return Unknown()
        text = str(error.get("message") or error) if isinstance(error, dict) else str(error or "")
        if channel.endswith(".pong"):
            return Pong(sent) if isinstance(sent := message.get("time_ms"), int) else Pong()
        if channel.endswith(".system"):
            return Notice(f"{channel} {message.get('result')}")
        if event in ("subscribe", "unsubscribe"):
            req_id = "" if (number := message.get("id")) is None else str(number)
            return Answer(
                *(not text, req_id, text),
                named=tuple(f"{channel}:{word.strip('.,:')}" for word in text.split()),
                is_active=ALREADY in text,
                is_unsubscribe=event == "unsubscribe",
                of=_topics_of(channel, message.get("payload")),
            )
        if text:
            return Problem(f"{channel} {text}")
        of = _subject_of(message.get("result"))
        is_data = bool(of) and event in ("update", "all")
        return Data(f"{channel}:{of}", is_listing=channel == LISTING) if is_data else Unknown()

    def frames(self, kind: Kind, topics: Sequence[str]) -> KindFrames:
        """Return how data of topics of a kind looks: those of one channel have its name, as answers to requests have.

        Of books the order of the fields differs between the markets and the years: what they are of is theirs alone.
        """
        channels = {topic.partition(":")[0] for topic in topics} if kind == "topics" else {self._begin + _NAME_OF[kind]}
        if len(channels) != 1:
            return KindFrames(NEVER, NEVER, SENT_MS)
        (channel,) = channels
        name = channel.removeprefix(self._begin)
        if name == "obu":
            begin = b'"s":"'
            return KindFrames(
                b'{"', begin, SENT_MS, infix=begin + b"ob.", is_steady=True, snapshot=SNAPSHOT, sequence=SEQUENCE
            )
        infix = f'"channel":"{channel}","event":"update"'.encode()
        price = LAST_PRICE if name == "tickers" else None
        return KindFrames(b'{"time":1', self._symbol, SENT_MS, floor=FLOOR, infix=infix, price=price)

    def key_of(self, _kind: Kind, topic: str) -> bytes:
        """Return the key of a topic's payloads: what it is of."""
        return topic.partition(":")[2].encode()

    def symbol_of(self, topic: str) -> str:
        """Return the symbol of a topic; of one that has none, what it is of."""
        of = topic.partition(":")[2]
        if book := _BOOK.fullmatch(of):
            return book[1]
        return next((word for word in of.split(",") if "_" in word), of)

    def read_topic(self, topic: str) -> TopicOf | None:
        """Return kind, depth of a book, and symbol of a topic of either market; None where it belongs to no kind."""
        channel, _, of = topic.strip().partition(":")
        product, _, name = channel.partition(".")
        kinds = next((spec.kinds for spec in MARKETS.values() if spec.product == product), ())
        kind, book = _CHANNELS.get(name), _BOOK.fullmatch(of)
        symbol = canonical(book[1] if book else of)
        if kind not in kinds or kind is None or bool(book) != (kind == "orderbook") or not is_symbol(symbol):
            return None
        return kind, int(book[2]) if book else None, symbol

    def _topic(self, text: object) -> str:
        topic = text.strip() if isinstance(text, str) else ""
        if not _TOPIC.fullmatch(topic) or not topic.startswith(self._begin):
            raise ValueError(f"topic is {text!r}, must be a channel and what it asks for: {self._begin}{CANDLES}")
        return topic


def _channel_of(topic: str) -> str:
    """Return what the topics of one request share: a channel, or the whole topic where each needs a request."""
    channel = topic.partition(":")[0]
    return channel if channel in LISTS else topic


def _topics_of(channel: str, payload: object) -> tuple[str, ...]:
    """Return the topics of a request by the payload that its answer repeats; older answers do not."""
    words = [word for word in payload if isinstance(word, str)] if isinstance(payload, list) else []
    return tuple(f"{channel}:{word}" for word in words) if channel in LISTS else (f"{channel}:{','.join(words)}",)


def _subject_of(result: object) -> str:
    """Return what the data of a message are of, as a request names it as far as they tell; "" where they do not."""
    row = result
    while isinstance(row, list) and row:
        row = row[0]
    if not isinstance(row, dict) or ("create_time" in row and "create_time_ms" not in row):  # in 2020
        return ""
    of = next((name for name in map(row.get, _NAMES) if isinstance(name, str)), "")
    return of.replace("_", ",", 1) if of == row.get("n") else of  # of candles: 1m_BTC_USDT
