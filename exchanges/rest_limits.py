"""How often this process may send requests to an exchange: a limit and a breaker per address, and budgets.

One SiteLimits per exchange and process, shared by all that ask it: an exchange counts requests per address over all its
hosts, and bans the address. Any thread may call; nothing here blocks.
"""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from urllib.parse import urlsplit

import structlog

from exchanges.buckets import WINDOW_S, Bucket
from model.problems import Problem
from network.addresses import is_address

RATE_PER_S = 50.0  # Bybit allows 600 per 5 s and address (docs: rate-limit); the rest is for what runs beside us
BURST = 100  # with a whole burst and 5 s of the rate, 350 of the 600 are used
BAN_S = 600.0  # "wait 10 minutes" after HTTP 403 (Bybit's docs: rate-limit), where the answer has no other time
EPSILON = 1e-6  # of a token: a rounding error must not become a wait too short for the clock to pass

log = structlog.get_logger()


class BreakerOpenError(Exception):
    """No request may be sent now: the exchange has banned this address, for `problem` where that is known."""

    def __init__(self, text: str, problem: Problem | None = None) -> None:
        super().__init__(text)
        self.problem = problem


class RestLimiter:
    """The limit of one address: `rate_per_s` requests a second after a burst of `burst`, and a breaker. Thread safe."""

    def __init__(
        self,
        rate_per_s: float = RATE_PER_S,
        burst: int = BURST,
        *,
        ban_s: float = BAN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate_per_s, self._burst, self._ban_s = rate_per_s, burst, ban_s
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens, self._filled_s = float(burst), clock()
        self._banned_until_s, self._reason = clock(), ""
        self._problem: Problem | None = None
        self.bans = 0
        self.pauses = 0

    @property
    def banned_s(self) -> float:
        """Seconds for which the breaker stays open; 0 when it is closed."""
        return max(0.0, self._banned_until_s - self._clock())

    def try_acquire(self) -> float:
        """Take a token and return 0, or take none and return the seconds to wait; raises BreakerOpenError."""
        with self._lock:
            now_s = self._clock()
            if self._banned_until_s > now_s:
                left_s = self._banned_until_s - now_s
                text = f"the breaker is open for {left_s:.0f} s more after a ban{self._reason}"
                raise BreakerOpenError(text, self._problem and replace(self._problem, pause_s=left_s))
            self._fill(now_s)
            if self._tokens < 1 - EPSILON:
                return (1 - self._tokens) / self._rate_per_s
            self._tokens -= 1
            return 0.0

    def pause(self, seconds: float) -> None:
        """Let every request wait for `seconds`; after it they leave one by one at the rate, so that none storms."""
        with self._lock:
            self._fill(self._clock())
            self._tokens = min(self._tokens, 1 - seconds * self._rate_per_s)  # in debt until then
            self.pauses += 1
        log.debug("rest_paused", pause_s=round(seconds, 1))

    def ban(self, seconds: float | None = None, reason: str = "", problem: Problem | None = None) -> float:
        """Open the breaker for `seconds` at least (None: `ban_s`): the exchange has answered that it bans this address.

        Those whose requests are not sent get `reason` and `problem`; without the latter a line is logged here. Returns
        the seconds.
        """
        pause_s = self._ban_s if seconds is None else seconds
        with self._lock:
            self._banned_until_s = max(self._banned_until_s, self._clock() + pause_s)
            self._reason, self._problem = f": {reason}" if reason else "", problem
            self.bans += 1
        if problem is None:
            log.warning("rest_breaker_open", pause_s=pause_s, **({"reason": reason} if reason else {}))
        return pause_s

    def _fill(self, now_s: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now_s - self._filled_s) * self._rate_per_s)
        self._filled_s = now_s


class SiteLimits:
    """All limits of one exchange as this process sees it: its `address`, and a bucket per key. Thread safe."""

    def __init__(self, address: RestLimiter | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.address = address or RestLimiter(clock=clock)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[Hashable, Bucket] = {}

    def bucket_of(self, key: Hashable, limit: int, window_s: float = WINDOW_S) -> Bucket:
        """The bucket with this key, made with `limit` per `window_s` where it is the first time."""
        with self._lock:
            if key not in self._buckets:
                self._buckets[key] = Bucket(limit, window_s, self._clock)
            return self._buckets[key]


_sites: dict[str, SiteLimits] = {}
_sites_lock = threading.Lock()


def limits_of_site(url: str) -> SiteLimits:
    """The process's limits for the exchange at `url`: one per domain, for hosts of one exchange count together."""
    name = site_of(url)
    with _sites_lock:
        return _sites.setdefault(name, SiteLimits())


def site_of(url: str) -> str:
    """What hosts of one exchange have in common: binance.com; host and port where there is no domain."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    labels = host.rstrip(".").split(".")
    return parts.netloc.rpartition("@")[2] if is_address(host) or len(labels) < 2 else ".".join(labels[-2:])
