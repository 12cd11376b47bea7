"""How often this process may connect to a host: one budget for all streams, and a breaker.

An exchange that counts connects bans the whole address, so that one storming stream would silence all others. Any
thread may call; waiting is done on the caller's stop event.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger()

CONNECTS = 450  # Bybit allows 500 per 5 minutes and address (docs: ws/connect); the rest is for what runs beside us
WINDOW_S = 300.0
MAX_WAIT_SLICE_S = 1.0  # a waiter looks again at least this often: the breaker may open while it waits


@dataclass
class _Host:
    connects: deque[float] = field(default_factory=deque)
    blocked_until_s: float = 0.0
    waiting: int = 0


@dataclass(frozen=True)
class HostState:
    """One host's budget for a log line: connects used, seconds the breaker stays open, threads waiting."""

    used: int
    limit: int
    blocked_s: float
    waiting: int


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

    def try_acquire(self, host: str) -> float:
        """Take one connect and return 0, or take none and return the seconds until it is worth asking again."""
        with self._lock:
            return self._try(self._hosts.setdefault(host, _Host()), self._clock())

    def acquire(self, host: str, stop: threading.Event) -> bool:
        """Block until one connect to `host` is allowed; False when `stop` was set first."""
        wait_s = self.try_acquire(host)
        if wait_s <= 0:
            return not stop.is_set()
        log.info("connect_waits_for_budget", host=host, wait_s=round(wait_s, 1))
        self._count_waiting(host, 1)
        try:
            while wait_s > 0 and not stop.wait(min(wait_s, MAX_WAIT_SLICE_S)):
                wait_s = self.try_acquire(host)
            return wait_s <= 0
        finally:
            self._count_waiting(host, -1)

    def trip(self, host: str, seconds: float) -> None:
        """Let nobody connect to `host` for `seconds`: it has answered that it wants to be left alone."""
        with self._lock:
            entry = self._hosts.setdefault(host, _Host())
            entry.blocked_until_s = max(entry.blocked_until_s, self._clock() + seconds)
        log.warning("connect_breaker_open", host=host, pause_s=seconds)

    def state(self) -> dict[str, HostState]:
        """The budget of every host seen so far."""
        with self._lock:
            now_s = self._clock()
            return {name: self._host_state(host, now_s) for name, host in self._hosts.items()}

    def _try(self, host: _Host, now_s: float) -> float:
        if host.blocked_until_s > now_s:
            return host.blocked_until_s - now_s
        self._forget_old(host, now_s)
        if len(host.connects) >= self._limit:
            return host.connects[0] + self._window_s - now_s
        host.connects.append(now_s)
        return 0.0

    def _forget_old(self, host: _Host, now_s: float) -> None:
        while host.connects and host.connects[0] + self._window_s <= now_s:
            host.connects.popleft()

    def _host_state(self, host: _Host, now_s: float) -> HostState:
        self._forget_old(host, now_s)
        return HostState(len(host.connects), self._limit, max(0.0, host.blocked_until_s - now_s), host.waiting)

    def _count_waiting(self, host: str, change: int) -> None:
        with self._lock:
            self._hosts[host].waiting += change
