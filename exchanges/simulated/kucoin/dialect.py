"""KuCoin's classic API as the engine needs it: names, instruments, ids, candle rule, streams."""

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
from .instruments import instrument
from .names import CHANNELS, INTERVALS
from .streams import Book, stream_of

CATEGORIES = ("linear", "spot", "inverse")
ID_OF_SECOND = 1000  # trades that a symbol has in a second at most, so that a restarted exchange repeats no id
ID_STEP = {"spot": 6007, "linear": 3, "inverse": 3}  # between trades on average: their ids are the book's
SCATTER = 2654435761
OPEN_MOST = 800
TOPIC = re.compile(rb'"topic":"([^"]+)"')
OF_ALL = "/market/ticker:all"


def id_of(number: int, step: int) -> str:
    """The id of a trade: growing, never twice, not consecutive."""
    return str(number * step + number * SCATTER % step)


def trade_text(topic: str, price: str, size: str) -> bytes:
    """A trade message that never happened."""
    now_ns, (channel, _, name) = time.time_ns(), topic.partition(":")
    if channel.startswith("/market"):
        return (
            f'{{"topic":"{topic}","type":"message","subject":"trade.l3match","data":{{"price":"{price}",'
            f'"sequence":"{now_ns}","side":"buy","size":"{size}","symbol":"{name}","time":"{now_ns}",'
            f'"tradeId":"{now_ns}","type":"match"}}}}'
        ).encode()
    return (
        f'{{"topic":"{topic}","type":"message","subject":"match","sn":{now_ns},"data":{{"symbol":"{name}",'
        f'"sequence":{now_ns},"side":"buy","size":{size},"price":"{price}","tradeId":"{now_ns}","ts":{now_ns}}}}}'
    ).encode()


def head_of(topic: str) -> bytes:
    """How a data message of a topic begins, without data."""
    return f'{{"topic":"{topic}","type":"message","subject":"match","data":{{}}'.encode()


class Kucoin:
    """KuCoin's classic API. A topic is named as it is in messages: `channel:symbol`.

    One address has the sockets of spot and of futures, and both REST APIs: tokens are good for both, so no path tells
    them apart; topics do.
    """

    name = "KuCoin"
    categories = CATEGORIES
    usual_categories = ("linear", "spot")
    intervals = INTERVALS
    limits = SocketLimits(
        idle_s=60.0,  # service.py ends a silent client just before, in KuCoin's words
        pings_keep_alive=False,  # of the protocol
        data_keep_alive=False,
        connects=60,  # 30 a minute of each of two hosts
        connects_window_s=60.0,
        refused_status=429,
        open_most=OPEN_MOST,
        life_s=86_400.0,
    )
    garbage = Garbage(
        trade=trade_text,
        head=head_of,
        unknown=b'{"topic":"/market/whatever:BTC-USDT","type":"message","subject":"whatever","data":{}}',
        pong=b'{"id":7,"type":"pong","args":[]}',
        price_key=b'"price":',
        nameless="/market/match:NONE-USDT",
    )

    def check(self, options: Options) -> str:  # noqa: ARG002
        """Every option makes sense."""
        return ""

    def instrument(self, category: str, index: int) -> Instrument:
        """Futures in lots."""
        return instrument(category, index)

    def rule(self, category: str) -> CandleRule:
        """The first trade opens; longer candles are made of traded ones."""
        return CandleRule("first_trade", is_inverse=category == "inverse", cuts_each=False)

    def marks(self, category: str) -> tuple[Mark, ...]:  # noqa: ARG002
        """None."""
        return ()

    def trade_ids(self, instrument: Instrument, index: int, rng: Random, now_us: int) -> TradeIds:  # noqa: ARG002
        """Some of the book's ids."""
        step = ID_STEP[instrument.category]
        return TradeIds(now_us // 1_000_000 * ID_OF_SECOND + index, lambda number: id_of(number, step))

    def state(self, symbol: SymbolMarket, now_ms: int) -> OwnBook[Book]:  # noqa: ARG002
        """The symbol's book."""
        return OwnBook(symbol, Book)

    def channel(self, path: str) -> str | None:
        """The one path; without its slash the real one answers 400."""
        return "public" if path in ("/", "/endpoint") else None

    def categories_of(self, channel: str, name: str) -> tuple[str, ...]:  # noqa: ARG002
        """A channel is of spot or of futures."""
        found = CHANNELS.get(name.partition(":")[0])
        return found.categories if found else ()

    def find(self, symbols: Symbols, channel: str, name: str) -> Found | None:  # noqa: ARG002
        """By the channel, then by the listing."""
        head, _, of = name.partition(":")
        found = CHANNELS.get(head)
        if found is None:
            return None
        if name == OF_ALL:
            spot = [symbol for (category, _), symbol in symbols.items() if category == "spot"]
            return Found("spot", "ticker", "", spot, categories=("spot",))
        detail = found.detail
        if found.kind == "kline":
            of, _, detail = of.partition("_")
            if detail not in INTERVALS or detail == "1month":
                return None
        symbol = next((symbols[category, of] for category in found.categories if (category, of) in symbols), None)
        if symbol is None:
            return None
        return Found(symbol.instrument.category, found.kind, of, [symbol], detail)

    def stream(self, found: Found, topic: Topic, symbol: SymbolMarket) -> Stream:
        """By kind and channel."""
        return stream_of(found.kind, found.detail, topic, symbol)

    def topic_of(self, body: bytes) -> str | None:
        """The topic of a message; what a client sends has one, too."""
        found = TOPIC.search(body) if b'"type":"message"' in body else None
        return found[1].decode(errors="replace") if found else None

    def carried(self, topic: str, body: bytes) -> bytes:  # noqa: ARG002
        """As it is."""
        return body

    def kind_of(self, name: str) -> str:
        """By the channel."""
        found = CHANNELS.get(name.partition(":")[0])
        return found.kind if found else "other"


DIALECT = Kucoin()
