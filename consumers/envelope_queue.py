"""The queue of one output: bounded, klines apart from all other envelopes.

`put` by any thread, `take` by the output's own. A flood of tickers never costs a kline: each of the two queues has the
whole bound, and klines leave first.
"""

import contextlib
import threading
import time
from collections import deque
from typing import Literal, get_args

from model.envelope import Envelope

Overflow = Literal["drop_oldest", "drop_newest", "never"]
POLICIES: tuple[str, ...] = get_args(Overflow)
NEVER_LIMIT = 1_000_000  # what "never" means in memory: about 1 GB, beyond it the process is at risk
RECORDS_PER_ENVELOPE = 10  # on average: with 10,000 envelopes 100,000 records, of 0.5 to 2.5 kB each


class EnvelopeQueue:
    """First in, first out, klines before others. Over `limit` envelopes of either kind one is dropped, by `overflow`.

    So are RECORDS_PER_ENVELOPE times as many records: an envelope may hold a hundred, or one. Drops are counted.
    """

    def __init__(self, limit: int, overflow: Overflow) -> None:
        self.limit = NEVER_LIMIT if overflow == "never" else limit
        self.dropped = 0
        self._drops_newest = overflow == "drop_newest"
        self._klines, self._others = _Queue(), _Queue()
        self._drop_lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._klines) + len(self._others)

    def put(self, envelope: Envelope) -> bool:
        """Add one; never blocks. False where it, or an older one, was dropped."""
        queue = self._klines if envelope.data_type == "klines" else self._others
        if self._drops_newest and self._is_over(queue, 1, len(envelope.data)):
            with self._drop_lock:
                self.dropped += 1
            return False
        queue.append((time.monotonic(), envelope))
        count = len(envelope.data)  # first: nothing comes between reading and writing a sum
        queue.records += count
        return not self._is_over(queue) or self._drop_oldest(queue)

    def take(self, limit: int) -> tuple[float | None, list[Envelope]]:
        """Take out at most `limit`; returns since when (monotonic) the first has waited, and the envelopes."""
        since_s: float | None = None
        batch: list[Envelope] = []
        for queue in (self._klines, self._others):
            with contextlib.suppress(IndexError):
                while len(batch) < limit:
                    put_s, envelope = queue.popleft()
                    count = len(envelope.data)
                    queue.records -= count
                    since_s = since_s or put_s
                    batch.append(envelope)
            if not queue:
                queue.records = 0
        return since_s, batch

    def oldest_s(self) -> float | None:
        """Return since when (monotonic) the oldest has waited."""
        times = []
        for queue in (self._klines, self._others):
            with contextlib.suppress(IndexError):
                times.append(queue[0][0])
        return min(times, default=None)

    def _is_over(self, queue: "_Queue", more: int = 0, records: int = 0) -> bool:
        is_many = queue.records + records > self.limit * RECORDS_PER_ENVELOPE and len(queue) + more > 1
        return len(queue) + more > self.limit or is_many

    def _drop_oldest(self, queue: "_Queue") -> bool:
        with self._drop_lock, contextlib.suppress(IndexError):
            while self._is_over(queue):
                count = len(queue.popleft()[1].data)
                queue.records -= count
                self.dropped += 1
        return False


class _Queue(deque[tuple[float, Envelope]]):
    """Envelopes with the time they were put. Threads may lose an update of `records`; right again when it is empty."""

    records = 0


def check_policy(overflow: str, limit: int, of: str) -> None:
    """Raise ValueError where the class `of` declares an unknown policy or size."""
    if overflow not in POLICIES:
        raise ValueError(f"{of}.overflow is {overflow!r}; allowed: {', '.join(POLICIES)}")
    if not isinstance(limit, int) or limit < 1:
        raise ValueError(f"{of}.queue_size is {limit!r}; allowed: a whole number from 1")
