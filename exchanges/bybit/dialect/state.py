"""The state of a Bybit topic: an order book from its snapshot and deltas, a ticker likewise.

Pure; the event loop's thread. Kept so that a client that subscribes now begins with a snapshot, as at Bybit
(docs: websocket/public/orderbook, ticker).
"""

import msgspec

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
write = msgspec.json.Encoder().encode


class Book:
    """One order book topic. `is_whole` from its first snapshot on, until a delta is lost."""

    def __init__(self) -> None:
        self.is_whole = False
        self._bids: Levels = {}
        self._asks: Levels = {}
        self._last: BookMessage | None = None

    def apply(self, payload: bytes) -> bool:
        """Merge one payload; False for a delta of a book that is not whole, which no client could use."""
        message = _read_book(payload)
        data = message.data
        if message.type == "snapshot":
            self._bids, self._asks = dict(data.b), dict(data.a)
            self.is_whole = True
        elif not self.is_whole:
            return False
        else:
            _merge(self._bids, data.b)
            _merge(self._asks, data.a)
        self._last = message
        return True

    def lost(self) -> None:
        """Record that a payload was lost: the book is unusable until its next snapshot."""
        self.is_whole = False

    def snapshot(self) -> bytes | None:
        """Return the book as Bybit's snapshot message, `u` and `seq` of the last payload; None unless whole."""
        last = self._last
        if last is None or not self.is_whole:
            return None
        bids = sorted(self._bids.items(), key=_price, reverse=True)
        data = BookData(last.data.s, bids, sorted(self._asks.items(), key=_price), last.data.u, last.data.seq)
        return write(BookMessage(last.topic, "snapshot", last.ts, data, last.cts))

    def best(self, depth: int) -> tuple[list[Level], list[Level]]:
        """Return the best bids and asks, `depth` of each."""
        bids = sorted(self._bids.items(), key=_price, reverse=True)[:depth]
        return bids, sorted(self._asks.items(), key=_price)[:depth]

    @property
    def last(self) -> BookMessage | None:
        """The last payload; None before the first snapshot, and while a delta is missing."""
        return self._last if self.is_whole else None


class Ticker:
    """One ticker topic, its deltas merged into its snapshot."""

    def __init__(self) -> None:
        self.is_whole = False
        self._message: TickerMessage | None = None

    def apply(self, payload: bytes) -> bool:
        """Merge one payload; False for a delta before its snapshot."""
        message = _read_ticker(payload)
        # A decoded Raw refers to the whole payload; 20 copies of a few bytes each are less than 20 payloads kept alive.
        fields = {name: msgspec.Raw(bytes(value)) for name, value in message.data.items()}
        if message.type != "snapshot":
            if not self.is_whole or self._message is None:
                return False
            fields = self._message.data | fields
        message.data, message.type = fields, "snapshot"
        self._message = message
        self.is_whole = True
        return True

    def lost(self) -> None:
        """Record that a delta was lost: its fields are stale until they change again, or until the next snapshot."""
        self.is_whole = False

    def snapshot(self) -> bytes | None:
        """Return the ticker as Bybit's snapshot message; None before the first."""
        return write(self._message) if self._message is not None and self.is_whole else None


def _merge(side: Levels, changes: list[Level]) -> None:
    for price, size in changes:
        if size == "0":
            side.pop(price, None)
        else:
            side[price] = size


def _price(level: Level) -> float:
    return float(level[0])
