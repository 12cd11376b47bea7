"""Bybit V5 as the engine needs it: names, instruments, ids, candle rule, streams."""

import time
from dataclasses import dataclass
from random import Random

from ..dialect import Found, Garbage, Symbols
from ..hub import Topic
from ..instruments import Instrument
from ..limits import SocketLimits
from ..options import Options
from ..symbol_market import Stream, SymbolMarket
from ..trades import Mark, TradeIds
from ..truth import CandleRule
from . import topics
from .auth import key_of_text
from .book import Book
from .instruments import instrument
from .streams import Klines, Liquidations, Tickers, Trades
from .ticker import Ticker

PATHS = {f"/v5/public/{category}": category for category in topics.CATEGORIES}
PATHS |= {"/v5/private": "private", "/v5/trade": "trade"}
STREAMS = {"trades": Trades, "ticker": Tickers, "liquidation": Liquidations, "kline": Klines}
MARKS = (Mark("RPI", 0.05),)
UUID_SPAN = 1 << 48


@dataclass(slots=True)
class Own:
    """What is kept of a symbol."""

    ticker: Ticker


def trade_text(topic: str, price: str, size: str) -> bytes:
    """A trade message that never happened."""
    now_ms = time.time_ns() // 1_000_000
    return (
        f'{{"topic":"{topic}","type":"snapshot","ts":{now_ms},"data":[{{"T":{now_ms},'
        f'"s":"{topic.rpartition(".")[2]}","S":"Buy","v":"{size}","p":"{price}","L":"PlusTick",'
        f'"i":"00000000-0000-5000-8000-{now_ms:012x}","BT":false,"RPI":false,"seq":{now_ms}}}]}}'
    ).encode()


class Bybit:
    """Bybit V5. A path's name is its category, "private" or "trade"."""

    name = "Bybit"
    categories = topics.CATEGORIES
    usual_categories = ("linear", "spot", "inverse")
    intervals = topics.INTERVALS
    limits = SocketLimits()
    garbage = Garbage(
        trade=trade_text,
        head=lambda topic: f'{{"topic":"{topic}","type":"snapshot","ts":1,"data":[]'.encode(),
        unknown=b'{"topic":"whatever.BTCUSDT","type":"snapshot","data":{}}',
        pong=b'{"op":"pong","args":7,"success":"maybe"}',
        price_key=b'"p":',
        nameless="publicTrade.BTCUSDT",
    )

    def check(self, options: Options) -> str:
        """Whether every --api-key can be read."""
        try:
            for text in options.api_key:
                key_of_text(text)
        except ValueError as error:
            return str(error)
        return ""

    def instrument(self, category: str, index: int) -> Instrument:
        """Names and steps as recorded."""
        return instrument(category, index)

    def rule(self, category: str) -> CandleRule:
        """The previous close opens; an inverse trade's turnover is cut to eight decimals (as of 2022)."""
        return CandleRule("prev_close", is_inverse=category == "inverse")

    def marks(self, category: str) -> tuple[Mark, ...]:  # noqa: ARG002
        """RPI trades count."""
        return MARKS

    def trade_ids(self, instrument: Instrument, index: int, rng: Random, now_us: int) -> TradeIds:
        """UUIDs, numbers for spot; the first from the clock, so that a restart of the same seed repeats none."""
        head = f"{rng.getrandbits(32):08x}-{rng.getrandbits(16):04x}-5{rng.getrandbits(12):03x}-8{index:03x}-"
        if instrument.category == "spot":
            return TradeIds((2000 + index) * 10**15 + now_us, str)
        return TradeIds(now_us % UUID_SPAN, lambda number: f"{head}{number % UUID_SPAN:012x}")

    def state(self, symbol: SymbolMarket, now_ms: int) -> Own:
        """The ticker, which REST shows whether or not anyone subscribed it."""
        return Own(Ticker(symbol, now_ms))

    def channel(self, path: str) -> str | None:
        """The category of a public path, else private or trade."""
        return PATHS.get(path)

    def categories_of(self, channel: str, name: str) -> tuple[str, ...]:  # noqa: ARG002
        """A path carries its own category."""
        return (channel,) if channel in topics.CATEGORIES else ()

    def find(self, symbols: Symbols, channel: str, name: str) -> Found | None:
        """By the shape of the name, then by the listing; trades of options are named by their coin (trap T18)."""
        parsed = topics.parse_topic(channel, name)
        if parsed is None:
            return None
        if channel == "option" and parsed.kind == "trades":
            named = (s for (c, _), s in symbols.items() if c == channel and s.instrument.base == parsed.symbol)
            symbol = next(named, None)
        else:
            symbol = symbols.get((channel, parsed.symbol))
        if symbol is None:
            return None
        return Found(channel, parsed.kind, parsed.symbol, [symbol], parsed.detail)

    def stream(self, found: Found, topic: Topic, symbol: SymbolMarket) -> Stream:
        """By kind."""
        if found.kind == "orderbook":
            return Book(topic, symbol, int(found.detail))
        return STREAMS[found.kind](topic, symbol)

    def topic_of(self, body: bytes) -> str | None:
        """The field of that name."""
        return topics.topic_of(body)

    def carried(self, topic: str, body: bytes) -> bytes:  # noqa: ARG002
        """As it is."""
        return body

    def kind_of(self, name: str) -> str:
        """By the head of the name."""
        return topics.kind_of_any(name)


DIALECT = Bybit()
