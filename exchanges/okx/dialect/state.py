"""The state of a topic of OKX's order books, and the best levels of it as OKX's smaller channels have them.

Pure; the event loop's thread. Kept so that a client that subscribes now begins with a snapshot, as at OKX
(documentation page: WebSocket, order book channel).
"""

from heapq import nlargest, nsmallest

import msgspec

Level = tuple[str, ...]  # price, size, a dead column, number of orders
Levels = dict[float, Level]
NO_NUMBER = -1  # prevSeqId of a snapshot; seqId of messages from before there were any


class Arg(msgspec.Struct):
    """What a message is of."""

    channel: str
    instId: str  # noqa: N815 - OKX's name


class BookData(msgspec.Struct, omit_defaults=True):
    """The data of a message of order books, its fields in OKX's order.

    The checksum is that of the book after the message, of any that shows the same book: it is handed on as it came.
    """

    asks: list[Level]
    bids: list[Level]
    instId: str = ""  # noqa: N815 - of books5
    ts: str = ""
    checksum: int | None = None
    prevSeqId: int | None = None  # noqa: N815
    seqId: int | None = None  # noqa: N815


class BookMessage(msgspec.Struct, omit_defaults=True):
    """A message of order books; those without `action` have the whole book."""

    arg: Arg
    action: str = ""
    data: list[BookData] = []


_read = msgspec.json.Decoder(BookMessage).decode
_write = msgspec.json.Encoder().encode


class Book:
    """One order book. `last`: the data of its newest message; None before the first whole one, and after a gap."""

    def __init__(self) -> None:
        self.last: BookData | None = None
        self._bids: Levels = {}
        self._asks: Levels = {}

    def apply(self, payload: bytes) -> bool:
        """Merge one payload; False for one that no client could use: it follows on none that is here."""
        message = _read(payload)
        (data,) = message.data
        if message.action != "update":
            self._bids, self._asks = {}, {}
        elif self.last is None:
            return False
        elif data.prevSeqId != self.last.seqId:  # both None: of before there were numbers
            if not _is_known(data, self.last):
                self.lost()
            return False
        _merge(self._bids, data.bids)
        _merge(self._asks, data.asks)
        self.last = data
        return True

    def lost(self) -> None:
        """Record that a payload was lost: the book is unusable until its next snapshot."""
        self.last = None

    def best(self, depth: int) -> tuple[list[Level], list[Level]]:
        """Return the best bids and asks, so many of each."""
        bids, asks = nlargest(depth, self._bids.items()), nsmallest(depth, self._asks.items())
        return [level for _, level in bids], [level for _, level in asks]

    def whole(self) -> tuple[list[Level], list[Level]]:
        """Return all bids and asks, best first."""
        bids, asks = sorted(self._bids.items(), reverse=True), sorted(self._asks.items())
        return [level for _, level in bids], [level for _, level in asks]

    def snapshot(self, arg: Arg) -> bytes | None:
        """Return the book as OKX's snapshot, which updates after the last payload follow on; None unless whole."""
        last = self.last
        if last is None:
            return None
        bids, asks = self.whole()
        before = None if last.seqId is None else NO_NUMBER
        data = BookData(asks, bids, "", last.ts, last.checksum, before, last.seqId)
        return _write(BookMessage(arg, "snapshot", [data]))

    def top(self, arg: Arg, depth: int) -> bytes | None:
        """Return the best levels as books5 and bbo-tbt have them; None unless whole."""
        last = self.last
        if last is None:
            return None
        bids, asks = self.best(depth)
        name = arg.instId if depth > 1 else ""  # as OKX writes the two
        return _write(BookMessage(arg, data=[BookData(asks, bids, name, last.ts, seqId=last.seqId)]))


def _is_known(data: BookData, last: BookData) -> bool:
    """Whether a message is of before the last one: of two connections, one of which replaces the other."""
    return data.seqId is not None and last.seqId is not None and data.seqId <= last.seqId


def _merge(side: Levels, changes: list[Level]) -> None:
    for level in changes:
        price = float(level[0])
        if float(level[1]):
            side[price] = level
        else:
            side.pop(price, None)
