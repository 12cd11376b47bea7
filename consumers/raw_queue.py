"""Where stream threads leave raw payloads, and the bell that wakes the publisher.

`put` is on the path of every payload: no lock, no system call unless the publisher sleeps, no waiting.
Over its bounds the oldest go, counted. One taker, any number of putters.
"""

import contextlib
import threading
from collections import deque


class Bell:
    """Wakes one sleeping thread; costs the ringing one an attribute look-up while the other is awake.

    A bare lock, because threading.Event costs the sleeper three times as much per wake-up, and a pipe makes
    the ringing thread give up the interpreter lock.
    """

    def __init__(self) -> None:
        self.asleep = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Wake the sleeper; harmless when it is awake (its next sleep may end early)."""
        self.asleep = False
        with contextlib.suppress(RuntimeError):  # two rang at once: the lock is open already
            self._lock.release()

    def listen(self) -> None:
        """Announce sleep; look at what is waiting once more between this and `sleep`."""
        self.asleep = True

    def sleep(self, timeout_s: float) -> bool:
        """Sleep until rung; False after `timeout_s` without a ring."""
        rung = self._lock.acquire(timeout=timeout_s)
        self.asleep = False
        return rung


class RawQueue:
    """A queue of (channel, payload), bounded by number and, roughly, by bytes."""

    def __init__(self, limit: int, limit_bytes: int, bell: Bell) -> None:
        self.waiting: deque[tuple[bytes | str, bytes]] = deque()
        self.dropped = 0
        self._bytes = 0  # threads may lose an update to each other; right again whenever the queue is empty
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bell = bell
        self._drop_lock = threading.Lock()

    def put(self, channel: bytes | str, payload: bytes) -> None:
        """Add one; never blocks. Any thread."""
        waiting = self.waiting
        waiting.append((channel, payload))
        self._bytes += len(payload)
        if len(waiting) > self._limit or self._bytes > self._limit_bytes:
            self._drop_oldest()
        if self._bell.asleep:
            self._bell.ring()

    def taken(self, size_bytes: int) -> None:
        """Account for what the taker removed."""
        self._bytes = self._bytes - size_bytes if self.waiting else 0

    def _drop_oldest(self) -> None:
        with self._drop_lock, contextlib.suppress(IndexError):
            while len(self.waiting) > self._limit or self._bytes > self._limit_bytes:
                _, payload = self.waiting.popleft()
                self._bytes -= len(payload)
                self.dropped += 1
