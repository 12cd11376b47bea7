"""Request limits and counts: per UID and endpoint in a rolling second, per IP in five seconds, per order.

Event loop thread only; `now_s` is a monotonic clock's. All that arrives is counted, refused or not (BYBIT_V5.md
section 2).
"""

from collections import Counter
from typing import Any, NamedTuple

from ..limits import Window

UID_WINDOW_S = 1.0
IP_WINDOW_S = 5.0
IP_LIMIT = 600  # requests in it
IP_BAN_S = 600.0
DEFAULT_PER_S = 50
SPOT_TWICE = ("/v5/order/create", "/v5/order/cancel", "/v5/order/cancel-all", "/v5/order/pre-check")
PER_S = {
    **dict.fromkeys(SPOT_TWICE, 10),
    **{f"/v5/order/{op}-batch": 10 for op in ("create", "amend", "cancel")},
    "/v5/order/amend": 10,
    **{f"/v5/position/{op}": 10 for op in ("set-leverage", "add-margin", "set-auto-add-margin", "trading-stop")},
    "/v5/position/switch-mode": 10,
    "/v5/position/set-risk-limit": 10,
    "/v5/account/transaction-log": 25,
    "/v5/account/fee-rate": 5,
    "/v5/account/set-margin-mode": 5,
    "/v5/user/query-api": 10,
}
UNLIMITED = 1_000_000  # what the headers show where a limit is lifted


class Verdict(NamedTuple):
    """`left` requests in this second; `reset_s` from now on there is room again, 0 while there is."""

    limit: int
    left: int
    reset_s: float
    is_refused: bool

    def headers(self, now_ms: int) -> tuple[tuple[str, str], ...]:
        """The limit headers of a private answer."""
        return (
            ("X-Bapi-Limit", str(self.limit)),
            ("X-Bapi-Limit-Status", str(self.left)),
            ("X-Bapi-Limit-Reset-Timestamp", str(now_ms + int(self.reset_s * 1000 + 0.999))),
        )


class Endpoint:
    """One endpoint of one UID."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.arrived, self.accepted = Window(UID_WINDOW_S), Window(UID_WINDOW_S)

    def take(self, now_s: float, cost: int = 1) -> Verdict:
        """Accept or refuse one request that arrived now; a batch costs as many as it holds."""
        self.arrived.add(now_s, cost)
        held = self.accepted.expire(now_s)
        if not self.limit:
            self.accepted.add(now_s, cost)
            return Verdict(UNLIMITED, UNLIMITED, 0.0, False)
        if held + cost > self.limit:
            freed_at = self.accepted.times[min(held, held + cost - self.limit) - 1] if held else now_s
            return Verdict(self.limit, 0, freed_at + UID_WINDOW_S - now_s, True)
        held = self.accepted.add(now_s, cost)
        return Verdict(self.limit, self.limit - held, 0.0, False)

    def report(self) -> dict[str, int]:
        """Report counts and maxima."""
        return {
            "limit": self.limit,
            "max_in_1s": self.arrived.most,
            "max_accepted_in_1s": self.accepted.most,
            "accepted": self.accepted.count,
            "refused": self.arrived.count - self.accepted.count,
        }


class UidLimits:
    """Bybit's table, `every` in its place where given; 0 is no limit."""

    def __init__(self, every: int | None = None) -> None:
        self._every = every
        self._set: dict[str, int] = {}
        self._endpoints: dict[tuple[int, str, str, str], Endpoint] = {}

    def take(self, uid: int, method: str, path: str, category: str, now_s: float, cost: int = 1) -> Verdict:
        """Count one request of a UID; spot, option and futures are counted apart for orders."""
        is_apart = method == "POST" and path.startswith("/v5/order/")
        group = {"linear": "futures", "inverse": "futures"}.get(category, category) if is_apart else ""
        key = (uid, method, path, group)
        if key not in self._endpoints:
            self._endpoints[key] = Endpoint(self._limit(path, category))
        return self._endpoints[key].take(now_s, cost)

    def _limit(self, path: str, category: str) -> int:
        for known in (path, "all"):
            if known in self._set:
                return self._set[known]
        if self._every is not None:
            return self._every
        if category == "spot" and (path in SPOT_TWICE or path.endswith("-batch")):
            return 20
        if category == "option" and path == "/v5/order/cancel-all":
            return 1
        return PER_S.get(path, DEFAULT_PER_S)

    def set(self, limits: dict[str, int]) -> None:
        """Set limits by path; "all" is every other endpoint."""
        self._set.update(limits)
        for (_, _, path, category), endpoint in self._endpoints.items():
            endpoint.limit = self._limit(path, category)

    def forget(self) -> None:
        """Begin to count anew."""
        self._endpoints.clear()

    def report(self) -> dict[str, Any]:
        """Report counts by "uid METHOD path [futures, spot or option]"."""
        return {" ".join(map(str, key)).rstrip(): e.report() for key, e in self._endpoints.items()}


