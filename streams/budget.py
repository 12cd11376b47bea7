"""Budgets of connects: how often per host, with a breaker, and how many descriptors the streams may hold.

An exchange that counts connects bans the whole address, so that one stream in a loop would silence all others; files,
REST and outputs need descriptors, too. Any thread may call; it waits on its own stop event.
"""

import errno
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from model.pacing import LogThrottle

log = structlog.get_logger()

CONNECTS = 450  # where no venue says what its exchange allows
WINDOW_S = 300.0
MAX_WAIT_SLICE_S = 1.0  # a waiter tries again at least this often: the breaker may open while it waits
LOGGED_WAIT_S = 2.0  # shorter waits are those of any start with many streams
DESCRIPTOR_WAIT_S = 1.0  # how often a stream that waits for a descriptor tries again


@dataclass
class _Host:
    connects: deque[float] = field(default_factory=deque)
    blocked_until_s: float = 0.0


class ConnectBudget:
    """At most `connects` connects per `window_s` seconds and host. Thread safe."""

    def __init__(
        self,
        connects: int = CONNECTS,
        window_s: float = WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = connects
        self._window_s = window_s
        self._clock = clock
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}
        self._throttle = LogThrottle()

    def try_acquire(self, host: str) -> float:
        """Take one connect and return 0, or take none and return the seconds until the next try makes sense."""
        with self._lock:
            entry, now_s = self._hosts.setdefault(host, _Host()), self._clock()
            if entry.blocked_until_s > now_s:
                return entry.blocked_until_s - now_s
            while entry.connects and entry.connects[0] + self._window_s <= now_s:
                entry.connects.popleft()
            if len(entry.connects) >= self._limit:
                return entry.connects[0] + self._window_s - now_s
            entry.connects.append(now_s)
            return 0.0

    def acquire(self, host: str, stop: threading.Event) -> bool:
        """Block until one connect to `host` is allowed; False when `stop` was set first."""
        wait_s = self.try_acquire(host)
        if wait_s <= 0:
            return not stop.is_set()
        self._log_wait(host, wait_s)
        while wait_s > 0 and not stop.wait(min(wait_s, MAX_WAIT_SLICE_S)):
            wait_s = self.try_acquire(host)
        return wait_s <= 0

    def trip(self, host: str, seconds: float) -> None:
        """Allow no connect to `host` for `seconds`: it has refused this address."""
        with self._lock:
            entry = self._hosts.setdefault(host, _Host())
            entry.blocked_until_s = max(entry.blocked_until_s, self._clock() + seconds)

    def _log_wait(self, host: str, wait_s: float) -> None:
        """Log that a connect waits long, once in a while for all; after a refusal the outage is logged instead."""
        with self._lock:
            now_s = self._clock()
            is_its_limit = wait_s >= LOGGED_WAIT_S and self._hosts[host].blocked_until_s <= now_s
            is_due = is_its_limit and self._throttle.allow(host, now_s) is not None
        if is_due:
            sentence = f"The next connect to {host} waits for {wait_s:.0f} s: the exchange allows no more at a time."
            log.info("connect_waits_for_budget", sentence=sentence, host=host, wait_s=round(wait_s, 1))


def lowest_free() -> int:
    """The number of the next file or socket; so many are open at least."""
    try:
        number = os.dup(0)
    except OSError as error:
        return 0 if error.errno == errno.EBADF else sys.maxsize  # stdin is closed: 0 is the next
    os.close(number)
    return number


class DescriptorBudget:
    """Allows a connect where the number of its socket will be below `bound()`. Thread safe."""

    def __init__(
        self,
        bound: Callable[[], int],
        lowest_free: Callable[[], int] = lowest_free,
        *,
        wait_s: float = DESCRIPTOR_WAIT_S,
    ) -> None:
        self._bound, self._lowest_free, self._wait_s = bound, lowest_free, wait_s
        self._lock = threading.Lock()
        self._connecting = 0  # may have no socket yet
        self._throttle = LogThrottle()  # one line for all that wait

    def acquire(self, stop: threading.Event) -> bool:
        """Block until there is a descriptor to spare; False when `stop` was set first. `release` after the connect."""
        while not self._try():
            with self._lock:
                is_due = self._throttle.allow("waits", time.monotonic()) is not None
            if is_due:
                remedy = "allow more open files: ulimit -n, LimitNOFILE=, minfds="
                log.warning("connect_waits_for_descriptor", remedy=remedy)
            if stop.wait(self._wait_s):
                return False
        return True

    def release(self) -> None:
        """Release what `acquire` took: the socket is open, or failed."""
        with self._lock:
            self._connecting -= 1

    def _try(self) -> bool:
        with self._lock:
            has_room = self._lowest_free() + self._connecting < self._bound()
            self._connecting += has_room
        return has_room
