"""Order books: price levels without holes around the symbol's price, one for each topic or one for each symbol.

Event loop thread only. Never crossed; the changes turn the last state into the next.
"""

from collections.abc import Callable
from random import Random
from typing import Generic, TypeVar

from .hub import Topic
from .symbol_market import Stream, SymbolMarket

MAX_SIZE_CHANGES = 4  # levels that change their size in one update

Levels = dict[int, int]  # price in ticks -> size in lots, 0 deletes


class PriceLevels:
    """Sizes of `depth` bids at and below `mid` and `depth` asks above it."""

    def __init__(self, depth: int, mid: int, max_lots: int, rng: Random) -> None:
        self.depth, self.mid = depth, mid
        self._max_lots, self._draw = max_lots, rng.random
        self.sizes: Levels = {tick: self._size() for tick in range(mid - depth + 1, mid + depth + 1)}

    def _size(self) -> int:
        return 1 + int(self._draw() ** 3 * self._max_lots)

    def move_to(self, mid: int) -> tuple[Levels, Levels]:
        """Follow the price; returns the changed bids and asks."""
        old, depth, sizes = self.mid, self.depth, self.sizes
        bids_gone, bids_new = window_change(old - depth + 1, old + 1, mid - depth + 1, mid + 1)
        asks_gone, asks_new = window_change(old + 1, old + depth + 1, mid + 1, mid + depth + 1)
        for tick in (*bids_gone, *asks_gone):
            del sizes[tick]
        bids, asks = dict.fromkeys(bids_gone, 0), dict.fromkeys(asks_gone, 0)
        for tick in bids_new:
            bids[tick] = sizes[tick] = self._size()
        for tick in asks_new:
            asks[tick] = sizes[tick] = self._size()
        self.mid = mid
        return bids, asks

    def change_sizes(self, bids: Levels, asks: Levels) -> None:
        """Change a few sizes, mostly near the top; adds them to `bids` and `asks`."""
        draw, mid = self._draw, self.mid
        for _ in range(1 + int(draw() * MAX_SIZE_CHANGES)):
            offset = int(draw() * draw() * self.depth)
            size = self._size()
            if draw() < 0.5:
                bids[mid - offset] = self.sizes[mid - offset] = size
            else:
                asks[mid + 1 + offset] = self.sizes[mid + 1 + offset] = size


def window_change(old_low: int, old_high: int, low: int, high: int) -> tuple[range, range]:
    """The levels that leave and enter when the window [old_low, old_high) becomes [low, high) of equal width."""
    if low >= old_low:
        return range(old_low, min(low, old_high)), range(max(old_high, low), high)
    return range(max(high, old_low), old_high), range(low, min(old_low, high))


class BookStream(Stream):
    """An orderbook topic: levels of its own around the symbol's price. The dialect gives texts and sequence ids."""

    def __init__(self, topic: Topic, symbol: SymbolMarket, depth: int) -> None:
        super().__init__(topic, symbol)
        self.levels = PriceLevels(depth, symbol.mid, symbol.max_lots * 3, symbol.rng)

    def changes(self) -> tuple[Levels, Levels]:
        """Follow the symbol's price and change a few sizes; returns the changed bids and asks, 0 deletes."""
        bids, asks = self.levels.move_to(self.symbol.mid)
        self.levels.change_sizes(bids, asks)
        return bids, asks

    def whole(self, depth: int = 0) -> tuple[Levels, Levels]:
        """All bids and asks, the best ones first; `depth` of each side, 0 is all."""
        mid, sizes, depth = self.levels.mid, self.levels.sizes, min(depth or self.levels.depth, self.levels.depth)
        return (
            {tick: sizes[tick] for tick in range(mid, mid - depth, -1)},
            {tick: sizes[tick] for tick in range(mid + 1, mid + depth + 1)},
        )

    def text(self, levels: Levels) -> str:
        """The levels as the exchange writes them, joined."""
        level = self.level
        return ",".join([level(tick, size) for tick, size in levels.items()])

    def level(self, tick: int, size: int) -> str:
        """One level: price and size; a size of 0 deletes it."""
        return f'["{self.symbol.price_text(tick)}","{self.symbol.size_text(size) if size else "0"}"]'


class SymbolBook:
    """The one book of a symbol, which REST and all its streams show: a snapshot joins the changes by their ids.

    A dialect overrides `numbered` where ids are not one for each changed level, and keeps it in `symbol.own`.
    """

    def __init__(self, symbol: SymbolMarket, depth: int, last_id: int) -> None:
        self.symbol, self.last_id = symbol, last_id
        self.levels = PriceLevels(depth, symbol.mid, symbol.max_lots * 3, symbol.rng)
        self._gathered: list[Changes] = []
        self._seq = -1

    def numbered(self, changed: int) -> tuple[int, int]:
        """The first and the last id of the next change, of so many levels."""
        return self.last_id + 1, self.last_id + changed

    def changes_of(self, topic: Topic) -> "Changes":
        """What changes from now on, for a topic that sends changes."""
        self._gathered.append(Changes(self, topic))
        return self._gathered[-1]

    def advance_to(self, seq: int) -> None:
        """Make the changes of one event (`symbol.seq`), for which several streams may ask."""
        if seq != self._seq:
            self._seq = seq
            self.advance()

    def advance(self) -> None:
        """Follow the price and change some sizes."""
        bids, asks = self.levels.move_to(self.symbol.mid)
        self.levels.change_sizes(bids, asks)
        first, self.last_id = self.numbered(len(bids) + len(asks))
        for changes in self._gathered:
            changes.add(first, bids, asks)

    def top(self, count: int) -> tuple[Levels, Levels]:
        """The best levels of both sides, best first."""
        mid, sizes = self.levels.mid, self.levels.sizes
        count = min(count, self.levels.depth)
        bids = {tick: sizes[tick] for tick in range(mid, mid - count, -1)}
        return bids, {tick: sizes[tick] for tick in range(mid + 1, mid + count + 1)}


class Changes:
    """What changed since the message before, for the subscribers of one topic. `sent` is the last id that they have.

    `first` is None where nothing changed. Nothing is gathered while nobody subscribes.
    """

    def __init__(self, book: SymbolBook, topic: Topic) -> None:
        self._book, self._topic = book, topic
        self.bids: Levels = {}
        self.asks: Levels = {}
        self.first: int | None = None
        self.sent = book.last_id

    def add(self, first: int, bids: Levels, asks: Levels) -> None:
        """Add a change to the next message."""
        if self._topic.sessions:
            self.first = first if self.first is None else self.first
            self.bids |= bids
            self.asks |= asks

    def forget(self) -> None:
        """Begin anew: after a message, and when the first subscriber came."""
        self.bids, self.asks, self.first, self.sent = {}, {}, None, self._book.last_id


Made = TypeVar("Made", bound=SymbolBook)


class OwnBook(Generic[Made]):
    """What a dialect keeps of a symbol: its one book, made when it is first looked at, for most never are."""

    def __init__(self, symbol: SymbolMarket, make: Callable[[SymbolMarket], Made]) -> None:
        self._symbol, self._make = symbol, make
        self._book: Made | None = None

    def book(self) -> Made:
        """The book."""
        if self._book is None:
            self._book = self._make(self._symbol)
        return self._book

    def best(self) -> tuple[int, int, int]:
        """The best bid in ticks (the best ask is one above), and the lots of both."""
        if self._book is None:
            return self._symbol.mid, 2, 1
        mid, sizes = self._book.levels.mid, self._book.levels.sizes
        return mid, sizes[mid], sizes[mid + 1]
