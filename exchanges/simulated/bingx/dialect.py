"""BingX as the engine needs it: names, instruments, ids, candle rule, streams."""

import re
import time
from collections.abc import Mapping
from random import Random
from types import MappingProxyType

from ..book import OwnBook
from ..dialect import Found, Garbage, Symbols
from ..hub import Topic
from ..instruments import Instrument
from ..limits import SocketLimits
from ..options import Options
from ..symbol_market import Stream, SymbolMarket
from ..trades import Mark, TradeIds
from ..truth import CandleRule, Interval
from .instruments import WIDE, instrument, wide
from .rows import decimals
from .streams import SPOT_INTERVALS, SWAP_INTERVALS, Book, Books, Changes, Klines, SpotTrades, SwapTrades, Tickers

PATHS: Mapping[str, str] = MappingProxyType({"/swap-market": "linear", "/market": "spot"})
INTERVALS: Mapping[str, Mapping[str, Interval]] = MappingProxyType({"linear": SWAP_INTERVALS, "spot": SPOT_INTERVALS})
KINDS: Mapping[str, str] = MappingProxyType({"trade": "trades", "ticker": "ticker"})
BOOK = re.compile(r"depth(5|10|20|50|100)(@(?:100|200|500)ms)?|incrDepth")
CHANGES = "1000"
TOPIC = re.compile(rb'"dataType"\s*:\s*"([^"]+)"')
ID_OF_SECOND = 1000  # trades that a symbol has in a second at most, so that a restarted exchange repeats no id


def trade_text(topic: str, price: str, size: str) -> bytes:
    """A trade of swaps that never happened."""
    now_ms, symbol = time.time_ns() // 1_000_000, topic.partition("@")[0]
    row = f'{{"q":"{size}","p":"{price}","T":{now_ms},"m":false,"s":"{symbol}"}}'
    return f'{{"code":0,"dataType":"{topic}","data":[{row}]}}'.encode()


class Bingx:
    """BingX. A topic is a dataType, as BTC-USDT@trade; a path's name is linear or spot."""

    name = "BingX"
    categories = usual_categories = ("linear", "spot")
    intervals: Mapping[str, Interval] = MappingProxyType(SWAP_INTERVALS | SPOT_INTERVALS)
    limits = SocketLimits(
        ping_every_s=5.0,
        pong_within_s=30.5,
        open_most=60,
        messages_per_s=10,
        refused_status=429,
    )
    garbage = Garbage(
        trade=trade_text,
        head=lambda topic: f'{{"code":0,"dataType":"{topic}","data":[]'.encode(),
        unknown=b'{"code":0,"dataType":"BTC-USDT@whatever","data":{}}',
        pong=b'{"pong":[]}',
        price_key=b'"p":',
        nameless="BTC-USDT@trade",
    )

    def check(self, options: Options) -> str:  # noqa: ARG002
        """Every option makes sense."""
        return ""

    def instrument(self, category: str, index: int) -> Instrument:
        """Sizes in the base coin."""
        return instrument(category, index)

    def rule(self, category: str) -> CandleRule:  # noqa: ARG002
        """The first trade opens; flat without one."""
        return CandleRule("first_trade")

    def marks(self, category: str) -> tuple[Mark, ...]:  # noqa: ARG002
        """All trades are ordinary."""
        return ()

    def trade_ids(self, instrument: Instrument, index: int, rng: Random, now_us: int) -> TradeIds:  # noqa: ARG002
        """Of spot consecutive within a pair; of swaps there are none."""
        first = now_us // 1_000_000 * ID_OF_SECOND + index
        return TradeIds(first, str if instrument.category == "spot" else lambda _number: "")

    def state(self, symbol: SymbolMarket, now_ms: int) -> OwnBook[Book]:  # noqa: ARG002
        """The symbol's book; sizes of one pair have many decimals."""
        if (symbol.instrument.category, symbol.instrument.symbol) == ("spot", WIDE):
            symbol.size_text = wide(symbol.size_text, decimals(symbol.instrument.lot))
        return OwnBook(symbol, Book)

    def channel(self, path: str) -> str | None:
        """The market of a socket."""
        return PATHS.get(path)

    def categories_of(self, channel: str, name: str) -> tuple[str, ...]:  # noqa: ARG002
        """A socket carries one market, and names are the same in both."""
        return (channel,)

    def find(self, symbols: Symbols, channel: str, name: str) -> Found | None:
        """By symbol and channel."""
        label, _, kind = name.partition("@")
        symbol = symbols.get((channel, label))
        if symbol is None:
            return None
        if kind in KINDS:
            return Found(channel, KINDS[kind], label, [symbol])
        interval = kind.removeprefix("kline_")
        if kind.startswith("kline_") and interval in INTERVALS[channel]:
            return Found(channel, "kline", label, [symbol], interval)
        book = BOOK.fullmatch(kind)
        if book is None or (book[2] and channel == "spot"):
            return None
        return Found(channel, "orderbook", label, [symbol], book[1] or CHANGES)

    def stream(self, found: Found, topic: Topic, symbol: SymbolMarket) -> Stream:
        """By kind."""
        if found.kind == "orderbook":
            return (Changes if found.detail == CHANGES else Books)(topic, symbol)
        if found.kind == "trades":
            return (SpotTrades if found.category == "spot" else SwapTrades)(topic, symbol)
        return (Klines if found.kind == "kline" else Tickers)(topic, symbol)

    def topic_of(self, body: bytes) -> str | None:
        """Its dataType; an answer has an empty one or none."""
        found = TOPIC.search(body) if body.startswith(b"{") and b'"code"' in body else None
        return found[1].decode(errors="replace") if found else None

    def carried(self, topic: str, body: bytes) -> bytes:  # noqa: ARG002
        """As it is."""
        return body

    def kind_of(self, name: str) -> str:
        """By channel."""
        kind = name.partition("@")[2]
        if kind.startswith("kline"):
            return "kline"
        return "orderbook" if kind.startswith(("depth", "incrDepth", "bookTicker")) else KINDS.get(kind, "other")


DIALECT = Bingx()
