"""What Bitget's channels carry."""

import json
from collections.abc import Iterable, Sequence

from ..book import Levels, SymbolBook
from ..hub import Topic
from ..klines import Klines
from ..symbol_market import Stream, SymbolMarket
from ..trades import Liquidation, Trade
from ..truth import Candle, printed
from .candles import FUTURES
from .rows import candle_row, message, ticker_row, trade_text

BACKLOG = 50  # trades of the first message
BOOK_LEVELS = 500
FIRST_ROWS = 500  # candles of the first message
FIRST_SEQ = 1_000  # of a book after a maintenance: lower than any before


def dump(data: object) -> str:
    """JSON without spaces."""
    return json.dumps(data, separators=(",", ":"))


class Trades(Stream):
    """trade: newest first; a new subscriber gets past trades, in a snapshot."""

    def first(self, now_ms: int) -> Iterable[str]:
        """At most fifty that were sent before, too."""
        if past := list(self.symbol.recent)[-BACKLOG:]:
            yield self._text(past, now_ms, "snapshot")

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:
        """One message for all of a moment."""
        yield self._text(trades, now_ms, "update")

    def _text(self, trades: Sequence[Trade], now_ms: int, action: str) -> str:
        return message(self.topic.name, ",".join(map(trade_text, reversed(trades))), now_ms, action)


class Tickers(Stream):
    """ticker: always whole."""

    def first(self, now_ms: int) -> Iterable[str]:
        """At once."""
        return self.update(now_ms)

    def update(self, now_ms: int) -> Iterable[str]:
        """The ticker."""
        yield message(self.topic.name, dump(ticker_row(self.symbol, now_ms)), now_ms, "snapshot")


class Liquidations(Stream):
    """liquidation of v3: of all contracts in one topic; those of a moment together, newest first, some time later."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self._rows: list[str] = []

    def liquidation(self, event: Liquidation, now_ms: int) -> Iterable[str]:
        """Gather one. `side` is the position's, and `amount` in the quote coin."""
        instrument = self.symbol.instrument
        worth = printed((instrument.tick * event.ticks * instrument.lot * event.lots).normalize())
        price, side = self.symbol.price_text(event.ticks), "buy" if event.is_long else "sell"
        self._rows.append(
            f'{{"symbol":"{instrument.symbol}","side":"{side}","price":"{price}","amount":"{worth}","ts":"{now_ms}"}}'
        )
        return ()

    def repeat(self, now_ms: int) -> Iterable[str]:
        """Send what was gathered."""
        if self._rows:
            yield message(self.topic.name, ",".join(reversed(self._rows)), now_ms)
            self._rows.clear()


class Candles(Stream):
    """candle…: many rows at once, then the open one each second; nothing says that one has closed."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self._klines = Klines()
        self._length = FUTURES[topic.name.split(":")[1].removeprefix("candle")]

    def first(self, now_ms: int) -> Iterable[str]:
        """The newest rows, oldest first, the last one open."""
        rows = self._length.candles(self._klines, self.symbol, now_ms, FIRST_ROWS, now_ms)
        yield self._text(rows[::-1], now_ms, "snapshot")

    def kline(self, candle: Candle, is_closed: bool, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """One row; of UTC+8 what the hours make."""
        if self._length.is_eastern:
            (candle,) = self._length.candles(self._klines, self.symbol, candle.start, 1, now_ms)
        yield self._text([candle], now_ms, "update")

    def _text(self, candles: Sequence[Candle], now_ms: int, action: str) -> str:
        rows = dump([candle_row(candle) for candle in candles])[1:-1]
        return message(self.topic.name, rows, now_ms, action)


class Book(SymbolBook):
    """A symbol's book; its ids go on with those of trades."""

    def __init__(self, symbol: SymbolMarket) -> None:
        super().__init__(symbol, BOOK_LEVELS, symbol.seq)

    def numbered(self, changed: int) -> tuple[int, int]:  # noqa: ARG002
        """One id for each change; they skip."""
        number = max(self.last_id + 1, self.symbol.seq)
        return number, number

    def rows(self, levels: Levels) -> list[list[str]]:
        """Levels, the best first: price and size, 0 deletes."""
        price, size = self.symbol.price_text, self.symbol.size_text
        return [[price(tick), size(lots) if lots else "0"] for tick, lots in levels.items()]


class Books(Stream):
    """A channel of a symbol's book. `books` sends a snapshot, then changes, each with the id before; others the top."""

    def __init__(self, topic: Topic, symbol: SymbolMarket, depth: int) -> None:
        super().__init__(topic, symbol)
        self._depth, self._is_whole = depth, depth < BOOK_LEVELS
        self._book: Book = symbol.own.book()
        self._changes = self._book.changes_of(topic)

    def first(self, now_ms: int) -> Iterable[str]:
        """The whole book."""
        if len(self.topic.sessions) == 1:
            self._changes.forget()
        yield self._snapshot(now_ms)

    def update(self, now_ms: int) -> Iterable[str]:
        """The next message."""
        self._book.advance_to(self.symbol.seq)
        new = self._changes
        if self._is_whole:
            yield self._snapshot(now_ms)
        elif new.first is not None:
            yield self._text("update", new.bids, new.asks, now_ms, new.sent)
        new.forget()

    def restart(self, now_ms: int) -> Iterable[str]:
        """After a maintenance: a snapshot, with a lower id."""
        self._book.last_id = self.symbol.seq = FIRST_SEQ
        self._changes.forget()
        yield self._snapshot(now_ms)

    def _snapshot(self, now_ms: int) -> str:
        return self._text("snapshot", *self._book.top(self._depth), now_ms, 0)

    def _text(self, action: str, bids: Levels, asks: Levels, now_ms: int, before: int) -> str:
        """No checksum since 2024."""
        book = {"asks": self._book.rows(asks), "bids": self._book.rows(bids), "ts": str(now_ms)}
        return message(self.topic.name, dump({**book, "seq": self._book.last_id, "pseq": before}), now_ms, action)
