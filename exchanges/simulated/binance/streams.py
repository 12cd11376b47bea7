"""What Binance's streams carry, each in its combined form."""

import json
from collections.abc import Iterable, Sequence

from ..book import BookStream
from ..hub import Topic
from ..symbol_market import Stream, SymbolMarket
from ..trades import Liquidation, Trade
from ..truth import Candle, end_of, printed, printed_turnover
from .bars import INTERVALS
from .rows import Aggregates, aggregate_row, ticker, trade_event

DIFF_LEVELS = 1000  # of the book whose changes @depth sends


def message(topic: str, data: str) -> str:
    """A combined message."""
    return f'{{"stream":"{topic}","data":{data}}}'


def dump(data: object) -> str:
    """JSON without spaces."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


class Trades(Stream):
    """@trade: one message per match, placeholders among them."""

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:
        """One message for each."""
        for trade in trades:
            yield message(self.topic.name, trade_event(self.symbol, trade, now_ms))


class AggTrades(Stream):
    """@aggTrade: fills of one moment and price together; none of what does not count."""

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """One message for each aggregate that these trades make."""
        own: Aggregates = self.symbol.own
        before = own.found[-1].number if own.found else -1
        for each in own.take(self.symbol):
            if each.number > before:
                head = {"e": "aggTrade", "E": now_ms, "s": self.symbol.instrument.symbol}
                yield message(self.topic.name, dump(head | aggregate_row(self.symbol, each)))


class Tickers(Stream):
    """@ticker and @miniTicker: always whole."""

    def update(self, now_ms: int) -> Iterable[str]:
        """The ticker."""
        data = ticker(self.symbol, now_ms)
        if self.topic.name.endswith("miniTicker"):
            names = ("E", "s", "c", "o", "h", "l", "v", "q")
            data = {"e": "24hrMiniTicker", **{name: data[name] for name in names}}
        yield message(self.topic.name, dump(data))


class Liquidations(Stream):
    """@forceOrder and !forceOrder@arr: S is the side of the order."""

    def liquidation(self, event: Liquidation, now_ms: int) -> Iterable[str]:
        """One order."""
        symbol = self.symbol
        price, size = symbol.price_text(event.ticks), symbol.size_text(event.lots)
        order = {"s": symbol.instrument.symbol, "S": "SELL" if event.is_long else "BUY", "o": "LIMIT", "f": "IOC"}
        order |= {"q": size, "p": price, "ap": price, "X": "FILLED", "l": size, "z": size}
        yield message(self.topic.name, dump({"e": "forceOrder", "E": now_ms, "o": {**order, "T": now_ms - 3}}))


class Candles(Stream):
    """@kline_<interval>."""

    def kline(self, candle: Candle, is_closed: bool, now_ms: int) -> Iterable[str]:
        """One candle."""
        name = self.symbol.instrument.symbol
        interval = INTERVALS[self.topic.detail]
        k = {"t": candle.start, "T": end_of(candle.start, interval) - 1, "s": name, "i": self.topic.detail}
        k |= {"f": candle.first_id, "L": candle.last_id, "o": printed(candle.open), "c": printed(candle.close)}
        k |= {"h": printed(candle.high), "l": printed(candle.low), "v": printed(candle.volume), "n": candle.trade_count}
        k |= {"x": is_closed, "q": printed_turnover(candle, self.symbol.truth.rule.is_inverse)}
        k |= {"V": printed(candle.buy_volume), "Q": printed(candle.buy_turnover), "B": "0"}
        yield message(self.topic.name, dump({"e": "kline", "E": now_ms, "s": name, "k": k}))


class Book(BookStream):
    """@depth sends changes, each with the id before; @depth5, 10 and 20 whole levels. No stream begins with a book."""

    def __init__(self, topic: Topic, symbol: SymbolMarket, depth: int) -> None:
        super().__init__(topic, symbol, depth or DIFF_LEVELS)
        self.is_partial = bool(depth)
        self.last_id = symbol.seq

    def update(self, now_ms: int) -> Iterable[str]:
        """The next message."""
        bids, asks = self.changes()
        first, before = self.last_id + 1, self.last_id
        self.last_id = max(self.last_id + 1, self.symbol.seq)
        if self.is_partial:
            bids, asks = self.whole()
        each = self.symbol.instrument
        if self.is_partial and each.category == "spot":
            data = f'{{"lastUpdateId":{self.last_id},"bids":[{self.text(bids)}],"asks":[{self.text(asks)}]}}'
        else:
            is_spot = each.category == "spot"
            times = f'"E":{now_ms},' if is_spot else f'"E":{now_ms},"T":{now_ms},'
            linked = "" if is_spot else f'"pu":{before},'
            data = (
                f'{{"e":"depthUpdate",{times}"s":"{each.symbol}","U":{first},"u":{self.last_id},{linked}'
                f'"b":[{self.text(bids)}],"a":[{self.text(asks)}]}}'
            )
        return (message(self.topic.name, data),)


class BookTickers(Stream):
    """@bookTicker: the best levels; of spot without type and time."""

    def update(self, now_ms: int) -> Iterable[str]:
        """The best bid and ask."""
        symbol, price = self.symbol, self.symbol.price_text
        data: dict[str, object] = {"u": symbol.seq, "s": symbol.instrument.symbol}
        data |= {"b": price(symbol.mid), "B": symbol.size_text(2), "a": price(symbol.mid + 1), "A": symbol.size_text(1)}
        if symbol.instrument.category != "spot":
            data = {"e": "bookTicker", **data, "T": now_ms, "E": now_ms}
        yield message(self.topic.name, dump(data))
