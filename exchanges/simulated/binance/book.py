"""The one order book of each symbol, and the streams of it: changes, whole top levels, best prices.

Event loop thread only. REST and all streams show the same book, so that a snapshot joins the changes by their ids.
"""

from collections.abc import Iterable
from random import Random

from ..book import Levels, PriceLevels
from ..hub import Topic
from ..symbol_market import Stream, SymbolMarket
from .rows import FUTURES_TAG, message

DEPTH = 1000
MOST_SKIPPED_IDS = 50  # ids of futures that no message of a book has (trap T8)


class Book:
    """A symbol's book. `last_id` is that of the newest change; `advance` makes the next ones, for all its streams."""

    def __init__(self, symbol: SymbolMarket) -> None:
        self.symbol = symbol
        self.levels = PriceLevels(DEPTH, symbol.mid, symbol.max_lots, symbol.rng)
        self.last_id = symbol.listed_ms * 10
        self.diffs: list[Diffs] = []
        self._is_spot = symbol.instrument.category == "spot"
        self._draw = Random(symbol.listed_ms).random
        self._seq = -1

    def advance_to(self, seq: int) -> None:
        """Make the changes of one event, which several streams ask for."""
        if seq != self._seq:
            self._seq = seq
            self.advance()

    def advance(self) -> None:
        """Follow the price and change some sizes."""
        bids, asks = self.levels.move_to(self.symbol.mid)
        self.levels.change_sizes(bids, asks)
        first = self.last_id + 1 + (0 if self._is_spot else int(self._draw() * MOST_SKIPPED_IDS))
        self.last_id = first + len(bids) + len(asks) - 1
        for stream in self.diffs:
            if stream.topic.sessions:
                stream.add(first, bids, asks)

    def top(self, count: int) -> tuple[Levels, Levels]:
        """The best levels, best first."""
        mid, sizes = self.levels.mid, self.levels.sizes
        bids = {tick: sizes[tick] for tick in range(mid, mid - count, -1)}
        return bids, {tick: sizes[tick] for tick in range(mid + 1, mid + count + 1)}

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
        self.book.diffs.append(self)
        self._bids: Levels = {}
        self._asks: Levels = {}
        self._first: int | None = None
        self._sent = self.book.last_id

    def first(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """Nothing; changes are gathered from now on where nobody else listens."""
        if len(self.topic.sessions) == 1:
            self._forget()
        return ()

    def add(self, first: int, bids: Levels, asks: Levels) -> None:
        """Add changes to those of the next message."""
        self._first = first if self._first is None else self._first
        self._bids |= bids
        self._asks |= asks

    def texts(self, now_ms: int) -> Iterable[str]:
        """All that changed."""
        if self._first is not None:
            first = self._sent + 1 if self.is_spot else self._first
            yield self.depth_text(now_ms, first, self.book.last_id, self._sent, self._bids, self._asks)
            self._forget()

    def _forget(self) -> None:
        self._bids, self._asks, self._first, self._sent = {}, {}, None, self.book.last_id


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
