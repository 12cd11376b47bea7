"""Orders: placed, refused, amended, cancelled (BYBIT_V5.md sections 8 and 9).

Event loop thread only. Reads and refuses requests; matching.py then trades the orders.
"""

import uuid
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from typing import Any

from ..symbol_market import SymbolMarket
from . import rules
from .accounts import ZERO, Account, Order, value_of
from .matching import Matching
from .rules import OrderError

CATEGORIES = ("linear", "spot", "inverse", "option")
NO_SYMBOL = {"spot": (170121, "Invalid symbol."), "other": (10001, "params error: symbol invalid")}
UNKNOWN_ORDER = {"spot": (170213, "Order does not exist."), "other": (110001, "order not exists or too late to cancel")}
DUPLICATE = {"spot": (170141, "Duplicate clientOrderId"), "other": (110072, "OrderLinkedID is duplicate")}
TOO_POOR = {"spot": (170131, "Insufficient balance."), "other": (110007, "ab not enough for new order")}
AMENDABLE = ("takeProfit", "stopLoss", "tpTriggerBy", "slTriggerBy", "triggerPrice", "triggerBy", "orderIv")


def _code(codes: dict[str, tuple[int, str]], category: str) -> OrderError:
    return OrderError(*codes.get(category, codes["other"]))


