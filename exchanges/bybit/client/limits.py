"""Who may ask what how often: Bybit's table per UID and endpoint, its limit per address, and what its answers say.

One HostLimits per exchange and process, shared by all clients, sync and async, so that they do not outdo each other.
The limit per address is exchanges/bybit/limits.py, shared with the collector.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from exchanges.bybit.client.buckets import Bucket, Ticket
from exchanges.bybit.client.connection import ConnectionManager
from exchanges.bybit.client.pybit_http import Call
from exchanges.bybit.limits import SHARED, RestLimiter

LIMIT_HEADER, LEFT_HEADER, RESET_HEADER = "X-Bapi-Limit", "X-Bapi-Limit-Status", "X-Bapi-Limit-Reset-Timestamp"
UNKNOWN_LIMIT = 5  # per second, for an endpoint that is not in the table, until its first answer says better
REFUSED_WAIT_S = 1.0  # after 10006 without a reset time that lies ahead
REFUSED_WAIT_MOST_S = 10.0  # a reset time further away than this is somebody's wrong clock

ORDER = MappingProxyType({"spot": 20, "": 10})
PER_UID: Mapping[str, int | Mapping[str, int]] = MappingProxyType(
    {  # docs: rate-limit, requests per second; "" for the categories that are not named
        "/v5/order/create": ORDER,
        "/v5/order/cancel": ORDER,
        "/v5/order/pre-check": ORDER,
        "/v5/order/cancel-all": {"spot": 20, "option": 1, "": 10},
        "/v5/order/amend": 10,
        "/v5/order/create-batch": ORDER,
        "/v5/order/amend-batch": ORDER,
        "/v5/order/cancel-batch": ORDER,
        "/v5/order/realtime": 50,
        "/v5/order/history": 50,
        "/v5/execution/list": 50,
        "/v5/position/list": 50,
        "/v5/position/closed-pnl": 50,
        "/v5/position/set-leverage": 10,
        "/v5/position/add-margin": 10,
        "/v5/position/set-auto-add-margin": 10,
        "/v5/position/trading-stop": 10,
        "/v5/position/switch-mode": 10,
        "/v5/account/wallet-balance": 50,
        "/v5/account/info": 50,
        "/v5/account/collateral-info": 50,
        "/v5/account/transaction-log": 25,
        "/v5/account/fee-rate": 5,
        "/v5/account/instruments-info": 10,
        "/v5/account/set-margin-mode": 5,
        "/v5/user/query-api": 10,
    }
)

FUTURES = ("linear", "inverse")  # one column of the docs' table: counted together

GROUPS: Mapping[str, int] = MappingProxyType({"market": 50, "account": 50, "order": 10, "position": 10})
"""Calls per second of methods marked @rate_limited(group)."""


class HostLimits:
    """All limits of one exchange as this process sees it. Thread safe."""

    def __init__(self, address: RestLimiter) -> None:
        self.address = address
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

    def belongs(self, api_key: str, uid: str) -> None:
        """Learn whose key it is: keys of one UID share its limits."""
        with self._lock:
            self._uids[api_key] = f"uid {uid}"

    def _bucket(self, who: str, endpoint: str, category: str, limit: int) -> Bucket:
        key = (who, endpoint, category)
        with self._lock:
            return self._buckets.setdefault(key, Bucket(limit))


@dataclass(frozen=True, slots=True)
class Turn:
    """A request's tokens, to be settled when its answer is there."""

    bucket: Bucket
    ticket: Ticket

    def arrived(self, sent_s: float, back_s: float) -> None:
        """Take the times of its answer, or of giving up."""
        self.bucket.answered(self.ticket, sent_s, back_s)

    def told(self, headers: Mapping[str, str]) -> None:
        """Take the X-Bapi-Limit headers of a good answer; those of refusals may be about anything."""
        limit, left = headers.get(LIMIT_HEADER, ""), headers.get(LEFT_HEADER, "")
        if limit.isdecimal() and left.isdecimal():
            self.bucket.told(int(limit), int(left))


def limit_of(path: str, category: str) -> int:
    """Requests per second and UID by Bybit's table."""
    found = PER_UID.get(path, UNKNOWN_LIMIT)
    return found if isinstance(found, int) else found.get(category, found[""])


def cost_of(call: Call) -> int:
    """Tokens of one call: a batch counts once per order in it (docs: rate-limit)."""
    batch = call.params.get("request")
    return max(1, len(batch)) if call.path.endswith("-batch") and isinstance(batch, list) else 1


def reset_wait_s(reset_ms: int, now_ms: int) -> float:
    """How long to wait after a refusal whose header says `reset_ms`."""
    left_s = (reset_ms - now_ms) / 1000
    return min(left_s, REFUSED_WAIT_MOST_S) if left_s > 0 else REFUSED_WAIT_S


_hosts: dict[str, HostLimits] = {}
_hosts_lock = threading.Lock()


def limits_of(connection: ConnectionManager) -> HostLimits:
    """The process's limits for an address: Bybit counts over all its hosts, anybody else for himself."""
    name = connection.name
    with _hosts_lock:
        if name not in _hosts:
            _hosts[name] = HostLimits(SHARED if connection.is_bybit else RestLimiter())
        return _hosts[name]
