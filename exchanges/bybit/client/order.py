"""`client.order`: placing, changing, cancelling, looking up orders. Needs a key that may trade.

An order is never placed twice: each carries an orderLinkId (made here where none is given), which the exchange takes
once. Where an answer stays away the order is looked up by it, and only where it is not there is it sent again.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from exchanges.bybit.client.errors import BadAnswerError, BybitError, DuplicateOrderError, RequestError
from exchanges.bybit.client.models import Execution, Order
from exchanges.bybit.client.names import Param, camel, camel_names
from exchanges.bybit.client.results import Result, rows_of
from exchanges.bybit.client.service import Service
from exchanges.bybit.client.steps import M, N, Pages, Steps, Wait, endpoint, pages
from exchanges.bybit.client.times import When
from exchanges.retries import ATTEMPTS, BACKOFF_S, JITTER_FLOOR
from model.pacing import Backoff

log = structlog.get_logger()

PAGE_ORDERS, PAGE_EXECUTIONS = 50, 100  # the most Bybit gives
ORDER_NEEDS = frozenset({"category", "symbol", "side", "orderType", "qty"})
LOOKUPS = 3  # of an order whose answer stayed away: orders appear a moment after they were accepted


def new_link_id() -> str:
    """A new, unique orderLinkId: 32 of the 36 characters Bybit allows."""
    return uuid.uuid4().hex


def is_left_out(link_id: Any) -> bool:
    """Whether no orderLinkId is given: None or empty."""
    return link_id is None or (isinstance(link_id, str) and not link_id)


def with_link_ids(request: Any) -> list[dict[str, Param]]:
    """The orders of a batch, each with an orderLinkId; raises RequestError for what is no order."""
    if isinstance(request, str | bytes | Mapping) or not hasattr(type(request), "__iter__"):
        raise RequestError(f"request is {request!r:.60}: a list of orders is needed")
    orders = []
    for index, order in enumerate(request):
        if not isinstance(order, Mapping):
            raise RequestError(f"request[{index}] is {order!r:.60}: an order as a dict is needed")
        check_order(order, f"request[{index}].")
        given = camel_names(order)
        orders.append({**given, "orderLinkId": new_link_id()} if is_left_out(given.get("orderLinkId")) else given)
    return orders


def check_order(params: Mapping[str, Param], where: str = "") -> None:
    """Raise RequestError for a new order that is given None where there must be something."""
    for name, value in params.items():
        if value is None and camel(name) in ORDER_NEEDS:
            raise RequestError(f"{where}{name} is None: it must be given")


def has_ids(data: Any) -> bool:
    """Whether an order's acknowledgement names it."""
    return isinstance(data, Mapping) and bool(data.get("orderId"))


