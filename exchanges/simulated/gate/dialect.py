"""Gate V4 as the engine needs it: names, instruments, ids, candle rule, streams."""

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
from .bars import INTERVALS, OF_SOCKETS
from .instruments import instrument
from .rows import INTERNAL, PREFIX, push
from .streams import (
    BOOK_LEVELS,
    BestPrices,
    Book,
    Candles,
    Changes,
    Contracts,
    Liquidations,
    Obu,
    Own,
    Snapshots,
    Tickers,
    Trades,
)

PATHS: Mapping[str, str] = MappingProxyType({"/ws/v4/": "spot", "/ws/v4": "spot", "/v4/ws/usdt": "linear"})
"""Spot and futures have sockets of their own."""
STREAMS: Mapping[str, tuple[str, type[Stream]]] = MappingProxyType(
    {
        "trades": ("trades", Trades),
        "trades_v2": ("trades", Trades),
        "tickers": ("ticker", Tickers),
        "candlesticks": ("kline", Candles),
        "obu": ("orderbook", Obu),
        "order_book_update": ("orderbook", Changes),
        "order_book": ("orderbook", Snapshots),
        "book_ticker": ("orderbook", BestPrices),
        "public_liquidates": ("liquidation", Liquidations),
        "contract_info": ("contract", Contracts),
    }
)
"""Kind and stream of each channel."""
OF_FUTURES = ("public_liquidates", "contract_info")
LISTS = frozenset({"trades", "trades_v2", "tickers", "obu", "book_ticker", *OF_FUTURES})
"""Channels that take many names in one request; the words of the others' are of one topic."""
ALL = "!all"
OBU_DEPTHS, UPDATE_DEPTHS = ("50", "400"), ("20", "50", "100")
ID_OF_SECOND = 1000  # trades that a symbol has in a second at most, so that a restarted exchange repeats no id
CHANNEL = re.compile(rb'"channel":"((?:spot|futures)\.([a-z_0-9]+))"')
SUBJECT = re.compile(rb'"(?:currency_pair|contract|s|n)":"([^"]*_[^"]*)"')
IS_DATA = re.compile(rb'"event":"(?:update|all)"')


def trade_text(topic: str, price: str, size: str) -> bytes:
    """A trade message that never happened."""
    now_ms, (channel, _, name) = time.time_ns() // 1_000_000, topic.partition(":")
    if channel.startswith("spot"):
        row = f'{{"id":{now_ms},"id_market":{now_ms},"create_time":{now_ms // 1000},"create_time_ms":"{now_ms}.0",'
        row += f'"side":"buy","currency_pair":"{name}","amount":"{size}","price":"{price}"}}'
    else:
        size = "0" if size.startswith("-") else size  # the sign is the side
        row = f'[{{"id":{now_ms},"size":"{size}","create_time":{now_ms // 1000},"create_time_ms":{now_ms},'
        row += f'"price":"{price}","contract":"{name}"}}]'
    return push(channel, now_ms, row).encode()


