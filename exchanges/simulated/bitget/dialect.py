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
from .rows import LIQUIDATION
from .streams import Book, Books, Candles, Liquidations, Tickers, Trades

V2, V3 = "public", "v3"
PATHS: Mapping[str, str] = MappingProxyType({"/v2/ws/public": V2, "/v3/ws/public": V3})
CATEGORIES = ("linear", "spot")
BOOKS: Mapping[str, int] = MappingProxyType({"books": 500, "books1": 1, "books5": 5, "books15": 15})
KINDS: Mapping[str, str] = MappingProxyType(
    {"trade": "trades", "ticker": "ticker", **dict.fromkeys(BOOKS, "orderbook")}
)
EPOCH_MS = 1_435_725_633_621  # from which the first 41 bits of recorded ids count
ID_SHIFT, SYMBOL_SHIFT = 22, 14  # a millisecond's ids; those of one symbol and trade among them
KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {V2: ("instType", "channel", "instId"), V3: ("instType", "topic", "symbol")}
)
"""What an arg has, by socket; liquidations have no symbol."""
ARG = re.compile(rb'\{"action":"\w+","arg":\{"instType":"([^"]+)","channel":"([^"]+)","instId":"([^"]+)"\},')


def id_texts(category: str, index: int) -> TradeIds:
    """Even numbers that grow, not consecutive, and shared by all symbols."""
    place = (index * len(CATEGORIES) + CATEGORIES.index(category)) << 1

    def text(number: int) -> str:
        return str(number << ID_SHIFT | (number * 151 & 0xFF) << SYMBOL_SHIFT | place)

    return TradeIds(time.time_ns() // 1_000_000 - EPOCH_MS, text)


def topic_name(product: str, channel: str, name: str) -> str:
    """What a topic is called here."""
    return f"{product}:{channel}:{name}"


def kind_of_channel(channel: str) -> str | None:
    """The kind of a channel; None where there is none of that name."""
    if channel.startswith("candle"):
        return "kline" if channel.removeprefix("candle") in FUTURES else None
    return KINDS.get(channel)


def trade_text(topic: str, price: str, size: str) -> bytes:
    """A trade message that never happened."""
    now_ms, (product, channel, name) = time.time_ns() // 1_000_000, topic.split(":")
    return (
        f'{{"action":"update","arg":{{"instType":"{product}","channel":"{channel}","instId":"{name}"}},'
        f'"data":[{{"ts":"{now_ms}","price":"{price}","size":"{size}","side":"buy","tradeId":"{now_ms << 22}"}}],'
        f'"ts":{now_ms}}}'
    ).encode()


def head_of(topic: str) -> bytes:
    """How a data message of a topic begins, without data."""
    product, channel, name = topic.split(":")
    arg = f'{{"instType":"{product}","channel":"{channel}","instId":"{name}"}}'
    return f'{{"action":"update","arg":{arg},"data":[]'.encode()


class Bitget:
    """Bitget v2. A topic is named `instType:channel:instId`; all are on one path.

    Of v3 there are liquidations, `usdt-futures:liquidation:`: v2 has none.
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
        nameless=topic_name("USDT-FUTURES", "trade", "BTCUSDT"),
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
        """A socket for all products; another for what v3 has."""
        return PATHS.get(path)

    def categories_of(self, channel: str, name: str) -> tuple[str, ...]:
        """By the product."""
        if (self.kind_of(name) == "liquidation") != (channel == V3):
            return ()
        category = PRODUCTS.get(name.partition(":")[0].upper())
        return CATEGORIES if category is None else (category,)

    def find(self, symbols: Symbols, channel: str, name: str) -> Found | None:
        """A symbol that another product has is found, and carries nothing."""
        product, head, of = name.split(":", 2)
        if channel == V3:
            if head != LIQUIDATION or of or product.upper() not in (*PRODUCTS, *OTHER_PRODUCTS) or product.isupper():
                return None
            category = "linear" if product == "usdt-futures" else ""
            all_of = [symbol for (known, _), symbol in symbols.items() if known == category]
            return Found("linear", "liquidation", "", all_of, categories=(category,))
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
        if found.kind == "liquidation":
            return Liquidations(topic, symbol)
        return Trades(topic, symbol) if found.kind == "trades" else Tickers(topic, symbol)

    def topic_of(self, body: bytes) -> str | None:
        """Its arg."""
        if found := ARG.match(body):
            return ":".join(part.decode(errors="replace") for part in found.groups())
        try:
            message = json.loads(body)
        except ValueError:
            return None
        arg = message.get("arg") if isinstance(message, dict) and "data" in message else None
        if not isinstance(arg, dict):
            return None
        keys = KEYS[V3 if "topic" in arg else V2]
        return ":".join(str(arg.get(key, "")) for key in keys)

    def carried(self, topic: str, body: bytes) -> bytes:  # noqa: ARG002
        """As it is."""
        return body

    def kind_of(self, name: str) -> str:
        """By the channel."""
        channel = name.split(":")[1]
        if channel == LIQUIDATION:
            return LIQUIDATION
        return "kline" if channel.startswith("candle") else KINDS.get(channel, "other")


DIALECT = Bitget()
