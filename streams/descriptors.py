"""How many descriptors the streams may take: the rest is for files, REST and outputs, which must work all the while.

Any thread; waiting is done on the caller's stop event.
"""

import errno
import os
import sys
import threading
import time
from collections.abc import Callable

import structlog

WAIT_S = 1.0  # how often a stream that waits looks again
LOG_EVERY_S = 60.0  # of all that wait, one line

log = structlog.get_logger()


def lowest_free() -> int:
    """Return the number that the next file or socket gets; so many are open at least."""
    try:
        number = os.dup(0)
    except OSError as error:
        return 0 if error.errno == errno.EBADF else sys.maxsize  # somebody closed stdin: 0 is the next
    os.close(number)
    return number


class DescriptorBudget:
    """Lets a connect begin where its socket's number will be below `bound()`."""

    def __init__(self, bound: Callable[[], int], lowest_free: Callable[[], int] = lowest_free) -> None:
        self._bound, self._lowest_free = bound, lowest_free
        self._lock = threading.Lock()
        self._connecting = 0  # may have no socket yet
        self._log_due_s = 0.0  # monotonic

    def acquire(self, stop: threading.Event) -> bool:
        """Block until there is a descriptor to spare; False when `stop` was set first. `release` after the connect."""
        while not self._try():
            self._log_wait()
            if stop.wait(WAIT_S):
                return False
        return True

    def release(self) -> None:
        """The socket is open, or will not be."""
        with self._lock:
            self._connecting -= 1

    def _try(self) -> bool:
        with self._lock:
            has_room = self._lowest_free() + self._connecting < self._bound()
            self._connecting += has_room
        return has_room

    def _log_wait(self) -> None:
        now_s = time.monotonic()
        with self._lock:
            is_due = now_s >= self._log_due_s
            self._log_due_s = now_s + LOG_EVERY_S if is_due else self._log_due_s
        if is_due:
            log.warning(
                "connect_waits_for_descriptor", remedy="allow more open files: ulimit -n, LimitNOFILE=, minfds="
            )
