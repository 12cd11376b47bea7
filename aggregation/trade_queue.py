"""The queue of one market's trade payloads, from stream threads to the aggregator thread, and its control messages.

Bounded: when it is full, payloads are dropped and an Overflow stands in their place, so that no kline over them passes
for complete. Putting never blocks.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model import clock
from model.records import Candle, FeedMarker, Kline, PastTrade, TradeId
from model.wake import WakeSignal

CAPACITY = 200_000  # payloads; some 80 MB of trades, and half a minute of the busiest market
CAPACITY_BYTES = 96 * 1024 * 1024  # of payloads, where a flood's are large
TAKE_BYTES = 4 * 1024 * 1024  # taken at once: decoded they are ten times as large


@dataclass(frozen=True)
class Overflow:
    """A marker of payloads dropped at its place, between the two times (wall clock)."""

    from_ms: int
    until_ms: int


@dataclass(frozen=True)
class Correction:
    """The exchange's candle for a kline that went out and was not complete, or was wrong."""

    kline: Kline
    candle: Candle


@dataclass(eq=False)
class FeedGap:
    """A time without a feed of one symbol, and the trades on both sides of it, by id.

    `last_id` is the last trade before it ("" at the start of the collector), `first_id` the first after it, of
    `first_ms`. Written by the aggregator thread alone, and by no thread once `first_id` is known.
    """

    symbol: str
    from_ms: int
    last_id: TradeId
    until_ms: int = 0
    first_id: TradeId = ""
    first_ms: int = 0
    early_ms: int = 2**62  # of the earliest trade that came after it and was matched before its end
    open_ms: int = 2**62  # windows since then had not closed when it began
    ids: tuple[int, int] | None = None  # the first and last id that are missing, where ids prove it
    reason: str | None = None  # for its event
    reads: int = 0  # how often the exchange answered without its trades; the repair thread's
    misses: int = 0  # reads in a row without an answer; the repair thread's
    lacks_ids: bool = False  # the exchange does not have its trades by id; the repair thread's


@dataclass(frozen=True)
class InsertTrades:
    """The exchange's newest trades, oldest first and without a hole, to be put into a gap.

    `by_id`: they are those of its ids instead.
    """

    gap: FeedGap
    trades: Sequence[PastTrade]
    by_id: bool = False


@dataclass(frozen=True)
class DropSymbols:
    """Symbols not wanted any more: once no connection delivers them, their state is dropped. `again`: wanted anew."""

    symbols: tuple[str, ...]
    again: tuple[str, ...] = ()


@dataclass(frozen=True)
class SilenceAnswer:
    """Whether a silent symbol traded at the exchange from `since_ms` until `until_ms`, without a trade of it here."""

    symbol: str
    since_ms: int
    until_ms: int
    is_missed: bool


ControlMessage = FeedMarker | Overflow | Correction | InsertTrades | DropSymbols | SilenceAnswer
"""What stands between the payloads. A FeedMarker's time is the exchange's by then; without `delivery` it counts as
alive."""
Item = bytes | ControlMessage


class TradeQueue:
    """Payloads and control messages of one market in the order in which they were put. Any thread puts, one takes."""

    def __init__(
        self,
        wake: WakeSignal,
        capacity: int = CAPACITY,
        now_ms: Callable[[], int] = clock.now_ms,
        *,
        capacity_bytes: int = CAPACITY_BYTES,
    ) -> None:
        self._items: deque[Item] = deque()
        self._wake = wake
        self._capacity, self._capacity_bytes = capacity, capacity_bytes
        self._bytes = 0  # threads may lose an update to each other; right again whenever the queue is empty
        self._now_ms = now_ms
        self._full_lock = threading.Lock()  # held only while the queue is full, or was
        self._overflow_since_ms = 0
        self.dropped = 0

    def put(self, payload: bytes) -> None:
        """Append one trade payload; drop and count it while the queue is full."""
        items = self._items
        is_full = len(items) >= self._capacity or self._bytes >= self._capacity_bytes  # not a call: it costs a tenth
        if (is_full or self._overflow_since_ms) and not self._has_room():
            return
        items.append(payload)
        size = len(payload)  # first: nothing comes between reading and writing a sum
        self._bytes += size
        if self._wake.is_armed:
            self._wake.set()

    def put_all(self, payloads: Sequence[bytes]) -> None:
        """Append trade payloads in their order; drop and count what finds the queue full."""
        items, size = self._items, sum(map(len, payloads))
        is_too_large = self._bytes + size > self._capacity_bytes
        if is_too_large or len(items) + len(payloads) > self._capacity or self._overflow_since_ms:
            for payload in payloads:
                self.put(payload)
            return
        items.extend(payloads)
        self._bytes += size
        if self._wake.is_armed:
            self._wake.set()

    def put_control(self, message: ControlMessage) -> None:
        """Append a control message at its place between the payloads; these are few and never dropped."""
        self._items.append(message)
        if self._wake.is_armed:
            self._wake.set()

    def _has_room(self) -> bool:
        with self._full_lock:
            if len(self._items) >= self._capacity or self._bytes >= self._capacity_bytes:
                self._overflow_since_ms = self._overflow_since_ms or self._now_ms()
                self.dropped += 1
                return False
            self._items.extend(self._overflow())
            return True

    def _overflow(self) -> list[Item]:
        since_ms, self._overflow_since_ms = self._overflow_since_ms, 0
        if not since_ms:
            return []
        until_ms = self._now_ms()
        return [Overflow(min(since_ms, until_ms), until_ms)]  # the clock may have gone back

    def take(self, limit: int) -> list[Item]:
        """Take up to `limit` items or TAKE_BYTES, oldest first, and an Overflow behind them. Aggregator thread only."""
        pop = self._items.popleft
        if self._bytes <= TAKE_BYTES:
            items = [pop() for _ in range(min(limit, len(self._items)))]
        else:
            items = self._take_some(min(limit, len(self._items)))
        if not self._items:
            self._bytes = 0
        else:
            size = sum(len(item) for item in items if isinstance(item, bytes))
            self._bytes -= size
        if self._overflow_since_ms:
            with self._full_lock:
                if not self._items:
                    items += self._overflow()
        return items

    def drop(self) -> list[bytes]:
        """Empty the queue, control messages too; returns the payloads, oldest first, which count as dropped.

        Aggregator thread only.
        """
        items = [self._items.popleft() for _ in range(len(self._items))]
        payloads = [item for item in items if isinstance(item, bytes)]
        self.dropped += len(payloads)
        return payloads

    def _take_some(self, limit: int) -> list[Item]:
        items: list[Item] = []
        size = 0
        while len(items) < limit and size < TAKE_BYTES:
            items.append(item := self._items.popleft())
            size += len(item) if isinstance(item, bytes) else 0
        return items

    def __len__(self) -> int:
        return len(self._items)
