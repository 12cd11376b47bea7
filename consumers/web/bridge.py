"""Where raw payloads and open klines come in for the Bybit-speaking paths, from any thread.

`sink` functions run on stream threads for every payload: they append and return. The event loop takes everything out
many at a time. Bounded; what is lost is counted, and named, so that no book with a hole is shown.
"""

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat

from model.records import Kline

RAW_LIMIT = 50_000  # payloads; at 10,000 a second five seconds of an event loop that does not come round
RAW_BYTES = 64 * 1024 * 1024  # of payloads, where they are large
OPEN_LIMIT = 100_000  # open candles that wait: newest per market, symbol and interval
GATHER_S, GATHER_IDLE_S = 0.003, 0.05  # payloads of so long are taken together; longer while nobody listens
STATEFUL = frozenset({"orderbook", "ticker"})  # these are kept up to date even while nobody listens
TOPIC = re.compile(rb'"topic"\s*:\s*"([^"]+)"')
TOPIC_BEGIN = b'{"topic":"'

Raw = tuple[str, bytes]
"""Market and payload."""

Topic = tuple[str, str]
"""Market and topic."""

Consume = Callable[[Sequence[Raw], Collection[Topic]], object]
"""Takes payloads, and the topics of which older ones were lost."""


@dataclass(frozen=True)
class TapStats:
    """Payloads since the start, and those that wait now."""

    taken: int = 0
    dropped: int = 0
    waiting: int = 0


def topic_of(payload: bytes) -> str:
    """Find the topic a payload belongs to; "" where it has none. Fast where it stands first, as at Bybit."""
    if payload.startswith(TOPIC_BEGIN):
        return payload[len(TOPIC_BEGIN) : payload.find(b'"', len(TOPIC_BEGIN))].decode("utf-8", "replace")
    match = TOPIC.search(payload)
    return match[1].decode("utf-8", "replace") if match else ""


class RawTap:
    """Made by main.py and handed to the WSS output; does nothing until that has started."""

    def __init__(self, limit: int = RAW_LIMIT) -> None:
        self._limit = limit
        self._queue: deque[Raw] = deque()
        self._bytes = 0  # threads may lose an update to each other; right again whenever everything was taken out
        self._lost: dict[Topic, None] = {}
        self._open: dict[tuple[str, str, int], Kline] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._consume: Consume = lambda _raws, _lost: None
        self._is_due = True  # nobody to wake before start
        self.has_listeners = False
        self._taken = self._dropped = 0

    # -- any thread ------------------------------------------------------------------------------------

    def sink(self, market: str, kind: str) -> Callable[[Sequence[bytes]], object]:
        """Return what takes the payloads of one kind, in their order: never blocks, never raises."""
        is_stateful = kind in STATEFUL
        queue, limit = self._queue, self._limit

        def take(payloads: Sequence[bytes]) -> None:
            if self._loop is None or not (is_stateful or self.has_listeners):
                return
            queue.extend(zip(repeat(market), payloads))
            size = sum(map(len, payloads))  # first: nothing comes between reading and writing a sum
            self._bytes += size
            while len(queue) > limit or (self._bytes > RAW_BYTES and len(queue) > 1):
                self._drop()
            if not self._is_due:
                self._wake()

        return take

    def offer_open(self, market: str, klines: Iterable[Kline]) -> None:
        """Take the present state of candles that are still open; only the newest of each is kept."""
        if self._loop is None or not self.has_listeners:
            return
        for kline in klines:
            self._open[market, kline.symbol, kline.interval] = kline
            if len(self._open) > OPEN_LIMIT:
                self._open.clear()

    def stats(self) -> TapStats:
        """Return the counts; any thread, a moment old."""
        return TapStats(self._taken, self._dropped, len(self._queue))

    # -- the event loop's thread -----------------------------------------------------------------------

    def start(self, consume: Consume) -> None:
        """From now on give payloads to `consume`, in the running loop."""
        self._consume = consume
        self._loop = asyncio.get_running_loop()
        self._is_due = False

    def stop(self) -> None:
        """Take nothing any more."""
        self._loop = None
        self._is_due = True
        self._queue.clear()
        self._open.clear()

    def take_open(self) -> list[tuple[str, Kline]]:
        """Take out what open klines came since the last time."""
        taken: list[tuple[str, Kline]] = []
        with contextlib.suppress(KeyError):
            while True:
                (market, _, _), kline = self._open.popitem()
                taken.append((market, kline))
        return taken

    def _gather(self) -> None:
        if self._loop is not None:
            self._loop.call_later(GATHER_S if self.has_listeners else GATHER_IDLE_S, self._take)

    def _take(self) -> None:
        self._is_due = False  # before looking: what comes while we look wakes us again
        raws: list[Raw] = []
        self._bytes = 0
        with contextlib.suppress(IndexError):  # a thread that drops the oldest was quicker
            raws.extend(self._queue.popleft() for _ in range(len(self._queue)))
        self._taken += len(raws)
        lost = []
        with contextlib.suppress(KeyError):
            while True:
                lost.append(self._lost.popitem()[0])
        if raws or lost:
            self._consume(raws, lost)

    def _drop(self) -> None:
        with contextlib.suppress(IndexError):
            market, payload = self._queue.popleft()
            size = len(payload)
            self._bytes -= size
            self._dropped += 1
            self._lost[market, topic_of(payload)] = None

    def _wake(self) -> None:
        self._is_due = True
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._gather)
