"""What BingX's topics carry."""

from collections.abc import Iterable, Sequence

from ..book import Levels, SymbolBook
from ..hub import Topic
from ..symbol_market import Stream, SymbolMarket
from ..trades import Trade
from ..truth import MINUTE_MS, Candle, Interval, end_of
from .rows import spot_kline, spot_message, spot_ticker, spot_trade, swap_kline, swap_message, swap_ticker, swap_trades

BOOK_LEVELS = 1000
MOST_SKIPPED = 9  # ids between two changes of a book, none of them lost
FIRST_ID = 1_000  # of a book that begins anew
HELD_SHARE = 0.2  # of moments whose trades wait for the next
LATE_SHARE = 0.3  # of moments of spot whose last trade comes behind a later one

SWAP_INTERVALS: dict[str, Interval] = {
    **{f"{minutes}m": minutes * MINUTE_MS for minutes in (1, 3, 5, 15, 30)},
    **{f"{hours}h": hours * 60 * MINUTE_MS for hours in (1, 2, 4, 6, 8, 12)},
    **{f"{days}d": days * 1440 * MINUTE_MS for days in (1, 3)},
    "1w": 7 * 1440 * MINUTE_MS,
    "1M": "M",
}
"""The names of swap topics, and of REST of both markets."""
SPOT_INTERVALS: dict[str, Interval] = {
    **{f"{minutes}min": minutes * MINUTE_MS for minutes in (1, 3, 5, 15, 30, 60)},
    **{f"{hours}hour": hours * 60 * MINUTE_MS for hours in (2, 4, 6, 8, 12)},
    **{f"{days}day": days * 1440 * MINUTE_MS for days in (1, 3)},
    "1week": 7 * 1440 * MINUTE_MS,
    "1mon": "M",
}
"""The names of spot topics."""


class SwapTrades(Stream):
    """Trades of one or several moments in a message, the newest first."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self._held: list[Trade] = []

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:
        """One message, now or with the next moment's: never later than a counted end of messages."""
        self._held += trades
        if self.symbol.hub.limit is None and self.symbol.draw() < HELD_SHARE:
            return ()
        return self.repeat(now_ms)

    def repeat(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """What waits."""
        if self._held:
            trades, self._held = self._held[::-1], []
            yield self.text(trades)

    def text(self, trades: Sequence[Trade]) -> str:
        """A message of trades."""
        return swap_message(self.topic.name, swap_trades(self.symbol.instrument.symbol, trades))


class SpotTrades(Stream):
    """One trade in a message; pushes of several threads, so that one may come behind a later one."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self._late: list[Trade] = []

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:
        """A message each; a late one of the moment before comes behind the first."""
        due = [*trades[:1], *self._late, *trades[1:]]
        self._late = []
        if self.symbol.hub.limit is None and self.symbol.draw() < LATE_SHARE:
            self._late.append(due.pop())
        return self._texts(due, now_ms)

    def repeat(self, now_ms: int) -> Iterable[str]:
        """What waits."""
        due, self._late = self._late, []
        return self._texts(due, now_ms)

    def _texts(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:
        name = self.symbol.instrument.symbol
        for trade in trades:
            yield spot_message(self.topic.name, spot_trade(name, trade, now_ms), now_ms)


class Tickers(Stream):
    """Always whole."""

    def update(self, now_ms: int) -> Iterable[str]:
        """The ticker."""
        text = spot_ticker if self.symbol.instrument.category == "spot" else swap_ticker
        yield text(self.symbol, self.topic.name, now_ms)


class Klines(Stream):
    """Once a second, without a mark for the last of a candle."""

    def kline(self, candle: Candle, is_closed: bool, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """One candle."""
        name, detail = self.topic.name, self.topic.detail
        if self.symbol.instrument.category == "spot":
            end_ms = end_of(candle.start, SPOT_INTERVALS[detail])
            yield spot_kline(self.symbol, name, candle, detail, end_ms, now_ms)
        else:
            yield swap_kline(self.symbol, name, candle)


class Book(SymbolBook):
    """A symbol's book; its ids skip."""

    def __init__(self, symbol: SymbolMarket) -> None:
        super().__init__(symbol, BOOK_LEVELS, symbol.seq)

    def numbered(self, changed: int) -> tuple[int, int]:  # noqa: ARG002
        """One to nine above the one before."""
        number = self.last_id + 1 + int(self.symbol.draw() * MOST_SKIPPED)
        return number, number

    def sides(self, bids: Levels, asks: Levels) -> str:
        """Both sides: the asks worst first, a size of zero deletes."""
        best_first = [self._level(*level) for level in bids.items()]
        worst_first = [self._level(*level) for level in sorted(asks.items(), reverse=True)]
        return f'"bids":[{",".join(best_first)}],"asks":[{",".join(worst_first)}]'

    def _level(self, tick: int, lots: int) -> str:
        return f'["{self.symbol.price_text(tick)}","{self.symbol.size_text(lots)}"]'


class Books(Stream):
    """A topic of a symbol's book: whole each time."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self.book: Book = symbol.own.book()

    def first(self, now_ms: int) -> Iterable[str]:
        """At once."""
        yield self._whole(now_ms)

    def update(self, now_ms: int) -> Iterable[str]:
        """The best levels."""
        self.book.advance_to(self.symbol.seq)
        yield self._whole(now_ms)

    def _whole(self, now_ms: int) -> str:
        sides = self.book.sides(*self.book.top(int(self.topic.detail)))
        if self.symbol.instrument.category == "spot":
            return spot_message(self.topic.name, f'{{{sides},"lastUpdateId":{self.book.last_id}}}', now_ms)
        return swap_message(self.topic.name, f"{{{sides}}}", f'"ts":{now_ms},')


class Changes(Books):
    """incrDepth: a whole book for each new subscriber, then changes."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self._changes = self.book.changes_of(topic)

    def first(self, now_ms: int) -> Iterable[str]:
        """The whole book."""
        if len(self.topic.sessions) == 1:
            self._changes.forget()
        yield self._text("all", *self.book.top(BOOK_LEVELS), now_ms)

    def update(self, now_ms: int) -> Iterable[str]:
        """What changed."""
        self.book.advance_to(self.symbol.seq)
        if self._changes.first is not None:
            yield self._text("update", self._changes.bids, self._changes.asks, now_ms)
        self._changes.forget()

    def restart(self, now_ms: int) -> Iterable[str]:
        """A whole book, its id lower than before."""
        self.book.last_id = FIRST_ID
        self._changes.forget()
        yield self._text("all", *self.book.top(BOOK_LEVELS), now_ms)

    def _text(self, action: str, bids: Levels, asks: Levels, now_ms: int) -> str:
        sides = self.book.sides(bids, asks)
        data = f'{{"action":"{action}","lastUpdateId":{self.book.last_id},"time":{now_ms},{sides}}}'
        if self.symbol.instrument.category == "spot":
            return spot_message(self.topic.name, data, now_ms)
        return swap_message(self.topic.name, data)
