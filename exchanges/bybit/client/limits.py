"""How often this process may send requests: Bybit's limit per address, its table per UID and endpoint, its headers.

One HostLimits per exchange and process, shared by the collector and all clients, sync and async: Bybit counts requests
per address over all its hosts and bans the address for ten minutes. Any thread may call; nothing here blocks.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from exchanges.buckets import Bucket, Ticket
from exchanges.bybit.client.calls import Call
from exchanges.bybit.client.connection import ConnectionManager
from exchanges.rest_limits import RestLimiter, SiteLimits

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


class HostLimits(SiteLimits):
    """All limits of Bybit, or of another host that speaks its protocol, as this process sees it. Thread safe."""

    def __init__(self, address: RestLimiter | None = None) -> None:
        super().__init__(address)
        self._uids: dict[str, str] = {}

    def bucket(self, call: Call, api_key: str) -> Bucket | None:
        """The bucket of a signed call; None where Bybit has only the limit per address."""
        if not call.is_signed:
            return None
        category = str(call.params.get("category", ""))
        group = "futures" if category in FUTURES else category
        who = self._uids.get(api_key, api_key)
        return self.bucket_of((who, call.endpoint, group), limit_of(call.path, category))

    def group(self, name: str, api_key: str) -> Bucket:
        """The bucket of a group of user-written methods; KeyError names the groups there are."""
        if name not in GROUPS:
            raise KeyError(f"no such rate limit group: {name!r}, there are {sorted(GROUPS)}")
        return self.bucket_of((self._uids.get(api_key, api_key), "group", name), GROUPS[name])

    def assign_uid(self, api_key: str, uid: str) -> None:
        """Record whose key it is: keys of one UID share its limits."""
        with self._lock:
            self._uids[api_key] = f"uid {uid}"


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
