"""Limits of an exchange: of its sockets, which the engine holds, and counters for those of its REST and its requests.

Event loop thread only; `now_s` is a monotonic clock's. All that arrives is counted, refused or not.
"""

from collections import Counter, deque
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """What an exchange bears of a client's sockets; 0 is no limit. A close code of 1006 is no closing handshake.

    Idle: neither read nor (where `data_keep_alive`) written for `idle_s`; a WebSocket ping counts as read where
    `pings_keep_alive`. `messages_per_s`: inbound ones (texts, pings and pongs together) in `messages_window_s`.
    `life_s`: the age at which a connection is ended, announced `notice_s` before. `ping_every_s`: the server's own
    pings; who has not answered within `pong_within_s` is cut. `bare_s`: how long a connection may have no topic.
    `open_most`: connections at a time.
    """

    idle_s: float = 600.0
    idle_code: int = 1000
    pings_keep_alive: bool = True
    data_keep_alive: bool = True
    bare_s: float = 0.0
    bare_code: int = 1000
    open_most: int = 0
    connects: int = 500
    connects_window_s: float = 300.0
    refused_status: int = 403
    ban_s: float = 600.0  # how long handshakes are refused once the limit is broken
    messages_per_s: int = 0
    messages_window_s: float = 1.0
    messages_code: int = 1008
    life_s: float = 0.0
    life_code: int = 1000
    notice_s: float = 0.0
    ping_every_s: float = 0.0
    pong_within_s: float = 60.0
    max_message_bytes: int = 1 << 17


class Window:
    """Times within a rolling window, and the most there ever were."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self.times: deque[float] = deque()
        self.count = self.most = 0

    def expire(self, now_s: float) -> int:
        """Drop times outside the window; returns how many are left."""
        while self.times and self.times[0] <= now_s - self._span_s:
            self.times.popleft()
        return len(self.times)

    def add(self, now_s: float, count: int = 1) -> int:
        """Add a time, `count` times over; returns how many the window holds."""
        held = self.expire(now_s) + count
        self.times.extend([now_s] * count)
        self.count += count
        self.most = max(self.most, held)
        return held


class Use(NamedTuple):
    """The weight used in this window, this request's included; `reset_s` from now on a new window begins."""

    used: int
    limit: int
    reset_s: float

    @property
    def is_over(self) -> bool:
        """Whether the request is above the limit."""
        return self.used > self.limit


class Weights:
    """Weights per fixed window and key (an address, or an address and path), as exchanges with a minute count them."""

    def __init__(self, limit: int, window_s: float) -> None:
        self.limit, self._window_s = limit, window_s
        self._window = -1
        self._used: Counter[str] = Counter()

    def take(self, key: str, weight: int, now_s: float, limit: int | None = None) -> Use:
        """Count one request; `limit` in the place of the usual one."""
        window = int(now_s // self._window_s)
        if window != self._window:
            self._window = window
            self._used.clear()
        self._used[key] += weight
        reset_s = (window + 1) * self._window_s - now_s
        return Use(self._used[key], self.limit if limit is None else limit, reset_s)
