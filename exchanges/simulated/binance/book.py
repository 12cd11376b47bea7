"""The one order book of each symbol, and the streams of it: changes, whole top levels, best prices.

Event loop thread only. REST and all streams show the same book, so that a snapshot joins the changes by their ids.
"""

from collections.abc import Iterable
from random import Random

from ..book import Levels, SymbolBook
from ..hub import Topic
from ..symbol_market import Stream, SymbolMarket
from .rows import FUTURES_TAG, message

DEPTH = 1000
MOST_SKIPPED_IDS = 50  # ids of futures that no message of a book has (trap T8)


class Book(SymbolBook):
    """A symbol's book."""

    def __init__(self, symbol: SymbolMarket) -> None:
        super().__init__(symbol, DEPTH, symbol.listed_ms * 10)
        self._is_spot = symbol.instrument.category == "spot"
        self._draw = Random(symbol.listed_ms).random

    def numbered(self, changed: int) -> tuple[int, int]:
        """An id for each level; futures leave some out."""
        first = self.last_id + 1 + (0 if self._is_spot else int(self._draw() * MOST_SKIPPED_IDS))
        return first, first + changed - 1

    def text(self, levels: Levels) -> str:
        """Levels as they are written; a size of zero, which deletes, has its decimals too."""
        price, size = self.symbol.price_text, self.symbol.size_text
        return ",".join([f'["{price(tick)}","{size(lots)}"]' for tick, lots in levels.items()])


class BookStream(Stream):
    """A stream of a symbol's book."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self.book: Book = symbol.own.book()
        self.is_spot = symbol.instrument.category == "spot"

    def update(self, now_ms: int) -> Iterable[str]:
        """The next message."""
        self.book.advance_to(self.symbol.seq)
        yield from self.texts(now_ms)

    def texts(self, now_ms: int) -> Iterable[str]:
        """The messages of a change that was made."""
        raise NotImplementedError

    def depth_text(self, now_ms: int, first: int, last: int, before: int, bids: Levels, asks: Levels) -> str:
        """A depthUpdate: `before` is the id that it follows, which futures name."""
        instrument, text = self.symbol.instrument, self.book.text
        head = f'{{"e":"depthUpdate","E":{now_ms},'
        if self.is_spot:
            head += f'"s":"{instrument.symbol}","U":{first},"u":{last},'
        else:
            pair, tag = instrument.base + instrument.quote, FUTURES_TAG[instrument.category]
            head += f'"T":{now_ms - 1},"s":"{instrument.symbol}","ps":"{pair}",{tag},'
            head += f'"U":{first},"u":{last},"pu":{before},'
        return message(self.topic.name, f'{head}"b":[{text(bids)}],"a":[{text(asks)}]}}')


class Diffs(BookStream):
    """`depth`: the changes since the message before, each level's size anew. No snapshot: that is REST's."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self._changes = self.book.changes_of(topic)

    def first(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """Nothing; changes are gathered from now on where nobody else listens."""
        if len(self.topic.sessions) == 1:
            self._changes.forget()
        return ()

    def texts(self, now_ms: int) -> Iterable[str]:
        """All that changed."""
        new = self._changes
        if new.first is not None:
            first = new.sent + 1 if self.is_spot else new.first
            yield self.depth_text(now_ms, first, self.book.last_id, new.sent, new.bids, new.asks)
            new.forget()


class Partial(BookStream):
    """`depth5`, `depth10`, `depth20`: whole top levels; of spot without event, time and symbol (trap T13)."""

    def __init__(self, topic: Topic, symbol: SymbolMarket, levels: int) -> None:
        super().__init__(topic, symbol)
        self._levels = levels
        self._before = self.book.last_id

    def texts(self, now_ms: int) -> Iterable[str]:
        """The top levels."""
        bids, asks = self.book.top(self._levels)
        last, before = self.book.last_id, self._before
        self._before = last
        if self.is_spot:
            bids_text, asks_text = self.book.text(bids), self.book.text(asks)
            yield message(self.topic.name, f'{{"lastUpdateId":{last},"bids":[{bids_text}],"asks":[{asks_text}]}}')
        else:
            yield self.depth_text(now_ms, before + 1, last, before, bids, asks)


class BestPrices(BookStream):
    """`bookTicker`: best bid and ask; the order of its keys is another one in each market (trap T14)."""

    def texts(self, now_ms: int) -> Iterable[str]:
        """The best prices."""
        instrument, symbol, book = self.symbol.instrument, self.symbol, self.book
        mid, sizes = book.levels.mid, book.levels.sizes
        price, size = symbol.price_text, symbol.size_text
        best = f'"b":"{price(mid)}","B":"{size(sizes[mid])}","a":"{price(mid + 1)}","A":"{size(sizes[mid + 1])}"'
        name = f'"s":"{instrument.symbol}"'
        if self.is_spot:
            yield message(self.topic.name, f'{{"u":{book.last_id},{name},{best}}}')
            return
        first, second = '"e":"bookTicker"', f'"u":{book.last_id}'
        if instrument.category == "inverse":
            first, second = second, first
        tag = FUTURES_TAG[instrument.category]
        pair = f'"ps":"{instrument.base}{instrument.quote}"'
        yield message(self.topic.name, f'{{{first},{second},{name},{pair},{best},"T":{now_ms - 1},"E":{now_ms},{tag}}}')
