"""How often each order was asked for and how often it was placed: what proves that nothing was sent or placed twice.

Event loop thread only. Counts what arrived, whatever became of it afterwards.
"""

from collections import Counter
from typing import Any


class Tally:
    """By orderLinkId. `receive` when a request arrives, `settle` when it was carried out."""

    def __init__(self) -> None:
        self._received: Counter[str] = Counter()
        self._placed: Counter[str] = Counter()
        self._attempts = self._placed_total = self._unlinked = 0

    def receive(self, path: str, params: dict[str, Any]) -> None:
        """One request; others than order/create and order/create-batch do not count."""
        for order in _orders(path, params):
            self._attempts += 1
            link = str(order.get("orderLinkId") or "")
            if link:
                self._received[link] += 1
            else:
                self._unlinked += 1

    def settle(self, path: str, params: dict[str, Any], code: int, result: dict[str, Any]) -> None:
        """What came of it."""
        if code:
            return
        rows = result.get("list", []) if path.endswith("-batch") else [result]
        for order, row in zip(_orders(path, params), rows, strict=False):
            if row.get("orderId"):
                self._placed_total += 1
                self._placed[str(order.get("orderLinkId") or "")] += 1

    def report(self, prefix: str = "") -> dict[str, Any]:
        """`repeated` were received more than once, `placed_twice` placed more than once."""
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
