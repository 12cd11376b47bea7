"""Positions: listed, and what may be set on them (BYBIT_V5.md section 8).

Event loop thread only.
"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from . import order_rows
from .accounts import Account, Position
from .matching import Matching
from .orders import OrderDesk
from .pages import whole
from .private_lists import category_of
from .rules import OrderError

MAX_LEVERAGE = 100
STOPS = ("takeProfit", "stopLoss", "trailingStop")
MARGIN_MODES = ("REGULAR_MARGIN", "ISOLATED_MARGIN", "PORTFOLIO_MARGIN")
ONE_WAY, HEDGE = 0, 3


class Positions:
    """`lists` are GET endpoints, `commands` POST ones."""

    def __init__(self, desk: OrderDesk, matching: Matching, now_ms: Callable[[], int]) -> None:
        self._desk, self._matching, self._now_ms = desk, matching, now_ms
        self.lists = {"/v5/position/list": self._list}
        self.commands: dict[str, Callable[[Account, dict[str, Any]], dict[str, Any]]] = {
            "/v5/position/set-leverage": self._set_leverage,
            "/v5/position/switch-mode": self._switch_mode,
            "/v5/position/trading-stop": self._trading_stop,
            "/v5/position/set-auto-add-margin": self._auto_add_margin,
            "/v5/position/add-margin": self._add_margin,
            "/v5/position/set-risk-limit": self._risk_limit,
            "/v5/account/set-margin-mode": self._margin_mode,
        }

    def _list(self, account: Account, query: dict[str, Any]) -> dict[str, Any]:
        """List positions: of a symbol also a flat one, otherwise those that are held."""
        category = category_of(query)
        limit = whole(query, "limit", 20, 1, 200)
        if category == "spot":
            raise OrderError(10001, "params error: category invalid")
        if query.get("symbol"):
            held = self._of_symbol(account, category, self._desk.symbol(category, query["symbol"]).instrument.symbol)
        elif category == "linear" and not query.get("settleCoin"):
            raise OrderError(10001, "Missing some parameters that must be filled in, symbol or settleCoin")
        else:
            held = [p for p in account.positions.values() if p.size and p.category == category]
            coin = query.get("settleCoin")
            held = [p for p in held if coin in (None, "", self._matching.settles(p))]
        rows = [order_rows.position_row(account, p, self._matching.price_of(category, p.symbol)) for p in held[:limit]]
        return {"list": rows, "nextPageCursor": "", "category": category}

    def _of_symbol(self, account: Account, category: str, name: str) -> list[Position]:
        indexes = (1, 2) if category == "linear" and name in account.hedged else (0,)
        return [account.position(category, name, idx, self._now_ms()) for idx in indexes]

    def _chosen(self, account: Account, body: dict[str, Any]) -> Position:
        category = category_of(body)
        name = self._desk.symbol(category, body.get("symbol")).instrument.symbol
        found = [p for p in self._of_symbol(account, category, name) if p.idx == int(body.get("positionIdx", 0))]
        if not found:
            raise OrderError(10001, "position idx not match position mode")
        return found[0]

    def _set_leverage(self, account: Account, body: dict[str, Any]) -> dict[str, Any]:
        category = category_of(body)
        name = self._desk.symbol(category, body.get("symbol")).instrument.symbol
        try:
            buy, sell = Decimal(str(body.get("buyLeverage"))), Decimal(str(body.get("sellLeverage")))
        except InvalidOperation:
            raise OrderError(10001, "params error: leverage invalid") from None
        if buy != sell:
            raise OrderError(10001, "params error: buyLeverage and sellLeverage must be equal")
        if not 1 <= buy <= MAX_LEVERAGE:
            raise OrderError(110013, f"cannot set leverage [{buy}] gt maxLeverage [{MAX_LEVERAGE}] by risk limit")
        if account.leverage(category, name) == buy:
            raise OrderError(110043, "leverage not modified")
        account.leverages[category, name] = buy
        return {}

    def _switch_mode(self, account: Account, body: dict[str, Any]) -> dict[str, Any]:
        if category_of(body) != "linear" or body.get("mode") not in (ONE_WAY, HEDGE):
            raise OrderError(10001, "params error: category or mode invalid")
        symbols = self._matching.market.symbols
        names = {
            name for (kind, name), s in symbols.items() if kind == "linear" and s.instrument.quote == body.get("coin")
        }
        if body.get("symbol"):
            names = {self._desk.symbol("linear", body["symbol"]).instrument.symbol}
        if not names:
            raise OrderError(10001, "params error: symbol or coin is required")
        wanted = names if body["mode"] == HEDGE else set()
        if names & account.hedged == wanted:
            raise OrderError(110025, "Position mode is not modified")
        if any(p.size for (kind, name, _), p in account.positions.items() if kind == "linear" and name in names):
            raise OrderError(110024, "You have an existing position, so position mode cannot be switched")
        account.hedged = account.hedged - names | wanted
        return {}

    def _trading_stop(self, account: Account, body: dict[str, Any]) -> dict[str, Any]:
        position = self._chosen(account, body)
        if not position.size:
            raise OrderError(10001, "can not set tp/sl/ts for zero position")
        changed = {name: str(body[name]) for name in STOPS if body.get(name) is not None}
        if not changed or all(position.stops.get(name) == value for name, value in changed.items()):
            raise OrderError(34040, "not modified")
        position.stops.update(changed)
        position.updated_ms = self._now_ms()
        return {}

    def _auto_add_margin(self, account: Account, body: dict[str, Any]) -> dict[str, Any]:
        position = self._chosen(account, body)
        wanted = int(body.get("autoAddMargin", 0))
        if position.auto_add_margin == wanted:
            raise OrderError(34040, "not modified")
        position.auto_add_margin = wanted
        return {}

    def _add_margin(self, account: Account, body: dict[str, Any]) -> dict[str, Any]:
        position = self._chosen(account, body)
        if not position.size:
            raise OrderError(10001, "position is zero")
        mark = self._matching.price_of(position.category, position.symbol)
        return {"category": position.category, **order_rows.position_row(account, position, mark)}

    def _risk_limit(self, account: Account, body: dict[str, Any]) -> dict[str, Any]:
        """Accept a risk limit without effect, as Bybit does since 2024."""
        position = self._chosen(account, body)
        return {"category": position.category, "riskId": int(body.get("riskId", 1)), "riskLimitValue": "2000000"}

    def _margin_mode(self, account: Account, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("setMarginMode") not in MARGIN_MODES:
            raise OrderError(10001, "params error: setMarginMode invalid")
        account.margin_mode = str(body["setMarginMode"])
        return {"reasons": []}