class OrderService(Service[M, N]):
    """Calls about orders and executions."""

    @endpoint
    def place_order(
        self,
        /,
        *,
        symbol: str,
        side: str,
        order_type: str,
        qty: Param,
        category: str = "linear",
        price: Param = None,
        time_in_force: str | None = None,
        order_link_id: str | None = None,
        **more: Param,
    ) -> Steps[Result[Order[N]]]:
        """POST /v5/order/create: `orderId` and `orderLinkId`. Accepted is not filled: see the order stream.

        A price between two steps of the instrument is rounded to the worse for filling (a buy down, a sell up), unless
        the client was made with round_prices=False.
        """
        params: dict[str, Param] = {"category": category, "symbol": symbol, "side": side, "order_type": order_type}
        params |= {"qty": qty, "price": price, "time_in_force": time_in_force, **more}
        link_id = more.get("orderLinkId") if is_left_out(order_link_id) else order_link_id
        is_ours = is_left_out(link_id)
        params["order_link_id"] = new_link_id() if is_ours else link_id
        params.pop("orderLinkId", None)
        return self._place(params, is_ours=is_ours)

    @endpoint
    def amend_order(
        self,
        /,
        *,
        symbol: str,
        category: str = "linear",
        order_id: str | None = None,
        order_link_id: str | None = None,
        **more: Param,
    ) -> Steps[Result[Order[N]]]:
        """POST /v5/order/amend: qty, price, trigger_price, take_profit, stop_loss, ..."""
        ids = {"order_id": order_id, "order_link_id": order_link_id}
        return self._ask("amend_order", Order, category=category, symbol=symbol, **ids, **more)

    @endpoint
    def cancel_order(
        self,
        /,
        *,
        symbol: str,
        category: str = "linear",
        order_id: str | None = None,
        order_link_id: str | None = None,
        **more: Param,
    ) -> Steps[Result[Order[N]]]:
        """POST /v5/order/cancel; OrderNotFoundError where it is filled or cancelled already."""
        ids = {"order_id": order_id, "order_link_id": order_link_id}
        return self._repeatable("cancel_order", category=category, symbol=symbol, **ids, **more)

    @endpoint
    def cancel_all_orders(
        self,
        /,
        *,
        category: str = "linear",
        symbol: str | None = None,
        settle_coin: str | None = None,
        base_coin: str | None = None,
        **more: Param,
    ) -> Steps[Result[Order[N]]]:
        """POST /v5/order/cancel-all; linear and inverse need a symbol, a base coin or a settle coin."""
        coins = {"settle_coin": settle_coin, "base_coin": base_coin}
        return self._repeatable("cancel_all_orders", category=category, symbol=symbol, **coins, **more)

    @endpoint
    def place_batch_order(
        self, *, request: Sequence[Mapping[str, Param]], category: str = "linear"
    ) -> Steps[Result[Order[N]]]:
        """POST /v5/order/create-batch; the outcome of each order is in `result.raw["retExtInfo"]["list"]`.

        Never sent again by itself; every order gets an orderLinkId, shown in the error's `params`, so that sending the
        same batch again places none twice.
        """
        return self._repeatable("place_batch_order", category=category, request=with_link_ids(request))

    @endpoint
    def amend_batch_order(
        self, *, request: Sequence[Mapping[str, Param]], category: str = "linear"
    ) -> Steps[Result[Order[N]]]:
        """POST /v5/order/amend-batch"""
        return self._ask("amend_batch_order", Order, category=category, request=request)

    @endpoint
    def cancel_batch_order(
        self, *, request: Sequence[Mapping[str, Param]], category: str = "linear"
    ) -> Steps[Result[Order[N]]]:
        """POST /v5/order/cancel-batch"""
        return self._repeatable("cancel_batch_order", category=category, request=request)

    @endpoint
    def get_active_orders(
        self,
        /,
        *,
        category: str = "linear",
        symbol: str | None = None,
        order_id: str | None = None,
        order_link_id: str | None = None,
        settle_coin: str | None = None,
        **more: Param,
    ) -> Steps[Result[Order[N]]]:
        """GET /v5/order/realtime: open orders, one page; linear without a symbol: those settled in USDT."""
        if symbol is None and settle_coin is None and "base_coin" not in more and category == "linear":
            settle_coin = "USDT"
        more |= {"settle_coin": settle_coin, "order_id": order_id, "order_link_id": order_link_id}
        return self._ask("get_open_orders", Order, category=category, symbol=symbol, **more)

    @endpoint
    def get_order_history(
        self, /, *, category: str = "linear", symbol: str | None = None, limit: int | None = None, **more: Param
    ) -> Steps[Result[Order[N]]]:
        """GET /v5/order/history: one page; start_time, end_time (a week at most), order_id, cursor, ..."""
        return self._ask("get_order_history", Order, category=category, symbol=symbol, limit=limit, **more)

    @endpoint
    def get_execution_list(
        self, /, *, category: str = "linear", symbol: str | None = None, limit: int | None = None, **more: Param
    ) -> Steps[Result[Execution[N]]]:
        """GET /v5/execution/list: one page; order_id, start_time, end_time (a week at most), cursor, ..."""
        return self._ask("get_executions", Execution, category=category, symbol=symbol, limit=limit, **more)

    @pages
    def iter_active_orders(
        self, *, category: str = "linear", symbol: str | None = None, settle_coin: str | None = "USDT"
    ) -> Pages[Order[N]]:
        """All open orders, page after page."""
        params: dict[str, Param] = {"category": category, "symbol": symbol, "settle_coin": settle_coin}
        return self._pages("get_open_orders", Order, **params, limit=PAGE_ORDERS)

    @pages
    def iter_order_history(
        self, *, start: When, end: When, category: str = "linear", symbol: str | None = None
    ) -> Pages[Order[N]]:
        """All orders of any span [start, end), week after week; newest first within a week."""
        params: dict[str, Param] = {"category": category, "symbol": symbol, "limit": PAGE_ORDERS}
        return self._weeks("get_order_history", Order, start, end, **params)

    @pages
    def iter_executions(
        self, *, start: When, end: When, category: str = "linear", symbol: str | None = None
    ) -> Pages[Execution[N]]:
        """All executions of any span [start, end), week after week; newest first within a week."""
        params: dict[str, Param] = {"category": category, "symbol": symbol, "limit": PAGE_EXECUTIONS}
        return self._weeks("get_executions", Execution, start, end, **params)

    # placing once

    def _place(self, params: Mapping[str, Param], *, is_ours: bool) -> Steps[Result[Order[N]]]:
        """Send an order; look it up where its answer stays away; send it again, same id, where it is not found."""
        is_unclear = is_ours  # an id made here is unique: a duplicate is our own order
        for count in range(1, ATTEMPTS + 1):
            try:
                result = yield from self._ask("place_order", Order, **params)
                if has_ids(result):
                    return result
                failure: BybitError = _without_ids(result, params)
            except DuplicateOrderError as error:
                failure = error
                if not is_unclear:
                    raise
            except BybitError as error:
                failure = error
                if not error.may_be_done:
                    raise
            is_unclear = True
            log.info("order_outcome_unknown", endpoint=failure.endpoint, error=str(failure), attempt=count)
            found = yield from self._look_up(params, failure)
            if found is not None:
                return found
        failure.is_retry_safe = True  # under its orderLinkId, which stands in failure.params
        raise failure

    def _look_up(self, params: Mapping[str, Param], failure: BybitError) -> Steps[Result[Order[N]] | None]:
        """The order by its orderLinkId, as place_order would have returned it; None where it is not there.

        Looked up longer where the exchange answered that it exists. Where the lookup fails too, the first failure is
        raised: it carries the orderLinkId.
        """
        query = {name: params[name] for name in ("category", "symbol", "order_link_id")}
        is_there = isinstance(failure, DuplicateOrderError)
        backoff = Backoff(BACKOFF_S / 3, floor=JITTER_FLOOR)
        for _ in range(LOOKUPS if is_there else 1):
            yield Wait(backoff.next_s())
            for name in ("get_open_orders", "get_order_history"):
                try:
                    result = yield from self._ask(name, Order, **query)
                except BybitError as error:
                    log.warning("order_lookup_failed", endpoint=error.endpoint, error=str(error))
                    failure.is_retry_safe = True
                    raise failure from None
                for row in rows_of(result):
                    if isinstance(row, dict) and row.get("orderLinkId") == params["order_link_id"]:
                        return self._as_placed(row, result)
        return None

    def _as_placed(self, row: Mapping[str, Any], result: Result[Order[N]]) -> Result[Order[N]]:
        ids = {name: row.get(name, "") for name in ("orderId", "orderLinkId")}
        return Result(ids, result.raw, result.headers, self._builder(Order))

    def _repeatable(self, endpoint: str, /, **params: Param) -> Steps[Result[Order[N]]]:
        """Make a call that is not repeated here, but is marked as safe to repeat in its error."""
        try:
            return (yield from self._ask(endpoint, Order, **params))
        except BybitError as error:
            error.is_retry_safe = error.is_retry_safe or error.may_be_done
            raise


def _without_ids(result: Result[Any], params: Mapping[str, Param]) -> BadAnswerError:
    """The error of a good code without an order: the outcome is not known."""
    text = f"the answer names no order: {dict(result)!r:.100}"
    return BadAnswerError(text, endpoint="POST /v5/order/create", params=camel_names(params), may_be_done=True)
