"""Bitget v2 as the engine needs it: names, instruments, ids, candle rule, streams."""

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
from ..truth import CandleRule, Interval
from .candles import FUTURES, HOUR_MS
from .instruments import OTHER_PRODUCTS, PRODUCTS, instrument, names_of
from .rows import arg_text, message
from .streams import Book, Books, Candles, Liquidations, Tickers, Trades

PATHS: Mapping[str, str] = MappingProxyType({"/v2/ws/public": "v2", "/v3/ws/public": "v3"})
LIQUIDATION = "liquidation"
CATEGORIES = ("linear", "spot")
BOOKS: Mapping[str, int] = MappingProxyType({"books": 500, "books1": 1, "books5": 5, "books15": 15})
KINDS: Mapping[str, str] = MappingProxyType(
    {"trade": "trades", "ticker": "ticker", **dict.fromkeys(BOOKS, "orderbook")}
)
STREAMS: Mapping[str, type[Stream]] = MappingProxyType(
    {"trades": Trades, "ticker": Tickers, "liquidation": Liquidations}
)
EPOCH_MS = 1_435_725_633_621  # from which the first 41 bits of recorded ids count
ID_SHIFT, SYMBOL_SHIFT = 22, 14  # a millisecond's ids; those of one symbol and trade among them
ARG = re.compile(rb'\{"action":"\w+","arg":\{"instType":"([^"]+)","channel":"([^"]+)","instId":"([^"]+)"\},')


def id_texts(category: str, index: int) -> TradeIds:
    """Even numbers that grow, not consecutive, and shared by all symbols."""
    place = (index * len(CATEGORIES) + CATEGORIES.index(category)) << 1

    def text(number: int) -> str:
        return str(number << ID_SHIFT | (number * 151 & 0xFF) << SYMBOL_SHIFT | place)

    return TradeIds(time.time_ns() // 1_000_000 - EPOCH_MS, text)


def kind_of_channel(channel: str) -> str | None:
    """The kind of a channel; None where there is none of that name."""
    if channel.startswith("candle"):
        return "kline" if channel.removeprefix("candle") in FUTURES else None
    return KINDS.get(channel)


def trade_text(topic: str, price: str, size: str) -> bytes:
    """A trade message that never happened."""
    now_ms = time.time_ns() // 1_000_000
    number = now_ms << ID_SHIFT
    row = f'{{"ts":"{now_ms}","price":"{price}","size":"{size}","side":"buy","tradeId":"{number}"}}'
    return message(topic, row, now_ms).encode()


def head_of(topic: str) -> bytes:
    """How a data message of a topic begins, without data."""
    return f'{{"action":"update","arg":{arg_text(topic)},"data":[]'.encode()


class Bitget:
    """Bitget v2, and the one topic of v3 that v2 does not have.

    A topic is named `instType:channel:instId`, that of v3 `instType:topic`.
    """

    name = "Bitget"
    categories = usual_categories = CATEGORIES
    # Those of UTC+8 are made of hours (Candles).
    intervals: Mapping[str, Interval] = MappingProxyType(
        {name: HOUR_MS if length.is_eastern else length.interval for name, length in FUTURES.items()}
    )
    limits = SocketLimits(
        idle_s=120.0,
        pings_keep_alive=False,
        data_keep_alive=False,  # closed after 127 to 142 s without a ping, though data flow
        bare_s=30.0,
        open_most=100,
        connects=300,
        connects_window_s=300.0,
        refused_status=429,
        messages_per_s=10,
        life_s=86_400.0,
    )
    garbage = Garbage(
        trade=trade_text,
        head=head_of,
        unknown=b'{"action":"update","arg":{"instType":"SPOT","channel":"whatever","instId":"BTCUSDT"},"data":[{}]}',
        pong=b'{"event":"pong","arg":7}',
        price_key=b'"price":',
        nameless="USDT-FUTURES:trade:BTCUSDT",
    )

    def check(self, options: Options) -> str:  # noqa: ARG002
        """Every option makes sense."""
        return ""

    def instrument(self, category: str, index: int) -> Instrument:
        """Named alike in both categories."""
        return instrument(category, index)

    def rule(self, category: str) -> CandleRule:  # noqa: ARG002
        """The open is the close before it: in 9,989 of 9,990 recorded pairs."""
        return CandleRule("prev_close")

    def marks(self, category: str) -> tuple[Mark, ...]:  # noqa: ARG002
        """v2 marks none."""
        return ()

    def trade_ids(self, instrument: Instrument, index: int, rng: Random, now_us: int) -> TradeIds:  # noqa: ARG002
        """A snowflake."""
        return id_texts(instrument.category, index)

    def state(self, symbol: SymbolMarket, now_ms: int) -> OwnBook[Book]:  # noqa: ARG002
        """The symbol's book."""
        return OwnBook(symbol, Book)

    def channel(self, path: str) -> str | None:
        """Each version has one socket for all products."""
        return PATHS.get(path)

    def categories_of(self, channel: str, name: str) -> tuple[str, ...]:
        """By the product."""
        if (channel == "v3") != name.endswith(f":{LIQUIDATION}"):
            return ()
        category = PRODUCTS.get(name.partition(":")[0].upper())
        return CATEGORIES if category is None else (category,)

    def find(self, symbols: Symbols, channel: str, name: str) -> Found | None:
        """A symbol that another product has is found, and carries nothing."""
        if channel == "v3":
            return _liquidations(symbols, name)
        product, head, of = name.split(":", 2)
        category, kind = PRODUCTS.get(product, "linear"), kind_of_channel(head)
        if kind is None or product not in (*PRODUCTS, *OTHER_PRODUCTS):
            return None
        symbol = symbols.get((category, of)) if product in PRODUCTS else None
        if symbol is None and not any(of in names_of(each.instrument) for each in symbols.values()):
            return None
        detail = head.removeprefix("candle") if kind == "kline" else str(BOOKS.get(head, ""))
        return Found(category, kind, of, [] if symbol is None else [symbol], detail)

    def stream(self, found: Found, topic: Topic, symbol: SymbolMarket) -> Stream:
        """By kind."""
        if found.kind == "orderbook":
            return Books(topic, symbol, int(found.detail))
        if found.kind == "kline":
            return Candles(topic, symbol)
        return STREAMS[found.kind](topic, symbol)

    def topic_of(self, body: bytes) -> str | None:
        """Its arg."""
        if found := ARG.match(body):
            return ":".join(part.decode(errors="replace") for part in found.groups())
        try:
            message = json.loads(body)
        except ValueError:
            return None
        arg = message.get("arg") if isinstance(message, dict) and "data" in message else None
        return ":".join(map(str, arg.values())) if isinstance(arg, dict) else None

    def carried(self, topic: str, body: bytes) -> bytes:  # noqa: ARG002
        """As it is."""
        return body

    def kind_of(self, name: str) -> str:
        """By the channel."""
        channel = name.split(":")[1]
        return "liquidation" if channel == LIQUIDATION else kind_of_channel(channel) or "other"


def _liquidations(symbols: Symbols, name: str) -> Found | None:
    """The topic of a product of futures, in small letters."""
    product, _, topic = name.partition(":")
    if topic != LIQUIDATION or product not in map(str.lower, ("USDT-FUTURES", *OTHER_PRODUCTS)):
        return None
    if product.upper() not in PRODUCTS:
        return Found("linear", "liquidation", product, [])
    swaps = [symbol for (category, _), symbol in symbols.items() if category == "linear"]
    return Found("linear", "liquidation", "", swaps, categories=("linear",))


DIALECT = Bitget()
