"""The queue of raw payloads between the stream threads and the connection's owner.

`put_all` is on the path of every payload: no lock, no system call unless the publisher sleeps, no waiting.
Over its bounds the oldest payloads are dropped, counted. One taker at a time, any number of putters.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Sequence

from model.wake import WakeSignal

OVERHEAD_BYTES = 64  # of a payload beside its bytes: the object, its places in lists and batches

Batch = tuple[bytes | str, Sequence[bytes], int]
"""A channel, payloads of it that came together, and the sum of their bytes."""


class RawQueue:
    """A queue of payloads by what came together, bounded by their number and, roughly, by bytes."""

    def __init__(self, limit: int, limit_bytes: int, wake: WakeSignal) -> None:
        self.waiting: deque[Batch] = deque()  # an attribute, for it is looked at after every write
        self.dropped = 0
        # Threads may lose an update of these to each other; right again whenever the queue is empty.
        self._count = self._bytes = 0
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._wake = wake
        self._drop_lock = threading.Lock()

    def put(self, channel: bytes | str, payload: bytes) -> None:
        """Add one; never blocks. Any thread."""
        self.put_all(channel, (payload,))

    def put_all(self, channel: bytes | str, payloads: Sequence[bytes]) -> None:
        """Add payloads of one channel, in their order, and keep them as they are; never blocks. Any thread."""
        size, count = sum(map(len, payloads)), len(payloads)
        self.waiting.append((channel, payloads, size))
        self._count += count
        self._bytes += size + OVERHEAD_BYTES * count
        if self._count > self._limit or self._bytes > self._limit_bytes:
            self._drop_oldest()
        if self._wake.is_armed:
            self._wake.set()

    def take(self, limit_bytes: int, limit: int | None = None) -> list[Batch]:
        """Take out batches, oldest first, until they reach a limit of bytes or of payloads; whole ones.

        One thread; others may put and drop meanwhile.
        """
        taken: list[Batch] = []
        count = size = 0
        waiting = self.waiting
        try:
            while waiting and size < limit_bytes and (limit is None or count < limit):
                taken.append(batch := waiting.popleft())
                count += len(batch[1])
                size += batch[2]
        except IndexError:  # the thread that drops the oldest came between
            pass
        size += OVERHEAD_BYTES * count
        self._count = self._count - count if waiting else 0
        self._bytes = self._bytes - size if waiting else 0
        return taken

    def __len__(self) -> int:
        """Payloads that wait."""
        return sum(len(payloads) for _, payloads, _ in self.waiting.copy())

    def _drop_oldest(self) -> None:
        """Drop whole batches, but never the last: one read may be more than a small bound, and Redis may be well."""
        with self._drop_lock, contextlib.suppress(IndexError):
            while len(self.waiting) > 1 and (self._count > self._limit or self._bytes > self._limit_bytes):
                _, payloads, size = self.waiting.popleft()
                count = len(payloads)
                self._count -= count
                self._bytes -= size + OVERHEAD_BYTES * count
                self.dropped += count