def head_of(topic: str) -> bytes:
    """How a data message of a topic begins, without data."""
    channel, _, name = topic.partition(":")
    key = "currency_pair" if channel.startswith("spot") else "contract"
    row = f'{{"{key}":"{name}"}}'
    return push(channel, time.time_ns() // 1_000_000, row if key == "currency_pair" else f"[{row}]").encode()[:-1]


class Gate:
    """Gate V4. A topic is named `channel:what`, its words joined by commas; a path's name is its market."""

    name = "Gate"
    categories = usual_categories = ("linear", "spot")
    intervals = INTERVALS
    limits = SocketLimits(idle_s=30.0, idle_code=1006, notice_s=60.0)
    garbage = Garbage(
        trade=trade_text,
        head=head_of,
        unknown=b'{"time":1,"time_ms":1,"channel":"spot.whatever","event":"update","result":{"currency_pair":"A_B"}}',
        pong=b'{"channel":7,"event":"","error":null,"result":null}',
        price_key=b'"price":',
        nameless="futures.trades:BTC_USDT",
    )

    def check(self, options: Options) -> str:  # noqa: ARG002
        """Every option makes sense."""
        return ""

    def instrument(self, category: str, index: int) -> Instrument:
        """The same names in both markets."""
        return instrument(category, index)

    def rule(self, category: str) -> CandleRule:  # noqa: ARG002
        """The first trade opens."""
        return CandleRule("first_trade")

    def marks(self, category: str) -> tuple[Mark, ...]:
        """Internal trades of futures have ids among the others and count in no candle."""
        return (Mark(INTERNAL, 0.02, is_counted=False),) if category == "linear" else ()

    def trade_ids(self, instrument: Instrument, index: int, rng: Random, now_us: int) -> TradeIds:  # noqa: ARG002
        """Consecutive within a market's symbol."""
        return TradeIds(now_us // 1_000_000 * ID_OF_SECOND + index, str)

    def state(self, symbol: SymbolMarket, now_ms: int) -> Own:  # noqa: ARG002
        """The symbol's book."""
        return Own(symbol, Book)

    def channel(self, path: str) -> str | None:
        """The market of a path."""
        return PATHS.get(path)

    def categories_of(self, channel: str, name: str) -> tuple[str, ...]:
        """A socket carries its own market."""
        return (channel,) if name.startswith(f"{PREFIX[channel]}.") else ()

    def find(self, symbols: Symbols, channel: str, name: str) -> Found | None:
        """By the channel, then by the listing."""
        head, _, of = name.partition(":")
        prefix, _, short = head.partition(".")
        if prefix != PREFIX[channel] or short not in STREAMS or (short in OF_FUTURES and channel == "spot"):
            return None
        kind = STREAMS[short][0]
        if of == ALL and short in OF_FUTURES:
            every = [symbol for (category, _), symbol in symbols.items() if category == channel]
            return Found(channel, kind, "", every, categories=(channel,))
        words = parts_of(channel, short, of)
        symbol = symbols.get((channel, words[0])) if words else None
        if words is None or symbol is None:
            return None
        is_true = kind != "kline" or INTERVALS[words[1]] != INTERVALS["10s"] or symbol.truth.seconds is not None
        return Found(channel, kind, words[0], [symbol], words[1]) if is_true else None

    def stream(self, found: Found, topic: Topic, symbol: SymbolMarket) -> Stream:  # noqa: ARG002
        """By channel."""
        return STREAMS[topic.name.partition(":")[0].partition(".")[2]][1](topic, symbol)

    def topic_of(self, body: bytes) -> str | None:
        """Channel, and pair or contract; those of a request's other words that the data have."""
        channel, subject = CHANNEL.search(body), SUBJECT.search(body)
        if channel is None or subject is None or not IS_DATA.search(body):
            return None
        of = subject[1].decode(errors="replace")
        if channel[2] == b"candlesticks":
            of = of.replace("_", ",", 1)
        return f"{channel[1].decode()}:{of}"

    def carried(self, topic: str, body: bytes) -> bytes:  # noqa: ARG002
        """As it is."""
        return body

    def kind_of(self, name: str) -> str:
        """By the channel."""
        return STREAMS.get(name.partition(":")[0].partition(".")[2], ("other",))[0]


def parts_of(category: str, short: str, of: str) -> tuple[str, str] | None:
    """Symbol and detail that a topic names; None where its words make no sense."""
    words = of.split(",")
    if short == "candlesticks":
        return (words[1], words[0]) if len(words) == 2 and words[0] in OF_SOCKETS else None
    if short == "obu":
        head, _, rest = of.partition(".")
        name, _, depth = rest.rpartition(".")
        return (name, depth) if head == "ob" and depth in OBU_DEPTHS else None
    if short == "order_book_update":
        if len(words) < 2 or words[1] not in ("20ms", "100ms"):
            return None
        depth = "100" if len(words) == 2 else words[2]
        is_whole = category == "spot"
        if is_whole:
            return (words[0], str(BOOK_LEVELS)) if len(words) == 2 else None
        return (words[0], depth) if depth in UPDATE_DEPTHS and (words[1] == "100ms" or depth == "20") else None
    if short == "order_book":
        return (words[0], words[1]) if len(words) == 3 and words[1] in ("5", "10", "20", "50", "100") else None
    return (of, "1" if short == "book_ticker" else "")


DIALECT = Gate()
