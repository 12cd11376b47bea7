"""Reads of an account: orders, executions, wallet, log, keys (BYBIT_V5.md section 8).

Event loop thread only. Changes nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from . import order_rows
from .accounts import FEES, FEES_OTHERS, Account, Execution, Order
from .matching import Matching
from .orders import CATEGORIES, OrderDesk
from .pages import DAY_MS, page, window
from .rules import OrderError

Query = dict[str, Any]
FIRST_MS = "1697078946000"  # the time of the last change of an account


class PrivateLists:
    """GET endpoints; each takes the account and the query."""

    def __init__(self, desk: OrderDesk, matching: Matching, now_ms: Callable[[], int]) -> None:
        self._desk, self._matching, self._now_ms = desk, matching, now_ms
        self.routes: dict[str, Callable[[Account, Query], dict[str, Any]]] = {
            "/v5/order/realtime": self._realtime,
            "/v5/order/history": self._history,
            "/v5/execution/list": self._executions,
            "/v5/position/closed-pnl": self._closed_pnl,
            "/v5/account/wallet-balance": self._wallet,
            "/v5/account/transaction-log": self._log,
            "/v5/account/info": self._info,
            "/v5/account/fee-rate": self._fee_rate,
            "/v5/account/collateral-info": self._collateral,
        }

    def _matches(self, order: Order, category: str, query: Query) -> bool:
        """Whether an order matches: by orderId, else by orderLinkId, else by the other filters."""
        if query.get("orderId"):
            return order.category == category and order.order_id == str(query["orderId"])
        if query.get("orderLinkId"):
            return order.category == category and order.link_id == str(query["orderLinkId"])
        return self._desk.is_within(order, category, query)

    def _realtime(self, account: Account, query: Query) -> dict[str, Any]:
        """List open orders; with openOnly=1 the newest 500 closed ones."""
        category = category_of(query)
        if category == "linear" and not any(query.get(name) for name in ("symbol", "baseCoin", "settleCoin")):
            raise OrderError(10001, "Missing some parameters that must be filled in, symbol or settleCoin or baseCoin")
        if str(query.get("openOnly") or "0") == "1":
            closed = [order for order in account.orders if not order.is_open and order.category == category]
            orders = [order for order in closed[-500:] if self._matches(order, category, query)]
        else:
            orders = [order for order in account.open_orders.values() if self._matches(order, category, query)]
            orders.sort(key=lambda order: order.number)
        return self._order_page(category, orders, query)

    def _history(self, account: Account, query: Query) -> dict[str, Any]:
        category = category_of(query)
        start, end = window(query, self._now_ms())
        status = query.get("orderStatus")
        orders = [
            order
            for order in account.orders
            if not order.is_open and start <= order.created_ms <= end and status in (None, "", order.status)
        ]
        return self._order_page(category, [o for o in orders if self._matches(o, category, query)], query)

    def _order_page(self, category: str, orders: list[Order], query: Query) -> dict[str, Any]:
        shown, cursor = page([(order.number, order) for order in orders], query, 20, 50)
        rows = [order_rows.order_row(order) for order in shown]
        return {"list": rows, "nextPageCursor": cursor, "category": category}

    def _executions(self, account: Account, query: Query) -> dict[str, Any]:
        def is_wanted(e: Execution, category: str) -> bool:
            return self._matches(e.order, category, query) and query.get("execType") in (None, "", "Trade")

        return self._execution_page(account, query, is_wanted, order_rows.execution_row)

    def _closed_pnl(self, account: Account, query: Query) -> dict[str, Any]:
        def is_wanted(e: Execution, category: str) -> bool:
            return bool(e.closed_size) and self._desk.is_within(e.order, category, query)

        return self._execution_page(account, query, is_wanted, partial(order_rows.closed_pnl_row, account))

    def _execution_page(
        self, account: Account, query: Query, is_wanted: Callable[[Execution, str], bool],
        row: Callable[[Execution], dict[str, Any]],
    ) -> dict[str, Any]:  # fmt: skip
        category = category_of(query)
        start, end = window(query, self._now_ms())
        found = [(e.number, e) for e in account.executions if start <= e.time_ms <= end and is_wanted(e, category)]
        shown, cursor = page(found, query, 50, 100)
        return {"nextPageCursor": cursor, "category": category, "list": [*map(row, shown)]}

    def _wallet(self, account: Account, query: Query) -> dict[str, Any]:
        if query.get("accountType") != "UNIFIED":
            raise OrderError(10001, "accountType only support UNIFIED.")
        coins = tuple(str(query.get("coin") or "").split(",")) if query.get("coin") else ()
        return {"list": [order_rows.wallet_row(account, self._matching.price_of, self._matching.settles, coins)]}

    def _log(self, account: Account, query: Query) -> dict[str, Any]:
        start, end = window(query, self._now_ms(), DAY_MS)
        wanted = {name: str(query[name]) for name in ("category", "currency", "type") if query.get(name)}
        found = [
            (number, row)
            for number, row in enumerate(account.log)
            if start <= int(row["transactionTime"]) <= end
            and all(row[name] == value for name, value in wanted.items())
            and row["symbol"].startswith(str(query.get("baseCoin") or ""))
        ]
        shown, cursor = page(found, query, 20, 50)
        return {"nextPageCursor": cursor, "list": shown}

    def _info(self, account: Account, _query: Query) -> dict[str, Any]:
        return {
            "marginMode": account.margin_mode, "updatedTime": FIRST_MS, "unifiedMarginStatus": 5, "dcpStatus": "OFF",
            "timeWindow": 10, "smpGroup": 0, "isMasterTrader": False, "spotHedgingStatus": "OFF",
        }  # fmt: skip

    def _fee_rate(self, _account: Account, query: Query) -> dict[str, Any]:
        category = category_of(query)
        taker, maker = FEES.get(category, FEES_OTHERS)
        rates = {"takerFeeRate": format(taker, "f"), "makerFeeRate": format(maker, "f")}
        names = [name for (kind, name) in self._matching.market.symbols if kind == category]
        if query.get("symbol"):
            names = [self._desk.symbol(category, query["symbol"]).instrument.symbol]
        return {"category": category, "list": [{"symbol": name, "baseCoin": "", **rates} for name in names]}

    def _collateral(self, account: Account, query: Query) -> dict[str, Any]:
        coins = [coin for coin in account.balances if query.get("currency") in (None, "", coin)]
        row = {
            "availableToBorrow": "0", "freeBorrowingAmount": "", "freeBorrowAmount": "0", "maxBorrowingAmount": "0",
            "hourlyBorrowRate": "0", "borrowUsageRate": "0", "collateralSwitch": True, "marginCollateral": True,
            "collateralRatio": "1", "borrowable": False, "borrowAmount": "0", "freeBorrowingLimit": "0",
        }  # fmt: skip
        return {"list": [{"currency": coin, **row} for coin in coins]}


def category_of(query: Query) -> str:
    """The category of a query, which nearly all endpoints require."""
    category = str(query.get("category") or "")
    if category not in CATEGORIES:
        raise OrderError(10001, "params error: category invalid")
    return category
