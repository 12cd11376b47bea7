"""Bybit's public WebSocket protocol: endpoints, topics, their limits, requests, and what a received message is.

Pure. From the docs' ws/connect and websocket/public pages, and from frames quoted in public issues (acknowledgements
differ by market). Endpoints, topics and requests equal pybit's (test_pybit_contract.py). A request is answered as a
whole: one bad topic refuses its batch.
"""

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from exchanges.addresses import moved
from exchanges.contract import Endpoints
from exchanges.streams import Op, PublicStreams, check_depth, names_of, read_json, symbols_of
from model.ports import Symbols, TopicOf
from model.protocol import (
    Answer,
    BookSequence,
    Data,
    KeepAlive,
    KindFrames,
    Message,
    Pong,
    StreamLimits,
    TradeKeys,
    Unknown,
)
from model.records import Kind
from model.symbols import canonical, is_symbol

MARKETS = ("linear", "inverse", "spot", "option")
ENDPOINT, ENDPOINT_TESTNET = "wss://stream.bybit.com/v5/public/", "wss://stream-testnet.bybit.com/v5/public/"
PING = json.dumps({"op": "ping"})
DEPTHS = {  # the usual one first
    "linear": (50, 1, 200, 1000),
    "inverse": (50, 1, 200, 1000),
    "spot": (50, 1, 200, 1000),
    "option": (25, 100),
}

ALL_DEPTHS = frozenset(str(depth) for depths in DEPTHS.values() for depth in depths)

SPOT_BATCH = 10  # args per subscribe request, spot (docs: ws/connect)
BATCH = 200  # elsewhere there is no such limit; a refusal costs the whole batch, so not all in one
MAX_BYTES = 21_000  # of all args of one connection (docs: ws/connect)
BYTES_PER_ARG = 3  # two quotes and a comma: counted, because the docs leave open whether Bybit does

TOPIC_KINDS = {
    "trades": "publicTrade.",
    "orderbook": "orderbook.",
    "ticker": "tickers.",
    "liquidations": "allLiquidation.",
    "topics": "",
}
"""How the topics of a kind begin; a symbol follows, in an order book's after its depth and a point."""

# Kinds of topic that end in a symbol; "system.status" does not.
NAMED = frozenset({"publicTrade", "orderbook", "tickers", "allLiquidation", "liquidation", "kline", "priceLimit"})
SENT_MS = re.compile(rb'"ts"\s*:\s*(\d{1,15})\b')  # of a market message: the exchange's time when it was made
SNAPSHOT = re.compile(rb'"type"\s*:\s*"snapshot"|"u"\s*:\s*1\b')  # u is 1 where the service began anew
SEQUENCE = BookSequence(b'"u":%d,', 1, re.compile(rb'"u"\s*:\s*(\d{1,18})\b'), is_own_linked=True, is_at_end=True)
PRICE = re.compile(rb'"lastPrice"\s*:\s*"([^"]+)"')
TRADE_KEYS = TradeKeys(  # all options of a coin share a topic
    b'"topic":"publicTrade.', re.compile(rb'"i"\s*:\s*"([^"]+)"'), b'"s":"%s"', re.compile(rb'"s"\s*:\s*"([^"]+)"')
)
_HEAD = re.compile(r"[A-Za-z_]+(\.[A-Za-z0-9_-]+)*")  # of a topic, before its last part


class BybitProtocol(PublicStreams):
    """One market (linear, inverse, spot, option); a model.protocol.StreamProtocol."""

    keep_alive = KeepAlive(lambda req_id: json.dumps({"op": "ping", "req_id": req_id}), most_s=math.inf)

    def __init__(self, market: str, endpoints: Endpoints) -> None:
        """ValueError for a market that Bybit does not have."""
        check_market(market)
        self.market = market
        self._url = endpoints.stream or moved(endpoint_of(market, testnet=endpoints.testnet), endpoints.ws_url)
        self.limits = StreamLimits(
            bytes=MAX_BYTES, bytes_per_topic=BYTES_PER_ARG, topics_per_message=SPOT_BATCH if market == "spot" else BATCH
        )

    def endpoint(self, _kind: Kind, _topics: Sequence[str]) -> str:
        """See StreamProtocol."""
        return self._url

    def topics(self, kind: Kind, symbols: Symbols, depth: int) -> list[str]:
        """See StreamProtocol. Option trades are subscribed by base coin (BTC), not by symbol."""
        return topics_of(self.market, kind, symbols, depth)

    def request(self, op: Op, req_id: str, topics: Iterable[str]) -> str:
        """See PublicStreams."""
        return request_message(op, req_id, topics)

    def read(self, payload: bytes) -> Message:
        """See StreamProtocol."""
        return read_message(payload)

    def frames(self, kind: Kind, topics: Sequence[str]) -> KindFrames:
        """See StreamProtocol. Option messages have an id before the topic. Trades and liquidations may be rare."""
        begin = TOPIC_KINDS[kind]
        key = "id" if self.market == "option" else "topic"
        is_numbered = kind == "orderbook" and not (topics and topics[0].startswith("orderbook.1."))
        return KindFrames(
            prefix=f'{{"{key}":"{begin}'.encode(),
            marker=b'"topic":"',
            sent=SENT_MS,
            snapshot=SNAPSHOT if kind in ("orderbook", "ticker") else None,
            sequence=SEQUENCE if is_numbered else None,
            price=PRICE if kind == "ticker" and self.market != "option" else None,
            is_steady=kind in ("orderbook", "ticker"),
        )

    def symbol_of(self, topic: str) -> str:
        """See StreamProtocol. Of option trades it is the base coin."""
        return symbol_of(topic)

    def read_topic(self, topic: str) -> TopicOf | None:
        """See StreamProtocol."""
        return read_topic(topic)


