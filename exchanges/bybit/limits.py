"""How often this process may ask Bybit's REST: a token bucket, a pause and a breaker, shared by everybody.

Bybit counts requests per address over all its hosts and bans the address for ten minutes, so that one greedy asker
would silence all others. Any thread may call; waiting is done on the caller's stop event. Knows no endpoint.
"""

import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()

RATE_PER_S = 50.0  # Bybit allows 600 per 5 s and address (docs: rate-limit); the rest is for what runs beside us
BURST = 100  # with a whole burst and 5 s of the rate, 350 of the 600 are used
BAN_S = 600.0  # "wait 10 minutes" after HTTP 403 (docs: rate-limit)
WAIT_LIMIT_S = 60.0  # whoever waits longer for a turn is told so instead
EPSILON = 1e-6  # of a token: a rounding error must not become a wait too short for the clock to pass
SLICE_S = 0.5  # a waiter looks again at least this often: the breaker may open while it waits


class NoTurnError(Exception):
    """No request may be made now: the breaker is open, the wait is too long, or the caller was stopped."""


class RestLimiter:
    """At most `rate_per_s` requests a second after a burst of `burst`. Thread safe."""

    def __init__(
        self,
        rate_per_s: float = RATE_PER_S,
        burst: int = BURST,
        *,
        ban_s: float = BAN_S,
        wait_limit_s: float = WAIT_LIMIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate_per_s, self._burst = rate_per_s, burst
        self._ban_s, self._wait_limit_s = ban_s, wait_limit_s
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens, self._filled_s = float(burst), clock()
        self._banned_until_s = clock()
        self.bans = 0
        self.pauses = 0

    @property
    def banned_s(self) -> float:
        """Seconds for which the breaker stays open; 0 when it is closed."""
        return max(0.0, self._banned_until_s - self._clock())

    def acquire(self, stop: threading.Event) -> None:
        """Block until one request is allowed; raises NoTurnError: at once while banned or when `stop` is set."""
        deadline_s = self._clock() + self._wait_limit_s
        while (wait_s := self.try_acquire()) > 0:
            left_s = deadline_s - self._clock()
            if left_s <= 0:
                raise NoTurnError(f"no turn within {self._wait_limit_s:g} s: too many requests wait")
            if stop.wait(min(wait_s, left_s, SLICE_S)):
                break
        if stop.is_set():
            raise NoTurnError("stopped")

    def try_acquire(self) -> float:
        """Take a turn and return 0, or take none and return the seconds until it is worth asking again."""
        with self._lock:
            now_s = self._clock()
            if self._banned_until_s > now_s:
                raise NoTurnError(f"the breaker is open for {self._banned_until_s - now_s:.0f} s more after a ban")
            self._fill(now_s)
            if self._tokens < 1 - EPSILON:
                return (1 - self._tokens) / self._rate_per_s
            self._tokens -= 1
            return 0.0

    def pause(self, seconds: float) -> None:
        """Let everybody wait for `seconds`; after it they go one by one at the rate, so that nobody storms."""
        with self._lock:
            self._fill(self._clock())
            self._tokens = min(self._tokens, 1 - seconds * self._rate_per_s)  # in debt until then
            self.pauses += 1
        log.info("rest_paused", pause_s=round(seconds, 1))

    def ban(self) -> None:
        """Open the breaker: the exchange has answered that this address must be quiet."""
        with self._lock:
            self._banned_until_s = self._clock() + self._ban_s
            self.bans += 1
        log.warning("rest_breaker_open", pause_s=self._ban_s)

    def _fill(self, now_s: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now_s - self._filled_s) * self._rate_per_s)
        self._filled_s = now_s


SHARED = RestLimiter()
"""The process's own: Bybit counts per address, whatever market is asked."""