class OrderDesk:
    """The order commands of every account; `active_limit` orders of one symbol may be open at once."""

    def __init__(self, matching: Matching, now_ms: Callable[[], int], active_limit: int) -> None:
        self._matching, self._now_ms = matching, now_ms
        self._active_limit = active_limit
        self._number = 0

    def symbol(self, category: str, name: Any) -> SymbolMarket:
        """The market of a symbol; OrderError where it is not listed."""
        if category not in CATEGORIES:
            raise OrderError(10001, "params error: category invalid")
        found = self._matching.market.symbols.get((category, str(name)))
        if found is None:
            raise _code(NO_SYMBOL, category)
        return found

    def available(self, account: Account, coin: str) -> Decimal:
        """The balance that is neither margin of positions nor reserved by orders."""
        margin = account.position_margin(coin, self._matching.settles)
        return account.balances.get(coin, ZERO) - account.reserved[coin] - margin

    # commands of a client

    def create(self, account: Account, body: dict[str, Any]) -> dict[str, Any]:
        """Place an order; OrderError leaves nothing behind."""
        category = str(body.get("category", ""))
        symbol = self.symbol(category, body.get("symbol"))
        order = self._read(account, symbol, body)
        if order.link_id in account.by_link:
            raise _code(DUPLICATE, category)
        self._reduce(account, order)
        coin, needed = self._reserve(account, symbol, order)
        if needed > self.available(account, coin):
            raise _code(TOO_POOR, category)
        account.keep(order)
        account.hold(order, coin, needed)
        if order.extras.get("triggerPrice"):
            self._matching.wait(account, order)
        else:
            self._matching.enter(account, symbol, order)
        return {"orderId": order.order_id, "orderLinkId": order.link_id}

    def amend(self, account: Account, body: dict[str, Any]) -> dict[str, Any]:
        """Change quantity, price or stops of an open order."""
        category = str(body.get("category", ""))
        symbol, order = self.symbol(category, body.get("symbol")), self._open_order(account, body)
        changed = {name: str(body[name]) for name in AMENDABLE if name in body}
        qty = rules.number(body, "qty") if "qty" in body else order.qty
        price = rules.number(body, "price") if "price" in body else order.price
        if not changed and (qty, price) == (order.qty, order.price):
            raise OrderError(10001, "The order remains unchanged as the parameters entered match the existing ones.")
        rules.check_qty(symbol.instrument, qty, is_market=False)
        rules.check_price(symbol.instrument, order.side, price, Decimal(symbol.last_price()))
        if qty <= order.cum_qty:
            raise OrderError(10001, "Qty invalid: not more than what is filled already")
        order.qty, order.price, order.updated_ms = qty, price, self._now_ms()
        order.extras.update(changed)
        account.hold(order, *self._reserve(account, symbol, order))
        if order.status == "Untriggered":
            self._matching.push_order(account, order)
        else:
            self._matching.enter(account, symbol, order)
        return {"orderId": order.order_id, "orderLinkId": order.link_id}

    def cancel(self, account: Account, body: dict[str, Any]) -> dict[str, Any]:
        """End an open order."""
        self.symbol(str(body.get("category", "")), body.get("symbol"))
        order = self._open_order(account, body)
        self._matching.end(account, order, "CancelByUser")
        return {"orderId": order.order_id, "orderLinkId": order.link_id}

    def cancel_all(self, account: Account, body: dict[str, Any]) -> dict[str, Any]:
        """Cancel all orders of a category, narrowed by symbol, base coin or settle coin."""
        category = str(body.get("category", ""))
        if category not in CATEGORIES:
            raise OrderError(10001, "params error: category invalid")
        narrow = [body.get(name) for name in ("symbol", "baseCoin", "settleCoin")]
        if category in ("linear", "inverse") and not any(narrow):
            raise OrderError(10001, "params error: symbol, baseCoin or settleCoin is required")
        ended = [order for order in account.open_orders.values() if self.is_within(order, category, body)]
        for order in ended:
            self._matching.end(account, order, "CancelByUser")
        return {"list": [{"orderId": o.order_id, "orderLinkId": o.link_id} for o in ended], "success": "1"}

    def is_within(self, order: Order, category: str, body: dict[str, Any]) -> bool:
        """Whether an order passes the filters that many endpoints share."""
        if order.category != category:
            return False
        if body.get("symbol"):
            return order.symbol == str(body["symbol"])
        instrument = self._matching.market.symbols[category, order.symbol].instrument
        if body.get("baseCoin"):
            return instrument.base == str(body["baseCoin"])
        coin = str(body.get("settleCoin") or "")
        return not coin or self._matching.settle_coin(category, order.symbol) == coin

    # from the request to the order

    def _read(self, account: Account, symbol: SymbolMarket, body: dict[str, Any]) -> Order:
        instrument, category = symbol.instrument, symbol.instrument.category
        side = rules.chosen(body, "side", ("Buy", "Sell"))
        kind = rules.chosen(body, "orderType", ("Market", "Limit"))
        is_market, last = kind == "Market", Decimal(symbol.last_price())
        usual = "IOC" if is_market else "GTC"
        in_force = usual if is_market else rules.chosen(body, "timeInForce", rules.TIMES_IN_FORCE, usual)
        link, qty = rules.link_id(body), rules.number(body, "qty")
        price = self._protection(symbol, side) if is_market else rules.number(body, "price")
        idx = self._position_idx(account, category, instrument.symbol, body)
        if category == "spot" and is_market and side == "Buy" and body.get("marketUnit") != "baseCoin":
            step = rules.rules_of(instrument).step
            qty = (qty / Decimal(symbol.price_text(symbol.mid + 1)) / step).to_integral_value(ROUND_DOWN) * step
        rules.check_qty(instrument, qty, is_market)
        if not is_market:
            rules.check_price(instrument, side, price, last)
        is_reducing = bool(body.get("reduceOnly"))
        if not is_reducing:
            rules.check_value(instrument, value_of(category, qty, last if is_market else price))
        if self._matching.active[account.uid, category, instrument.symbol] >= self._active_limit:
            raise OrderError(110020, f"Not allowed to have more than {self._active_limit} active orders")
        self._number += 1
        now_ms = self._now_ms()
        order_id = str(now_ms * 1_000_000 + self._number) if category == "spot" else str(uuid.uuid4())
        names = ("category", "symbol", "side", "orderType", "qty", "price", "timeInForce", "reduceOnly", "orderLinkId")
        extras = {name: value for name, value in body.items() if name not in (*names, "positionIdx")}
        return Order(
            self._number, category, instrument.symbol, order_id, link, side, kind, price, qty, in_force, idx,
            is_reducing, now_ms, now_ms, last, extras,
        )  # fmt: skip

    def _protection(self, symbol: SymbolMarket, side: str) -> Decimal:
        """The worst price a market order would take, five percent away, which Bybit shows as its price."""
        away = symbol.mid // 20
        return Decimal(symbol.price_text(symbol.mid + away if side == "Buy" else max(1, symbol.mid - away)))

    def _position_idx(self, account: Account, category: str, symbol: str, body: dict[str, Any]) -> int:
        idx = body.get("positionIdx", 0)
        allowed = (1, 2) if category == "linear" and symbol in account.hedged else (0,)
        if idx not in allowed:
            raise OrderError(10001, "position idx not match position mode")
        return int(idx)

    def _reduce(self, account: Account, order: Order) -> None:
        """Cut a reduce-only order to the position; refuse it without one: it never opens."""
        if not order.reduce_only or order.category == "spot":
            return
        position = account.position(order.category, order.symbol, order.position_idx, order.created_ms)
        if not position.size or (position.size > 0) == order.is_buy:
            raise OrderError(110017, "current position is zero, cannot fix reduce-only order qty")
        order.qty = min(order.qty, abs(position.size))

    def _reserve(self, account: Account, symbol: SymbolMarket, order: Order) -> tuple[str, Decimal]:
        """Reserve funds of an open order: the coin to be sold, or the initial margin."""
        instrument, left, price = symbol.instrument, order.qty - order.cum_qty, order.price
        if order.order_type == "Market":
            price = self._matching.best(symbol, order.is_buy)
        if order.category == "spot":
            return (instrument.quote, left * price) if order.is_buy else (instrument.base, left)
        coin = self._matching.settle_coin(order.category, order.symbol)
        position = account.positions.get((order.category, order.symbol, order.position_idx))
        if position is not None and position.size and (position.size > 0) != order.is_buy:
            left = max(ZERO, left - abs(position.size))
        margin = value_of(order.category, left, price) / account.leverage(order.category, order.symbol)
        return coin, ZERO if order.reduce_only else margin

    def _open_order(self, account: Account, body: dict[str, Any]) -> Order:
        by_id, by_link = str(body.get("orderId") or ""), str(body.get("orderLinkId") or "")
        if not by_id and not by_link:
            raise OrderError(10001, "params error: OrderId or orderLinkId is required")
        order = account.by_id.get(by_id) if by_id else account.by_link.get(by_link)
        category = str(body.get("category"))
        if order is None or not order.is_open or (order.category, order.symbol) != (category, body.get("symbol")):
            raise _code(UNKNOWN_ORDER, category)
        return order
