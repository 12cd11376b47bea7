"""Binance as the engine needs it: names, instruments, ids, candle rule, streams.

One address stands for the exchange's hosts: /stream and /ws are those of spot and COIN-M, /public and /market those of
USD-M; /api is REST of spot, /fapi of USD-M, /dapi of COIN-M.
"""

import json
import re
import time
from random import Random

from ..book import OwnBook
from ..dialect import Found, Garbage, Symbols
from ..hub import Topic
from ..instruments import Instrument
from ..limits import SocketLimits
from ..options import Options
from ..symbol_market import Stream, SymbolMarket
from ..trades import Mark, TradeIds
from ..truth import CandleRule
from .aggregates import Aggregates
from .book import BestPrices, Book, Diffs, Partial
from .instruments import instrument
from .names import INTERVALS, PATH, categories_of, categories_of_all, is_here, read_name, recorded_name
from .rows import INSURANCE, RETAIL, message
from .streams import stream_of

CATEGORIES = ("linear", "spot", "inverse")
ID_OF_SECOND = 1000  # trades that a symbol has in a second at most, so that a restarted exchange repeats no id
COMBINED = re.compile(rb'\{"stream":"([^"]+)","data":')
PLACEHOLDER = Mark("NA", 0.004, is_counted=False, is_blank=True)
OFF_BOOK = Mark(INSURANCE, 0.0005, is_counted=False)
MARKS = {"linear": (PLACEHOLDER, OFF_BOOK, Mark(RETAIL, 0.05)), "inverse": (PLACEHOLDER, OFF_BOOK), "spot": ()}
A_DAY_S = 86_400.0


class Own(OwnBook[Book]):
    """What is kept of a symbol."""

    def __init__(self, symbol: SymbolMarket) -> None:
        super().__init__(symbol, Book)
        self.aggregates = Aggregates(symbol)


def trade_text(topic: str, price: str, size: str) -> bytes:
    """A trade message that never happened."""
    now_ms, symbol = time.time_ns() // 1_000_000, topic.partition("@")[0].upper()
    return (
        f'{{"stream":"{topic}","data":{{"e":"trade","E":{now_ms},"T":{now_ms},"s":"{symbol}","t":{now_ms},'
        f'"p":"{price}","q":"{size}","X":"MARKET","m":false,"st":1}}}}'
    ).encode()


def head_of(topic: str) -> bytes:
    """How a data message of a topic begins, without data."""
    return f'{{"stream":"{topic}","data":{{}}'.encode()


class Binance:
    """Binance. A topic is the name of a stream; a path's name is stream or ws, with public/ or market/ before it."""

    name = "Binance"
    categories = usual_categories = CATEGORIES
    intervals = INTERVALS
    limits = SocketLimits(  # those of futures; of spot: control.py
        idle_s=2 * A_DAY_S,  # silence costs nothing
        connects=300,
        refused_status=429,
        messages_per_s=10,
        life_s=A_DAY_S,
        notice_s=600.0,
        ping_every_s=180.0,
        pong_within_s=600.0,
    )
    garbage = Garbage(
        trade=trade_text,
        head=head_of,
        unknown=b'{"stream":"whatever@trade","data":{"e":"whatever"}}',
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
        """Futures have placeholders and off-book prints, USD-M retail price improvement."""
        return MARKS[category]

    def trade_ids(self, instrument: Instrument, index: int, rng: Random, now_us: int) -> TradeIds:  # noqa: ARG002
        """Consecutive within a symbol."""
        return TradeIds(now_us // 1_000_000 * ID_OF_SECOND + index, str)

    def state(self, symbol: SymbolMarket, now_ms: int) -> Own:  # noqa: ARG002
        """Book and aggregates."""
        return Own(symbol)

    def channel(self, path: str) -> str | None:
        """By product and framing."""
        found = PATH.fullmatch(path)
        return "/".join(part for part in found.groups() if part) if found else None

    def categories_of(self, channel: str, name: str) -> tuple[str, ...]:
        """By the path, where the name is one of it."""
        read, found = read_name(name), categories_of(channel)
        return tuple(each for each in found if read is None or is_here(read, each, channel))

    def find(self, symbols: Symbols, channel: str, name: str) -> Found | None:
        """By the name, the path, then the listing."""
        read = read_name(name)
        if read is None:
            return None
        if not read.symbol:
            return self._of_all(symbols, channel, read.what, name)
        category = next((each for each in categories_of(channel) if (each, read.symbol) in symbols), None)
        if category is None or not is_here(read, category, channel):
            return None
        symbol = symbols[category, read.symbol]
        if read.detail == "1s" and (category != "spot" or symbol.truth.seconds is None):
            return None
        return Found(category, read.kind, read.symbol, [symbol], read.detail)

    def _of_all(self, symbols: Symbols, channel: str, what: str, name: str) -> Found | None:
        read = read_name(name)
        categories = categories_of_all(channel, what)
        if read is None or not is_here(read, categories[0], channel):
            return None
        found = [symbol for (category, _), symbol in symbols.items() if category in categories]
        return Found(categories[0], read.kind, "", found, categories=categories)

    def stream(self, found: Found, topic: Topic, symbol: SymbolMarket) -> Stream:  # noqa: ARG002
        """By the name."""
        name = read_name(topic.name)
        assert name is not None  # it was found
        if name.what == "bookTicker":
            return BestPrices(topic, symbol)
        if name.what == "depth":
            return Partial(topic, symbol, int(name.detail)) if name.detail else Diffs(topic, symbol)
        return stream_of(name, topic, symbol)

    def topic_of(self, body: bytes) -> str | None:
        """The name in a combined stream's payload; that of a raw one by its event."""
        if found := COMBINED.match(body):
            return found[1].decode(errors="replace")
        try:
            event = json.loads(body)
        except ValueError:
            return None
        if not isinstance(event, dict):
            return None
        return str(event["stream"]) if "data" in event and "stream" in event else recorded_name(event)

    def carried(self, topic: str, body: bytes) -> bytes:
        """Combined, as raw connections unwrap it."""
        return body if COMBINED.match(body) else message(topic, body.decode()).encode()

    def kind_of(self, name: str) -> str:
        """By the name."""
        read = read_name(name)
        return read.kind if read else "other"


DIALECT = Binance()
