"""Binance as the engine needs it: names, instruments, ids, candle rule, streams."""

import json
import re
import time
from collections.abc import Mapping
from random import Random
from types import MappingProxyType

from ..dialect import Found, Garbage, Symbols
from ..hub import Topic
from ..instruments import Instrument
from ..limits import SocketLimits
from ..options import Options
from ..symbol_market import Stream, SymbolMarket
from ..trades import Mark, TradeIds
from ..truth import CandleRule
from .bars import INTERVALS
from .instruments import instrument
from .rows import Aggregates
from .streams import AggTrades, Book, BookTickers, Candles, Liquidations, Tickers, Trades

CATEGORIES = ("linear", "spot", "inverse")
FUTURES = ("linear", "inverse")
PATHS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("/stream", "/ws"), "plain"),  # spot and COIN-M, which are told apart by their names
        **{f"/{path}/{form}": path for path in ("public", "market") for form in ("stream", "ws")},  # USD-M
    }
)
CATEGORIES_OF: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"plain": ("spot", "inverse"), "public": ("linear",), "market": ("linear",)}
)
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "trade": "trades",
        "aggTrade": "trades",
        "ticker": "ticker",
        "miniTicker": "ticker",
        "bookTicker": "ticker",
        "forceOrder": "liquidation",
    }
)
STREAMS: Mapping[str, type[Stream]] = MappingProxyType(
    {
        "trade": Trades,
        "aggTrade": AggTrades,
        "ticker": Tickers,
        "miniTicker": Tickers,
        "bookTicker": BookTickers,
        "forceOrder": Liquidations,
    }
)
NAMED = re.compile(r"/ws/.*")  # the streams of a raw connection may stand behind its path
BOOK = re.compile(r"depth(5|10|20|)(@(100|250|500|1000)ms)?")
NAME = re.compile(r"(?P<symbol>[^@!/]+)@(?P<stream>[A-Za-z0-9_@]+)")
ID_OF_SECOND = 1000  # trades that a symbol has in a second at most, so that a restarted exchange repeats no id


def is_public(stream: str) -> bool:
    """Whether the path /public of USD-M carries a stream."""
    return stream.startswith(("depth", "rpiDepth")) or stream in ("trade", "bookTicker")


def trade_text(topic: str, price: str, size: str) -> bytes:
    """A trade message that never happened."""
    now_ms, symbol = time.time_ns() // 1_000_000, topic.partition("@")[0].upper()
    return (
        f'{{"stream":"{topic}","data":{{"e":"trade","E":{now_ms},"T":{now_ms},"s":"{symbol}","t":{now_ms},'
        f'"p":"{price}","q":"{size}","X":"MARKET","m":true}}}}'
    ).encode()


def head_of(topic: str) -> bytes:
    """How a data message of a topic begins, without data."""
    return f'{{"stream":"{topic}","data":{{}}'.encode()


class Binance:
    """Binance. A topic is named as its stream; a path's name is plain, public or market."""

    name = "Binance"
    categories = usual_categories = CATEGORIES
    intervals = INTERVALS
    limits = SocketLimits(
        idle_s=86_400.0,
        connects=300,
        refused_status=429,
        messages_per_s=10,
        life_s=86_400.0,
        ping_every_s=20.0,
        pong_within_s=60.0,
        notice_s=600.0,
    )
    garbage = Garbage(
        trade=trade_text,
        head=head_of,
        unknown=b'{"stream":"btcusdt@whatever","data":{"e":"whatever"}}',
        pong=b'{"pong":7}',
        price_key=b'"p":',
        nameless="btcusdt@trade",
    )

    def check(self, options: Options) -> str:  # noqa: ARG002
        """Every option makes sense."""
        return ""

    def instrument(self, category: str, index: int) -> Instrument:
        """See instruments.py."""
        return instrument(category, index)

    def rule(self, category: str) -> CandleRule:
        """The first trade opens; turnovers of COIN-M are exact sums, then rounded."""
        return CandleRule("first_trade", is_inverse=category == "inverse", cuts_each=False)

    def marks(self, category: str) -> tuple[Mark, ...]:
        """Futures: placeholders that take an id, insurance prints that count nowhere, retail prints."""
        if category == "spot":
            return ()
        blank = Mark("NA", 0.004, is_counted=False, is_blank=True)
        return (blank, Mark("INSURANCE_FUND", 0.0005, is_counted=False), Mark("RPI", 0.05))

    def trade_ids(self, instrument: Instrument, index: int, rng: Random, now_us: int) -> TradeIds:  # noqa: ARG002
        """Consecutive within a symbol."""
        return TradeIds(now_us // 1_000_000 * ID_OF_SECOND + index, str)

    def state(self, symbol: SymbolMarket, now_ms: int) -> Aggregates:  # noqa: ARG002
        """The aggregates of the symbol's trades."""
        return Aggregates([])

    def channel(self, path: str) -> str | None:
        """The name of a path."""
        return PATHS.get(NAMED.sub("/ws", path))

    def categories_of(self, channel: str) -> tuple[str, ...]:
        """USD-M has its own two paths."""
        return CATEGORIES_OF[channel]

    def find(self, symbols: Symbols, channel: str, name: str) -> Found | None:
        """By the name of the stream and the path that carries it: in small letters, on the right path, else None."""
        if name == "!forceOrder@arr" and channel != "public":
            orders = [symbol for (category, _), symbol in symbols.items() if category in FUTURES]
            return Found(CATEGORIES_OF[channel][-1], "liquidation", "", orders, categories=FUTURES)
        found = NAME.fullmatch(name)
        if not found or found["symbol"] != found["symbol"].lower():
            return None
        stream, of = found["stream"], found["symbol"].upper()
        categories = CATEGORIES_OF[channel]
        symbol = next((symbols[each, of] for each in categories if (each, of) in symbols), None)
        if symbol is None or (channel != "plain" and is_public(stream) != (channel == "public")):
            return None
        category = symbol.instrument.category
        if book := BOOK.fullmatch(stream):
            return Found(category, "orderbook", of, [symbol], book[1])
        if stream.startswith("kline_") and (interval := stream.removeprefix("kline_")) in INTERVALS:
            return Found(category, "kline", of, [symbol], interval) if self._has(interval, symbol) else None
        kind = KINDS.get(stream)
        if kind is None or (kind == "liquidation" and category == "spot"):
            return None
        return Found(category, kind, of, [symbol])

    def _has(self, interval: str, symbol: SymbolMarket) -> bool:
        return interval != "1s" or (symbol.instrument.category == "spot" and symbol.truth.seconds is not None)

    def stream(self, found: Found, topic: Topic, symbol: SymbolMarket) -> Stream:
        """By the name of the stream."""
        if found.kind == "orderbook":
            return Book(topic, symbol, int(found.detail or 0))
        if found.kind == "kline":
            return Candles(topic, symbol)
        return Liquidations(topic, symbol) if not found.label else STREAMS[topic.name.partition("@")[2]](topic, symbol)

    def topic_of(self, body: bytes) -> str | None:
        """The stream of a combined message."""
        try:
            message = json.loads(body)
        except ValueError:
            return None
        topic = message.get("stream") if isinstance(message, dict) else None
        return topic if isinstance(topic, str) else None

    def kind_of(self, name: str) -> str:
        """By the name of the stream."""
        stream = name.partition("@")[2]
        if BOOK.match(stream):
            return "orderbook"
        return "kline" if stream.startswith("kline_") else KINDS.get(stream.partition("@")[0], "other")


DIALECT = Binance()
