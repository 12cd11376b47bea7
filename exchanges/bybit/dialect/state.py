"""The state of a Bybit topic: an order book from its snapshot and deltas, shallower books made of it, a ticker.

Pure; the event loop's thread. Kept so that a client that subscribes now begins with a snapshot, as at Bybit
(docs: websocket/public/orderbook, ticker).
"""

import msgspec

DEPTHS = (1, 50, 200, 1000)  # Bybit's

Level = tuple[str, str]  # price, size; the rpi book's third figure is not collected
Levels = dict[str, str]


class BookData(msgspec.Struct):
    """The data of an order book message."""

    s: str
    b: list[Level]
    a: list[Level]
    u: int
    seq: int = 0


class BookMessage(msgspec.Struct):
    """An order book message."""

    topic: str
    type: str
    ts: int
    data: BookData
    cts: int | None = None


class TickerMessage(msgspec.Struct, omit_defaults=True):
    """A ticker message; the field set of `data` differs by market."""

    topic: str
    type: str
    data: dict[str, msgspec.Raw]
    cs: int | None = None
    ts: int = 0


_read_book = msgspec.json.Decoder(BookMessage).decode
_read_ticker = msgspec.json.Decoder(TickerMessage).decode
_write = msgspec.json.Encoder().encode


class Book:
    """One order book topic. `last`: its last payload; None before the first snapshot, and while a delta is missing."""

    def __init__(self) -> None:
        self.last: BookMessage | None = None
        self._bids: Levels = {}
        self._asks: Levels = {}

    def apply(self, payload: bytes) -> bool:
        """Merge one payload; False for a delta of a book that is not whole, which no client could use."""
        message = _read_book(payload)
        data = message.data
        if message.type == "snapshot":
            self._bids, self._asks = dict(data.b), dict(data.a)
        elif self.last is None:
            return False
        else:
            _merge(self._bids, data.b)
            _merge(self._asks, data.a)
        self.last = message
        return True

    def lost(self) -> None:
        """Record that a payload was lost: the book is unusable until its next snapshot."""
        self.last = None

    def snapshot(self) -> bytes | None:
        """Return the book as Bybit's snapshot message, `u` and `seq` of the last payload; None unless whole."""
        last = self.last
        if last is None:
            return None
        data = BookData(last.data.s, *self.best(), last.data.u, last.data.seq)
        return _write(BookMessage(last.topic, "snapshot", last.ts, data, last.cts))

    def best(self, depth: int | None = None) -> tuple[list[Level], list[Level]]:
        """Return the best bids and asks, `depth` of each; None: all."""
        bids = sorted(self._bids.items(), key=_price, reverse=True)[:depth]
        return bids, sorted(self._asks.items(), key=_price)[:depth]


class ShallowBook:
    """One shallower topic made of the collected book, `orderbook.50` of depth 200, as its subscribers saw it last.

    Depth 1 has snapshots alone, as at Bybit; the others a snapshot and deltas with an `u` of their own, one up each
    time. Computed only while the topic has subscribers.
    """

    def __init__(self, topic: str, depth: int) -> None:
        self._topic, self._depth = topic, depth
        self._bids: Levels = {}
        self._asks: Levels = {}
        self._u = 0
        self._sent: BookMessage | None = None

    def follow(self, book: Book, *, is_new: bool) -> bytes | None:
        """Return the message for a change of the deeper book; None where nothing within this depth changed.

        `is_new`: its last payload was a snapshot.
        """
        last = book.last
        if last is None:
            return None
        bids, asks = book.best(self._depth)
        changes = _changes(self._bids, bids), _changes(self._asks, asks)
        is_snapshot = is_new or self._sent is None or self._depth == 1
        if not any(changes) and (self._depth == 1 or not is_snapshot):
            return None
        self._bids, self._asks = dict(bids), dict(asks)
        self._u = last.data.u if is_snapshot else self._u + 1
        data = BookData(last.data.s, *((bids, asks) if is_snapshot else changes), self._u, last.data.seq)
        self._sent = BookMessage(self._topic, "snapshot" if is_snapshot else "delta", last.ts, data, last.cts)
        return _write(self._sent)

    def snapshot(self, book: Book) -> bytes | None:
        """Return the snapshot that a new subscriber begins with: the book as the others saw it last."""
        if self._sent is None:
            return self.follow(book, is_new=True)
        sent = self._sent
        data = BookData(sent.data.s, list(self._bids.items()), list(self._asks.items()), self._u, sent.data.seq)
        return _write(BookMessage(self._topic, "snapshot", sent.ts, data, sent.cts))


class Ticker:
    """One ticker topic, its deltas merged into its snapshot."""

    def __init__(self) -> None:
        self._merged: TickerMessage | None = None

    def apply(self, payload: bytes) -> bool:
        """Merge one payload; False for a delta before its snapshot."""
        message = _read_ticker(payload)
        # A decoded Raw refers to the whole payload; 20 copies of a few bytes each are less than 20 payloads kept alive.
        fields = {name: msgspec.Raw(bytes(value)) for name, value in message.data.items()}
        if message.type != "snapshot":
            if self._merged is None:
                return False
            fields = self._merged.data | fields
        message.data, message.type = fields, "snapshot"
        self._merged = message
        return True

    def lost(self) -> None:
        """Record that a delta was lost: the other fields may be stale until the next snapshot."""
        self._merged = None

    def snapshot(self) -> bytes | None:
        """Return the ticker as Bybit's snapshot message; None before the first."""
        return _write(self._merged) if self._merged else None


def _merge(side: Levels, changes: list[Level]) -> None:
    for price, size in changes:
        if size == "0":
            side.pop(price, None)
        else:
            side[price] = size


def _changes(before: Levels, levels: list[Level]) -> list[Level]:
    now = dict(levels)
    gone = [(price, "0") for price in before if price not in now]
    return gone + [(price, size) for price, size in levels if before.get(price) != size]


def _price(level: Level) -> float:
    return float(level[0])
