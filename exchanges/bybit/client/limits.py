"""How often this process may send requests: Bybit's limit per address, its table per UID and endpoint, its headers.

One HostLimits per exchange and process, shared by the collector and all clients, sync and async: Bybit counts requests
per address over all its hosts and bans the address for ten minutes. Any thread may call; nothing here blocks.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import structlog

from exchanges.buckets import Bucket, Ticket
from exchanges.bybit.client.connection import ConnectionManager
from exchanges.bybit.client.pybit_http import Call

RATE_PER_S = 50.0  # Bybit allows 600 per 5 s and address (docs: rate-limit); the rest is for what runs beside us
BURST = 100  # with a whole burst and 5 s of the rate, 350 of the 600 are used
BAN_S = 600.0  # "wait 10 minutes" after HTTP 403 (docs: rate-limit)
EPSILON = 1e-6  # of a token: a rounding error must not become a wait too short for the clock to pass

LIMIT_HEADER, LEFT_HEADER, RESET_HEADER = "X-Bapi-Limit", "X-Bapi-Limit-Status", "X-Bapi-Limit-Reset-Timestamp"
UNKNOWN_LIMIT = 5  # per second, for an endpoint that is not in the table, until its first answer has the limit
REFUSED_WAIT_S = 1.0  # after 10006 without a reset time that lies ahead
REFUSED_WAIT_MOST_S = 10.0  # a reset time further away than this is somebody's wrong clock
ADDRESS_WAIT_MOST_S = 30.0  # the same where the limit per address refused
MOST_DIGITS = 15  # of a time in ms: more is none, and may be more than Python's int takes

ORDER = MappingProxyType({"spot": 20, "": 10})
_TABLE: Sequence[tuple[int | Mapping[str, int], str]] = (
    (ORDER, "order/create order/cancel order/pre-check order/create-batch order/amend-batch order/cancel-batch"),
    (MappingProxyType({"spot": 20, "option": 1, "": 10}), "order/cancel-all"),
    (50, "order/realtime order/history execution/list position/list position/closed-pnl"),
    (50, "account/wallet-balance account/info account/collateral-info"),
    (25, "account/transaction-log"),
    (10, "order/amend position/set-leverage position/add-margin position/set-auto-add-margin position/trading-stop"),
    (10, "position/switch-mode account/instruments-info user/query-api"),
    (5, "account/fee-rate account/set-margin-mode"),
)
PER_UID = MappingProxyType({f"/v5/{path}": limit for limit, paths in _TABLE for path in paths.split()})
"""docs: rate-limit, requests per second; "" for the categories that are not named."""

FUTURES = ("linear", "inverse")  # one column of the docs' table: counted together

GROUPS: Mapping[str, int] = MappingProxyType({"market": 50, "account": 50, "order": 10, "position": 10})
"""Calls per second of methods marked @rate_limited(group)."""

log = structlog.get_logger()


class BreakerOpenError(Exception):
    """No request may be sent now: the exchange has banned this address."""


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
        self._banned_until_s = clock()
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
                text = f"the breaker is open for {self._banned_until_s - now_s:.0f} s more after a ban"
                raise BreakerOpenError(text)
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
        log.info("rest_paused", pause_s=round(seconds, 1))

    def ban(self) -> None:
        """Open the breaker: the exchange has answered that this address is banned."""
        with self._lock:
            self._banned_until_s = self._clock() + self._ban_s
            self.bans += 1
        log.warning("rest_breaker_open", pause_s=self._ban_s)

    def _fill(self, now_s: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now_s - self._filled_s) * self._rate_per_s)
        self._filled_s = now_s


class HostLimits:
    """All limits of one exchange as this process sees it. Thread safe."""

    def __init__(self, address: RestLimiter | None = None) -> None:
        self.address = address or RestLimiter()
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, str, str], Bucket] = {}
        self._uids: dict[str, str] = {}

    def bucket(self, call: Call, api_key: str) -> Bucket | None:
        """The bucket of a signed call; None where Bybit has only the limit per address."""
        if not call.is_signed:
            return None
        category = str(call.params.get("category", ""))
        group = "futures" if category in FUTURES else category
        return self._bucket(self._uids.get(api_key, api_key), call.endpoint, group, limit_of(call.path, category))

    def group(self, name: str, api_key: str) -> Bucket:
        """The bucket of a group of user-written methods; KeyError names the groups there are."""
        if name not in GROUPS:
            raise KeyError(f"no such rate limit group: {name!r}, there are {sorted(GROUPS)}")
        return self._bucket(self._uids.get(api_key, api_key), "group", name, GROUPS[name])

    def assign_uid(self, api_key: str, uid: str) -> None:
        """Record whose key it is: keys of one UID share its limits."""
        with self._lock:
            self._uids[api_key] = f"uid {uid}"

    def _bucket(self, who: str, endpoint: str, category: str, limit: int) -> Bucket:
        key = (who, endpoint, category)
        with self._lock:
            return self._buckets.setdefault(key, Bucket(limit))


@dataclass(frozen=True, slots=True)
class Permit:
    """The tokens of one request, to be settled when its answer has come."""

    bucket: Bucket
    ticket: Ticket

    def settle(self, sent_s: float, back_s: float) -> None:
        """Record when the request left and when its answer came, or was given up."""
        self.bucket.answered(self.ticket, sent_s, back_s)

    def read_headers(self, headers: Mapping[str, str]) -> None:
        """Apply the X-Bapi-Limit headers of a good answer; those of refusals may be about anything."""
        limit, left = headers.get(LIMIT_HEADER, ""), headers.get(LEFT_HEADER, "")
        if limit.isdecimal() and left.isdecimal():
            self.bucket.adjust(int(limit), int(left))


def limit_of(path: str, category: str) -> int:
    """Requests per second and UID by Bybit's table."""
    found = PER_UID.get(path, UNKNOWN_LIMIT)
    return found if isinstance(found, int) else found.get(category, found[""])


def cost_of(call: Call) -> int:
    """Tokens of one call: a batch counts once per order in it (docs: rate-limit)."""
    batch = call.params.get("request")
    return max(1, len(batch)) if call.path.endswith("-batch") and isinstance(batch, list) else 1


def reset_ms_of(headers: Mapping[str, str]) -> int:
    """The time (exchange time, ms) until which a refused answer asks to wait; 0 where it has none."""
    text = headers.get(RESET_HEADER, "")
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else 0


def reset_wait_s(reset_ms: int, now_ms: int, most_s: float = REFUSED_WAIT_MOST_S) -> float:
    """Seconds to wait after a refusal whose header has `reset_ms`."""
    left_s = (reset_ms - now_ms) / 1000
    return min(left_s, most_s) if left_s > 0 else REFUSED_WAIT_S


_of_bybit = RestLimiter()  # for all of Bybit's hosts: it counts an address over all of them
_hosts: dict[str, HostLimits] = {}
_hosts_lock = threading.Lock()


def limits_of(connection: ConnectionManager) -> HostLimits:
    """The process's limits for an exchange: one limit per address over all of Bybit's hosts, one for any other host."""
    name = connection.name
    with _hosts_lock:
        if name not in _hosts:
            _hosts[name] = HostLimits(_of_bybit if connection.is_bybit else RestLimiter())
        return _hosts[name]
