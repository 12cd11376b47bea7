"""OKX V5 as the engine needs it: names, instruments, ids, candle rule, streams."""

import json
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
from ..truth import CandleRule
from .bars import INTERVALS
from .instruments import instrument
from .streams import Book, Books, Candles, Liquidations, SingleTrades, Tickers, Trades

PATHS: Mapping[str, str] = MappingProxyType({"/ws/v5/public": "public", "/ws/v5/business": "business"})
BOOKS: Mapping[str, int] = MappingProxyType({"books": 400, "books5": 5, "bbo-tbt": 1})
KINDS: Mapping[str, str] = MappingProxyType(
    {"trades": "trades", "trades-all": "trades", "tickers": "ticker", "liquidation-orders": "liquidation"}
)
STREAMS: Mapping[str, type[Stream]] = MappingProxyType(
    {"trades": Trades, "trades-all": SingleTrades, "tickers": Tickers, "liquidation-orders": Liquidations}
)
SWAPS = ("linear", "inverse")
OTHER_PRODUCTS = ("FUTURES", "MARGIN", "OPTION")  # of which nothing is listed here
CATEGORIES = ("linear", "spot", "inverse")
ID_OF_SECOND = 1000  # trades that a symbol has in a second at most, so that a restarted exchange repeats no id
ARG = re.compile(rb'\{"arg":\{"channel":"([^"]+)","inst(?:Id|Type|Family)":"([^"]+)"\},"(?:action|data)":')


def class_of(channel: str) -> str:
    """The socket that has a channel."""
    return "business" if channel.startswith(("candle", "trades-all")) else "public"


def trade_text(topic: str, price: str, size: str) -> bytes:
    """A trade message that never happened."""
    now_ms, symbol = time.time_ns() // 1_000_000, topic.rpartition(":")[2]
    return (
        f'{{"arg":{{"channel":"trades","instId":"{symbol}"}},"data":[{{"instId":"{symbol}","tradeId":"{now_ms}",'
        f'"px":"{price}","sz":"{size}","side":"buy","ts":"{now_ms}","count":"1","source":"0","seqId":{now_ms}}}]}}'
    ).encode()


def head_of(topic: str) -> bytes:
    """How a data message of a topic begins, without data."""
    channel, _, of = topic.partition(":")
    return f'{{"arg":{{"channel":"{channel}","instId":"{of}"}},"data":[]'.encode()


class Okx:
    """OKX V5. A topic is named `channel:instId`; a path's name is public or business."""

    name = "OKX"
    categories = usual_categories = CATEGORIES
    intervals = INTERVALS
    limits = SocketLimits(
        idle_s=30.0,
        idle_code=4004,
        bare_s=30.0,
        bare_code=4004,
        pings_keep_alive=False,  # trap T4
        connects=3,
        connects_window_s=1.0,
        refused_status=429,
        ban_s=1.0,
        notice_s=60.0,
    )
    garbage = Garbage(
        trade=trade_text,
        head=head_of,
        unknown=b'{"arg":{"channel":"whatever","instId":"BTC-USDT"},"data":[{}]}',
        pong=b'{"event":"pong","args":7}',
        price_key=b'"px":',
        nameless="trades:BTC-USDT",
    )

    def check(self, options: Options) -> str:  # noqa: ARG002
        """Every option makes sense."""
        return ""

    def instrument(self, category: str, index: int) -> Instrument:
        """Contracts as listed in 2022."""
        return instrument(category, index)

    def rule(self, category: str) -> CandleRule:
        """The first trade opens; turnovers of inverse swaps are exact sums, then rounded."""
        return CandleRule("first_trade", is_inverse=category == "inverse", cuts_each=False)

    def marks(self, category: str) -> tuple[Mark, ...]:  # noqa: ARG002
        """Retail price improvement: ordinary ids; that they count is not documented."""
        return (Mark("RPI", 0.05),)

    def trade_ids(self, instrument: Instrument, index: int, rng: Random, now_us: int) -> TradeIds:  # noqa: ARG002
        """Consecutive within a symbol."""
        return TradeIds(now_us // 1_000_000 * ID_OF_SECOND + index, str)

    def state(self, symbol: SymbolMarket, now_ms: int) -> OwnBook[Book]:  # noqa: ARG002
        """The symbol's book."""
        return OwnBook(symbol, Book)

    def channel(self, path: str) -> str | None:
        """The class of a socket."""
        return PATHS.get(path)

    def categories_of(self, channel: str, name: str) -> tuple[str, ...]:
        """A socket carries its channels of all products."""
        return CATEGORIES if class_of(name) == channel else ()

    def find(self, symbols: Symbols, channel: str, name: str) -> Found | None:
        """By the channel, then by the listing."""
        head, _, of = name.partition(":")
        if class_of(head) != channel:
            return None
        if head == "liquidation-orders":
            swaps = [symbol for (category, _), symbol in symbols.items() if category in SWAPS]
            if of in OTHER_PRODUCTS:
                return Found("linear", "liquidation", of, [])
            return Found("linear", "liquidation", "", swaps, categories=SWAPS) if of == "SWAP" else None
        symbol = next((symbols[category, of] for category in CATEGORIES if (category, of) in symbols), None)
        if symbol is None:
            return None
        category = symbol.instrument.category
        if head in BOOKS:
            return Found(category, "orderbook", of, [symbol], str(BOOKS[head]))
        if head.startswith("candle") and (bar := head.removeprefix("candle")) in INTERVALS:
            if bar == "1s" and symbol.truth.seconds is None:
                return None
            return Found(category, "kline", of, [symbol], bar)
        return Found(category, KINDS[head], of, [symbol]) if head in KINDS else None

    def stream(self, found: Found, topic: Topic, symbol: SymbolMarket) -> Stream:
        """By channel."""
        if found.kind == "orderbook":
            return Books(topic, symbol, int(found.detail))
        if found.kind == "kline":
            return Candles(topic, symbol)
        return STREAMS[topic.name.partition(":")[0]](topic, symbol)

    def topic_of(self, body: bytes) -> str | None:
        """Channel and instrument, or type, of its arg."""
        if found := ARG.match(body):
            return f"{found[1].decode(errors='replace')}:{found[2].decode(errors='replace')}"
        try:
            message = json.loads(body)
        except ValueError:
            return None
        arg = message.get("arg") if isinstance(message, dict) and "data" in message else None
        if not isinstance(arg, dict):
            return None
        return f"{arg.get('channel')}:{arg.get('instId') or arg.get('instType') or arg.get('instFamily')}"

    def carried(self, topic: str, body: bytes) -> bytes:  # noqa: ARG002
        """As it is."""
        return body

    def kind_of(self, name: str) -> str:
        """By the channel."""
        head = name.partition(":")[0]
        if head.startswith("candle"):
            return "kline"
        return "orderbook" if head.startswith(("books", "bbo")) else KINDS.get(head, "other")


DIALECT = Okx()