class IpLimit:
    """Too many requests of one IP end in a ban: HTTP 403 for `ban_s`."""

    def __init__(self, per_window: int, ban_s: float) -> None:
        self.per_window, self._ban_s = per_window, ban_s
        self._windows: dict[str, Window] = {}
        self._banned_until_s: dict[str, float] = {}
        self.bans: Counter[str] = Counter()

    def is_banned(self, ip: str, now_s: float) -> bool:
        """Count one request of `ip`; True when it must be answered with 403."""
        window = self._windows.get(ip)
        if window is None:
            window = self._windows[ip] = Window(IP_WINDOW_S)
        banned_until_s = self._banned_until_s.get(ip, 0.0)
        if window.add(now_s) > self.per_window:
            self._banned_until_s[ip] = now_s + self._ban_s
            if now_s >= banned_until_s:
                self.bans[ip] += 1
            return True
        return now_s < banned_until_s

    def left(self, ip: str) -> int:
        """The requests left to an IP before the ban."""
        return max(0, self.per_window - len(self._windows[ip].times)) if ip in self._windows else self.per_window

    def lift(self) -> None:
        """Lift all bans, and drop the requests that could lead to one."""
        self._banned_until_s.clear()
        for window in self._windows.values():
            window.times.clear()

    def report(self) -> dict[str, Any]:
        """Report counts by IP."""
        return {
            ip: {"max_in_5s": window.most, "requests": window.count, "bans": self.bans[ip]}
            for ip, window in self._windows.items()
        }

    def forget(self) -> None:
        """Begin to count anew; bans stay."""
        self._windows.clear()
        self.bans.clear()


class OrderCounts:
    """How often each order was received and how often it was placed, by orderLinkId: none may be placed twice.

    `receive` when a request arrives, `settle` when it was carried out.
    """

    def __init__(self) -> None:
        self._received: Counter[str] = Counter()
        self._placed: Counter[str] = Counter()
        self._attempts = self._placed_total = self._unlinked = 0

    def receive(self, path: str, params: dict[str, Any]) -> None:
        """Count the orders of one request; only order/create and order/create-batch have any."""
        for order in _orders(path, params):
            self._attempts += 1
            link = str(order.get("orderLinkId") or "")
            if link:
                self._received[link] += 1
            else:
                self._unlinked += 1

    def settle(self, path: str, params: dict[str, Any], code: int, result: dict[str, Any]) -> None:
        """Count the orders that a request placed."""
        if code:
            return
        rows = result.get("list", []) if path.endswith("-batch") else [result]
        for order, row in zip(_orders(path, params), rows, strict=False):
            if row.get("orderId"):
                self._placed_total += 1
                self._placed[str(order.get("orderLinkId") or "")] += 1

    def report(self, prefix: str = "") -> dict[str, Any]:
        """Report the counts: `repeated` were received more than once, `placed_twice` placed more than once."""
        received = {link: n for link, n in self._received.items() if link.startswith(prefix)}
        placed = {link: n for link, n in self._placed.items() if link and link.startswith(prefix)}
        return {
            "attempts": self._attempts,
            "placed_total": self._placed_total,
            "unlinked": self._unlinked,
            "repeated": [link for link, n in received.items() if n > 1],
            "placed_twice": [link for link, n in placed.items() if n > 1],
            "received": received,
            "placed": placed,
        }


def _orders(path: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    if path == "/v5/order/create":
        return [params]
    orders = params.get("request") if path == "/v5/order/create-batch" else None
    return [order for order in orders if isinstance(order, dict)] if isinstance(orders, list) else []
