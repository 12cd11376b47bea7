"""What OKX's channels carry."""

import json
from collections.abc import Iterable, Sequence

from ..book import Levels, SymbolBook
from ..hub import Topic
from ..symbol_market import Stream, SymbolMarket
from ..trades import Liquidation, Trade
from ..truth import Candle
from .bars import INTERVALS
from .rows import aggregated, candle_row, match_row, ticker_row

BEAT_MS = 60_000  # a book without a change sends a message without one after so long
BOOK_LEVELS = 400
FIRST_SEQ = 1_000  # of a book after a maintenance: lower than any before


def message(topic: str, rows: str) -> str:
    """A data message of rows that are joined already."""
    channel, _, of = topic.partition(":")
    name = "instType" if channel == "liquidation-orders" else "instId"
    return f'{{"arg":{{"channel":"{channel}","{name}":"{of}"}},"data":[{rows}]}}'


def dump(data: object) -> str:
    """JSON without spaces."""
    return json.dumps(data, separators=(",", ":"))


class Trades(Stream):
    """trades: one message per order, price and source; a new subscriber gets the last one again (trap T7)."""

    _last = ""

    def first(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """The last trade, however old."""
        recent = list(self.symbol.recent)[-10:]
        *_, last = aggregated(self.symbol, recent) if recent else ("",)
        if last:
            yield self._last if self.topic.sessions[1:] and self._last else message(self.topic.name, last)

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """One message for each row."""
        for row in aggregated(self.symbol, trades):
            self._last = message(self.topic.name, row)
            yield self._last


class SingleTrades(Stream):
    """trades-all: one message per match."""

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """One message for each."""
        name = self.symbol.instrument.symbol
        for trade in trades:
            yield message(self.topic.name, dump(match_row(name, trade)))


class Tickers(Stream):
    """tickers: always whole."""

    def first(self, now_ms: int) -> Iterable[str]:
        """At once."""
        return self.update(now_ms)

    def update(self, now_ms: int) -> Iterable[str]:
        """The ticker."""
        yield message(self.topic.name, dump(ticker_row(self.symbol, now_ms)))


class Liquidations(Stream):
    """liquidation-orders: of all swaps in one topic; the last one of each comes again for a new subscriber."""

    _last = ""

    def first(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """The last one."""
        if self._last:
            yield self._last

    def liquidation(self, event: Liquidation, now_ms: int) -> Iterable[str]:
        """`side` is that of the order, `posSide` the position's."""
        symbol, instrument = self.symbol, self.symbol.instrument
        family = f"{instrument.base}-{instrument.quote}"
        side, position = ("sell", "long") if event.is_long else ("buy", "short")
        price, size = symbol.price_text(event.ticks), symbol.size_text(event.lots)
        details = (
            f'{{"bkLoss":"0","bkPx":"{price}","ccy":"","posSide":"{position}","side":"{side}","sz":"{size}",'
            f'"ts":"{now_ms - 274}"}}'
        )
        self._last = message(
            self.topic.name,
            f'{{"details":[{details}],"instFamily":"{family}","instId":"{instrument.symbol}","instType":"SWAP",'
            f'"uly":"{family}"}}',
        )
        yield self._last


class Candles(Stream):
    """candle…: once a second; a bar that nothing traded in yet is flat at the last close."""

    def first(self, now_ms: int) -> Iterable[str]:
        """The open one."""
        candle = self.symbol.truth.candles(INTERVALS[self.topic.detail], now_ms)[-1]
        return self.kline(candle, False, now_ms)

    def kline(self, candle: Candle, is_closed: bool, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """One candle."""
        row = candle_row(self.symbol, candle, is_closed)
        yield message(self.topic.name, dump(row))


class Book(SymbolBook):
    """A symbol's book; its ids go on with those of trades."""

    def __init__(self, symbol: SymbolMarket) -> None:
        super().__init__(symbol, BOOK_LEVELS, symbol.seq)

    def numbered(self, changed: int) -> tuple[int, int]:  # noqa: ARG002
        """One id for each change."""
        number = max(self.last_id + 1, self.symbol.seq)
        return number, number

    def rows(self, levels: Levels) -> list[list[str]]:
        """Levels: price, size, a dead column, number of orders."""
        price, size = self.symbol.price_text, self.symbol.size_text
        return [
            [price(tick), size(lots), "0", str(1 + lots % 7)] if lots else [price(tick), "0", "0", "0"]
            for tick, lots in levels.items()
        ]


class Books(Stream):
    """A channel of a symbol's book. `books` sends a snapshot, then changes, each with the id before; others the top."""

    def __init__(self, topic: Topic, symbol: SymbolMarket, depth: int) -> None:
        super().__init__(topic, symbol)
        self._depth, self._is_whole = depth, depth < BOOK_LEVELS
        self._book: Book = symbol.own.book()
        self._changes = self._book.changes_of(topic)
        self._sent_ms = 0

    def first(self, now_ms: int) -> Iterable[str]:
        """The whole book."""
        if self._is_whole:
            yield self._whole(now_ms)
            return
        if len(self.topic.sessions) == 1:
            self._changes.forget()
        bids, asks = self._book.top(self._depth)
        yield self._text("snapshot", bids, asks, now_ms, -1)

    def update(self, now_ms: int) -> Iterable[str]:
        """The next message."""
        self._book.advance_to(self.symbol.seq)
        self._sent_ms, new = now_ms, self._changes
        if self._is_whole:
            yield self._whole(now_ms)
        elif new.first is not None:
            yield self._text("update", new.bids, new.asks, now_ms, new.sent)
        new.forget()

    def repeat(self, now_ms: int) -> Iterable[str]:
        """After a minute without a change a message without one, its ids equal."""
        self._sent_ms = self._sent_ms or now_ms
        if now_ms - self._sent_ms >= BEAT_MS:
            self._sent_ms = now_ms
            yield self._whole(now_ms) if self._is_whole else self._text("update", {}, {}, now_ms, self._changes.sent)

    def restart(self, now_ms: int) -> Iterable[str]:
        """After a maintenance: the id is lower, and linked all the same (trap T13)."""
        self._book.last_id = self.symbol.seq = FIRST_SEQ
        if not self._is_whole:
            new = self._changes
            yield self._text("update", new.bids, new.asks, now_ms, new.sent)
            new.forget()

    def _whole(self, now_ms: int) -> str:
        bids, asks = map(self._book.rows, self._book.top(self._depth))
        name = {"instId": self.topic.symbol} if self.topic.name.startswith("books5") else {}
        return message(
            self.topic.name,
            dump({"asks": asks, "bids": bids, **name, "ts": str(now_ms), "seqId": self._book.last_id}),
        )

    def _text(self, action: str, bids: Levels, asks: Levels, now_ms: int, before: int) -> str:
        """The checksum is dead (trap T1)."""
        rows = dump({"asks": self._book.rows(asks), "bids": self._book.rows(bids)})[:-1]
        return (
            f'{{"arg":{{"channel":"books","instId":"{self.topic.symbol}"}},"action":"{action}","data":[{rows},'
            f'"ts":"{now_ms}","checksum":0,"prevSeqId":{before},"seqId":{self._book.last_id}}}]}}'
        )
