"""Shallower order books derived from the collected one: `orderbook.50` from depth 200.

Pure; the event loop's thread. Computed only while a topic has subscribers. Depth 1 has snapshots alone, as at Bybit;
the others a snapshot and deltas with an `u` of their own, one up each time.
"""

from exchanges.bybit.dialect.state import Book, BookData, BookMessage, Level, Levels, write

DEPTHS = (1, 50, 200, 1000)  # Bybit's


class ShallowBook:
    """One shallower topic, as its subscribers saw it last."""

    def __init__(self, topic: str, depth: int) -> None:
        self._topic = topic
        self._depth = depth
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
        if is_new or self._sent is None or self._depth == 1:
            if self._depth == 1 and (self._bids, self._asks) == (dict(bids), dict(asks)):
                return None
            self._u = last.data.u
            return self._message(last, "snapshot", bids, asks, dict(bids), dict(asks))
        now_bids, now_asks = dict(bids), dict(asks)
        changes = _changes(self._bids, now_bids), _changes(self._asks, now_asks)
        if not any(changes):
            return None
        self._u += 1
        return self._message(last, "delta", *changes, now_bids, now_asks)

    def snapshot(self, book: Book) -> bytes | None:
        """Return the snapshot that a new subscriber begins with: the book as the others saw it last."""
        if self._sent is None:
            return self.follow(book, is_new=True)
        sent = self._sent
        data = BookData(sent.data.s, list(self._bids.items()), list(self._asks.items()), self._u, sent.data.seq)
        return write(BookMessage(self._topic, "snapshot", sent.ts, data, sent.cts))

    def _message(
        self, last: BookMessage, kind: str, bids: list[Level], asks: list[Level], now_bids: Levels, now_asks: Levels
    ) -> bytes:
        self._bids, self._asks = now_bids, now_asks
        data = BookData(last.data.s, bids, asks, self._u, last.data.seq)
        self._sent = BookMessage(self._topic, kind, last.ts, data, last.cts)
        return write(self._sent)


def _changes(before: Levels, now: Levels) -> list[Level]:
    gone = [(price, "0") for price in before if price not in now]
    return gone + [(price, size) for price, size in now.items() if before.get(price) != size]