def endpoint_of(market: str, *, testnet: bool = False) -> str:
    """The URL of a market's public streams."""
    return (ENDPOINT_TESTNET if testnet else ENDPOINT) + market


def topics_of(market: str, kind: str, symbols: Symbols, depth: int = 50) -> list[str]:
    """The topics of a request; ValueError where Bybit has none such."""
    prefix = f"orderbook.{depth}." if kind == "orderbook" else TOPIC_KINDS.get(kind, "")
    return [prefix + name for name in check_request(market, kind, symbols, depth)]


def request_message(op: str, req_id: str, topics: Iterable[str]) -> str:
    """The text of a subscribe or unsubscribe request."""
    return json.dumps({"op": op, "req_id": req_id, "args": list(topics)})


def check_market(market: str) -> None:
    """ValueError where Bybit has no such market."""
    if market not in MARKETS:
        raise ValueError(f"market is {market!r}, must be one of {', '.join(MARKETS)}")


def check_request(market: str, kind: str, symbols: str | Sequence[str], depth: int) -> list[str]:
    """The symbols of a request as a list without repeats; ValueError where Bybit has no such stream."""
    check_market(market)
    if kind not in TOPIC_KINDS:
        raise ValueError(f"kind is {kind!r}, must be one of {', '.join(TOPIC_KINDS)}")
    if kind == "topics":
        return check_topics(symbols)
    if kind == "liquidations" and market not in ("linear", "inverse"):
        raise ValueError(f"Bybit has no liquidations for {market}, only for linear and inverse")
    if kind == "orderbook":
        check_depth(depth, DEPTHS[market], f"{market} has {', '.join(map(str, sorted(DEPTHS[market])))}")
    return check_symbols(symbols)


def check_topics(topics: str | Sequence[str]) -> list[str]:
    """One topic or several as a list without repeats; the exchange itself refuses those that do not exist."""
    return names_of("topic", topics, _topic, "kline.5.BTCUSDT")


def check_symbols(symbols: str | Sequence[str]) -> list[str]:
    """One symbol or several as the exchange writes them, as a list without repeats, in the order given."""
    return symbols_of(symbols, "BTCUSDT")


def _topic(text: object) -> str:
    head, _, last = text.strip().rpartition(".") if isinstance(text, str) else ("", "", "")
    name = canonical(last)
    if not _HEAD.fullmatch(head) or not is_symbol(name):
        raise ValueError(f"topic is {text!r}, must be parts joined by points, e.g. kline.5.BTCUSDT")
    return f"{head}.{name if head.partition('.')[0] in NAMED else last}"


def read_topic(topic: str) -> TopicOf | None:
    """The kind, depth of a book and symbol of a topic; None where it belongs to no kind."""
    head, _, symbol = topic.strip().rpartition(".")
    if not is_symbol(canonical(symbol)):
        return None
    name, _, depth = head.partition(".")
    if name == "orderbook":
        return ("orderbook", int(depth), symbol) if depth in ALL_DEPTHS else None
    return next(((kind, None, symbol) for kind in get_args(Kind) if TOPIC_KINDS[kind] == f"{head}."), None)


def symbol_of(topic: str) -> str:
    """The last part of a topic: its symbol, or its base coin for option trades."""
    return topic.rpartition(".")[2]


# -- received messages ------------------------------------------------------------------------------------------

_NAMED = re.compile(r"topic:\s*(.+)$", re.IGNORECASE)


def read_message(payload: bytes) -> Message:
    """Decode and classify one text message. Never raises."""
    return read_json(payload, _message)


def _message(message: dict[str, Any]) -> Message:
    topic = message.get("topic")
    if isinstance(topic, str):
        return Data(topic)
    if _is_pong(message):
        return Pong(_time_of(message), str(message.get("req_id") or ""))
    if _is_answer(message):
        return _answer(message)
    return Unknown()


def _is_pong(message: dict[str, Any]) -> bool:
    """Spot, linear and inverse answer op "ping" with ret_msg "pong"; option, private and trade op "pong"."""
    op = message.get("op")
    return op == "pong" or (op == "ping" and message.get("ret_msg") == "pong")


def _time_of(pong: dict[str, Any]) -> int:
    """Option, private and trade write the time into a list of one text."""
    times = pong.get("args") or pong.get("data")
    text = times[0] if isinstance(times, list) and times else None
    return int(text) if isinstance(text, str) and re.fullmatch(r"[0-9]{13}", text) else 0


def _is_answer(message: dict[str, Any]) -> bool:
    """Refusals without an op have been seen, so that `success` alone is enough."""
    op = message.get("op")
    return (
        op in ("subscribe", "unsubscribe")
        or message.get("type") == "COMMAND_RESP"
        or (op is None and "success" in message)
    )


def _answer(message: dict[str, Any]) -> Answer:
    data = message.get("data")
    lists = data if isinstance(data, dict) else {}
    text = str(message.get("ret_msg") or "")
    refused = _texts(lists.get("failTopics"))
    return Answer(
        success=message.get("success") is True and not refused,
        req_id=str(message.get("req_id") or ""),
        message=text,
        named=_named_topics(text),
        is_active="already subscribed" in text.lower(),
        accepted=_texts(lists.get("successTopics")),
        refused=refused,
        is_unsubscribe=message.get("op") == "unsubscribe",
    )


def _named_topics(text: str) -> tuple[str, ...]:
    found = _NAMED.search(text)
    return tuple(part for part in re.split(r"[,\s\[\]\"]+", found[1]) if part) if found else ()


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
