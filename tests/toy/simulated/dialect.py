"""Toy as the engine needs it: names, instruments, candle rule, streams."""

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from random import Random

from exchanges.simulated.book import BookStream
from exchanges.simulated.dialect import Found, Garbage, Symbols
from exchanges.simulated.hub import Topic
from exchanges.simulated.instruments import Instrument, coin
from exchanges.simulated.limits import SocketLimits
from exchanges.simulated.options import Options
from exchanges.simulated.symbol_market import Stream, SymbolMarket
from exchanges.simulated.trades import Mark, Trade, TradeIds
from exchanges.simulated.truth import DAY_MS, MINUTE_MS, CandleRule, Interval

KINDS = {"trade": "trades", "book": "orderbook", "ticker": "ticker"}
DEPTH = 5
TOPIC = re.compile(rb'\{"topic":"([^"]+)"')
BACKLOG = 30  # trades that a new subscriber gets


def message(topic: str, now_ms: int, data: str) -> str:
    """A message of a topic."""
    return f'{{"topic":"{topic}","ts":{now_ms},"data":{data}}}'


def rows(trades: Sequence[Trade]) -> str:
    """Trades, the newest first."""
    texts = [f'{{"p":"{t.price}","q":"{t.size}","T":{t.event_ms},"m":{json.dumps(t.side == "Sell")}}}' for t in trades]
    return f"[{','.join(reversed(texts))}]"


class Trades(Stream):
    """Trades of before, once; then those that happen."""

    def first(self, now_ms: int) -> Iterable[str]:
        """What went before."""
        past = rows(list(self.symbol.recent)[-BACKLOG:])
        yield f'{{"past":{past},"topic":"{self.topic.name}","ts":{now_ms}}}'

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:
        """One message."""
        yield message(self.topic.name, now_ms, rows(trades))


class Tickers(Stream):
    """Always whole."""

    def update(self, now_ms: int) -> Iterable[str]:
        """The ticker."""
        yield message(self.topic.name, now_ms, f'{{"last":"{self.symbol.last_price()}"}}')


class Books(BookStream):
    """The best levels, whole each time."""

    def update(self, now_ms: int) -> Iterable[str]:
        """The book."""
        self.changes()
        bids, asks = self.whole()
        yield message(self.topic.name, now_ms, f'{{"bids":[{self.text(bids)}],"asks":[{self.text(asks)}]}}')


class Toy:
    """One path, `/stream`; spot alone; symbols as BTC-USDT."""

    name = "Toy"
    categories = usual_categories = ("spot",)
    intervals: Mapping[str, Interval] = {"1m": MINUTE_MS, "1h": 60 * MINUTE_MS, "1d": DAY_MS}
    limits = SocketLimits(idle_s=15.0, connects=100, connects_window_s=10.0)
    garbage = Garbage(
        trade=lambda topic, price, size: message(
            topic, time.time_ns() // 1_000_000, f'[{{"p":"{price}","q":"{size}","T":{time.time_ns() // 1_000_000}}}]'
        ).encode(),
        head=lambda topic: f'{{"topic":"{topic}","data":[]'.encode(),
        unknown=b'{"topic":"odd@BTC-USDT","data":{}}',
        pong=b'{"pong":[]}',
        price_key=b'"p":',
        nameless="trade@BTC-USDT",
    )

    def check(self, options: Options) -> str:
        """Every option makes sense."""
        return ""

    def instrument(self, category: str, index: int) -> Instrument:
        """BTC-USDT and so on."""
        base, price, _, (tick, lot), _ = coin(index)
        return Instrument(category, f"{base}-USDT", base, "USDT", Decimal(tick), Decimal(lot), price, is_stripped=True)

    def rule(self, category: str) -> CandleRule:
        """The first trade opens."""
        return CandleRule("first_trade")

    def marks(self, category: str) -> tuple[Mark, ...]:
        """All trades are ordinary."""
        return ()

    def trade_ids(self, instrument: Instrument, index: int, rng: Random, now_us: int) -> TradeIds:
        """There are none."""
        return TradeIds(0, lambda _number: "")

    def state(self, symbol: SymbolMarket, now_ms: int) -> None:
        """Nothing."""

    def channel(self, path: str) -> str | None:
        """The one path."""
        return "stream" if path == "/stream" else None

    def categories_of(self, channel: str, name: str) -> tuple[str, ...]:
        """All."""
        return self.categories

    def find(self, symbols: Symbols, channel: str, name: str) -> Found | None:
        """By channel and symbol."""
        kind, _, label = name.partition("@")
        symbol = symbols.get(("spot", label))
        return Found("spot", KINDS[kind], label, [symbol]) if symbol is not None and kind in KINDS else None

    def stream(self, found: Found, topic: Topic, symbol: SymbolMarket) -> Stream:
        """By kind."""
        if found.kind == "orderbook":
            return Books(topic, symbol, DEPTH)
        return Trades(topic, symbol) if found.kind == "trades" else Tickers(topic, symbol)

    def topic_of(self, body: bytes) -> str | None:
        """Behind its key."""
        found = TOPIC.match(body)
        return found[1].decode(errors="replace") if found else None

    def carried(self, topic: str, body: bytes) -> bytes:
        """As it is."""
        return body

    def kind_of(self, name: str) -> str:
        """By channel."""
        return KINDS.get(name.partition("@")[0], "other")


DIALECT = Toy()
