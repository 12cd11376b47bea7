"""One order book per topic: price levels without holes around the symbol's price, its snapshots and deltas.

Event loop thread only. Never crossed; u grows by one per update; every delta turns the last state into the next.
"""

from collections.abc import Callable
from random import Random

MAX_SIZE_CHANGES = 4  # levels that change their size in one update
FIRST_U = 10_000_000  # first update id of a book is somewhere below: any number but 1
L1_REPEAT_MS = 3000  # an unchanged level-1 snapshot is sent again after this long (BYBIT_V5.md trap T6)

Text = Callable[[int], str]
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
        bids_gone, bids_new = _window_change(old - depth + 1, old + 1, mid - depth + 1, mid + 1)
        asks_gone, asks_new = _window_change(old + 1, old + depth + 1, mid + 1, mid + depth + 1)
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


def _window_change(old_low: int, old_high: int, low: int, high: int) -> tuple[range, range]:
    """The levels that leave and enter when the window [old_low, old_high) becomes [low, high) of equal width."""
    if low >= old_low:
        return range(old_low, min(low, old_high)), range(max(old_high, low), high)
    return range(max(high, old_low), old_high), range(low, min(old_low, high))


class Book:
    """The messages of one orderbook topic."""

    def __init__(
        self, category: str, topic: str, symbol: str, ladder: PriceLevels, price: Text, size: Text, rng: Random
    ) -> None:
        self._price, self._size, self._ladder = price, size, ladder
        self._topic, self._symbol, self._category = topic, symbol, category
        self.is_top = ladder.depth == 1
        self.u = 2 + int(rng.random() * FIRST_U)
        self._seq = 0
        self.sent_ms = 0

    def snapshot(self, now_ms: int, seq: int) -> str:
        """The whole book, best price first."""
        ladder, sizes = self._ladder, self._ladder.sizes
        mid, depth = ladder.mid, ladder.depth
        bids = ",".join(self._level(tick, sizes[tick]) for tick in range(mid, mid - depth, -1))
        asks = ",".join(self._level(tick, sizes[tick]) for tick in range(mid + 1, mid + depth + 1))
        return self._message("snapshot", now_ms, bids, asks, seq)

    def update(self, now_ms: int, seq: int, mid: int) -> str:
        """The next message: a delta, or a snapshot for level 1."""
        self.u += 1
        bids, asks = self._ladder.move_to(mid)
        self._ladder.change_sizes(bids, asks)
        if self.is_top:
            return self.snapshot(now_ms, seq)
        level = self._level
        return self._message(
            "delta",
            now_ms,
            ",".join([level(tick, size) for tick, size in bids.items()]),
            ",".join([level(tick, size) for tick, size in asks.items()]),
            seq,
        )

    def repeat_due(self, now_ms: int) -> bool:
        """True for a level-1 book that has been still for three seconds."""
        return self.is_top and now_ms - self.sent_ms >= L1_REPEAT_MS

    def repeat(self, now_ms: int) -> str:
        """The same snapshot with the same u."""
        return self.snapshot(now_ms, self._seq)

    def restart(self, now_ms: int, seq: int) -> str:
        """The u == 1 snapshot of a restarted service (trap T7)."""
        self.u = 1
        return self.snapshot(now_ms, seq)

    def _level(self, tick: int, size: int) -> str:
        return f'["{self._price(tick)}","{self._size(size) if size else "0"}"]'

    def _message(self, kind: str, now_ms: int, bids: str, asks: str, seq: int) -> str:
        """Key order differs by category (trap T17): as recorded, spot alone puts ts before type."""
        self.sent_ms, self._seq = now_ms, seq
        cts = now_ms - 2
        data = f'{{"s":"{self._symbol}","b":[{bids}],"a":[{asks}],"u":{self.u},"seq":{seq}}}'
        if self._category == "option":
            return (
                f'{{"id":"{self._topic}-{seq}-{now_ms}","topic":"{self._topic}","ts":{now_ms},'
                f'"data":{data},"cts":{cts},"type":"{kind}"}}'
            )
        if self._category == "spot":
            return f'{{"topic":"{self._topic}","ts":{now_ms},"type":"{kind}","data":{data},"cts":{cts}}}'
        return f'{{"topic":"{self._topic}","type":"{kind}","ts":{now_ms},"data":{data},"cts":{cts}}}'
