"""Rounding of orders to the instrument's tick and lot size: Bybit refuses `str(current_price * 0.99)`.

Tick and lot sizes are read per symbol, kept for a while, and read again after a refusal that they may explain.
Applied to the finished call, so that every way to place or change an order is rounded. Thread safe.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any

import structlog

from exchanges.bybit.client.calls import Call
from exchanges.bybit.client.errors import BybitError, code_of
from exchanges.bybit.client.names import PRICES, SIZES
from exchanges.bybit.client.pybit_http import make_call
from exchanges.bybit.client.steps import Steps

log = structlog.get_logger()

STEPS_AGE_S = 1_800.0  # a step that became finer causes no refusal: it would never be noticed otherwise
RELEARN_S = 1.0  # after a refusal at once; the doubling pause of further ones that changed nothing, failures too
RELEARN_MOST_S = 300.0
ORDER_PATHS = frozenset(
    f"/v5/{path}"
    for path in (
        "order/create", "order/amend", "order/create-batch", "order/amend-batch", "order/pre-check",
        "position/trading-stop",
    )
)  # fmt: skip
STEP_CODES = frozenset({10001, 110003, 110017, *range(170130, 170138), 170381, 170382})
"""Refusals that a changed tick or lot size may explain (docs: error): price or quantity invalid, too many decimals."""
EXACT = Context(prec=200)  # more digits than values.py lets a number have
OPPOSITE = {"Buy": "Sell", "Sell": "Buy"}

Key = tuple[str, str]
"""category, symbol"""


@dataclass(frozen=True, slots=True)
class Filters:
    """The steps of an instrument's prices and sizes; None where the exchange gave none."""

    tick: Decimal | None = None
    lot: Decimal | None = None
    quote: Decimal | None = None  # of a spot order by value


@dataclass(slots=True)
class _Known:
    """The filters of a symbol, and how often they were read again in vain."""

    filters: Filters = field(default_factory=Filters)
    requested_s: float = float("-inf")
    is_stale: bool = True
    in_vain: int = 0

    def is_due(self, now_s: float) -> bool:
        """Whether the filters are to be read."""
        age_s = now_s - self.requested_s
        return age_s > STEPS_AGE_S or (self.is_stale and age_s >= self.pause_s)

    @property
    def pause_s(self) -> float:
        """Seconds from the last request to the next one allowed."""
        return min(RELEARN_S * 2.0 ** min(self.in_vain, 20), RELEARN_MOST_S) if self.in_vain else 0.0


class OrderRounding:
    """Rounds the orders of a client; keeps the filters of the symbols that it trades."""

    def __init__(self, perform: Callable[[Call], Steps[Any]], clock: Callable[[], float] = time.monotonic) -> None:
        """`perform` sends a call and returns an answer with `result`."""
        self._perform, self._clock = perform, clock
        self._known: dict[Key, _Known] = {}

    def fitted(self, call: Call) -> Steps[Call]:
        """The call with its prices and sizes rounded; unchanged where it places no order or no step is known."""
        if call.path not in ORDER_PATHS:
            return call
        category, batch = str(call.params.get("category", "")), call.params.get("request")
        if not isinstance(batch, list):
            return replace(call, params=(yield from self._order(call.params, category)))
        orders = []
        for order in batch:
            fitted = (yield from self._order(order, category)) if isinstance(order, dict) else order
            orders.append(fitted)
        return replace(call, params={**call.params, "request": orders})

    def refused(self, call: Call, code: int | None) -> bool:
        """Record a refusal; True where the filters are to be read again because of it."""
        if call.path not in ORDER_PATHS or code not in STEP_CODES:
            return False
        keys = {(str(call.params.get("category", "")), str(order.get("symbol", ""))) for order in _orders(call.params)}
        marked = [self._mark(key) for key in keys]
        return any(marked)

    def answered(self, call: Call, raw: Mapping[str, Any]) -> None:
        """Record an answer. A batch's is good when all its orders are refused: each has a code of its own."""
        if code := code_of(raw):
            self.refused(call, code)
        if not call.path.endswith("-batch") or call.path not in ORDER_PATHS:
            return
        rows = _mapping(raw.get("retExtInfo")).get("list")
        for order, row in zip(_orders(call.params), rows if isinstance(rows, list) else (), strict=False):
            if isinstance(row, dict) and row.get("code") in STEP_CODES:
                self._mark((str(call.params.get("category", "")), str(order.get("symbol", ""))))

    def _order(self, order: Mapping[str, Any], category: str) -> Steps[dict[str, Any]]:
        if not (PRICES | SIZES) & order.keys():
            return dict(order)
        filters = yield from self._filters((category, str(order.get("symbol", ""))))
        return {**order, **dict(_stepped(order, filters, category))}

    def _mark(self, key: Key) -> bool:
        known = self._known.setdefault(key, _Known())
        known.is_stale = True
        return known.is_due(self._clock())

    def _filters(self, key: Key) -> Steps[Filters]:
        """The filters of a symbol, read where they are due. The old ones stay where the exchange does not answer."""
        known = self._known.setdefault(key, _Known())
        now_s = self._clock()
        if key[1] and known.is_due(now_s):
            was_stale, known.requested_s = known.is_stale, now_s
            new = yield from self._asked(key)
            is_in_vain = new is None or (was_stale and new == known.filters)
            known.in_vain = known.in_vain + 1 if is_in_vain else 0
            known.is_stale = new is None
            known.filters = new or known.filters
        return known.filters

    def _asked(self, key: Key) -> Steps[Filters | None]:
        category, symbol = key
        question = {"category": category, "symbol": symbol}
        try:
            answer = yield from self._perform(make_call("GET", "/v5/market/instruments-info", question, False))
        except BybitError as error:
            log.info("instrument_steps_unknown", category=category, symbol=symbol, error=str(error))
            return None
        rows = _mapping(answer.result).get("list")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and row.get("symbol") == symbol:
                return _filters_of(row)
        log.info("instrument_steps_unknown", category=category, symbol=symbol, error="not listed")
        return None


def _orders(params: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The orders of a call: those of a batch, or the call's own."""
    batch = params.get("request")
    rows = batch if isinstance(batch, list) else [params]
    return (row for row in rows if isinstance(row, Mapping))


def _filters_of(row: Mapping[str, Any]) -> Filters:
    prices, sizes = (_mapping(row.get(name)) for name in ("priceFilter", "lotSizeFilter"))
    lot = _step(sizes.get("qtyStep")) or _step(sizes.get("basePrecision"))
    return Filters(_step(prices.get("tickSize")), lot, _step(sizes.get("quotePrecision")))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _step(text: Any) -> Decimal | None:
    try:
        step = Decimal(str(text))
    except InvalidOperation:
        return None
    return step if step.is_finite() and step > 0 else None


def _stepped(order: Mapping[str, Any], filters: Filters, category: str) -> Iterator[tuple[str, str]]:
    """Yield the fields that change: prices by their kind, sizes down."""
    for name in PRICES & order.keys():
        yield from _changed(name, order[name], filters.tick, _rounding(name, str(order.get("side", ""))))
    for name in SIZES & order.keys():
        yield from _changed(name, order[name], _size_step(name, order, filters, category), ROUND_FLOOR)


def _rounding(name: str, side: str) -> str:
    """Limit prices to the worse for filling, where the side is known; triggers and distances to the nearest step."""
    if name in ("tpLimitPrice", "slLimitPrice"):
        side = OPPOSITE.get(side, "")  # what closes a buy sells
    elif name != "price":
        side = ""
    return {"Buy": ROUND_FLOOR, "Sell": ROUND_CEILING}.get(side, ROUND_HALF_EVEN)


def _size_step(name: str, order: Mapping[str, Any], filters: Filters, category: str) -> Decimal | None:
    """The step of a size; spot market buys are by value unless they state a unit (docs: order/create, marketUnit)."""
    unit = order.get("marketUnit") or ("quoteCoin" if order.get("side") == "Buy" else "baseCoin")
    is_by_value = category == "spot" and order.get("orderType") == "Market" and unit == "quoteCoin" and name == "qty"
    return filters.quote if is_by_value else filters.lot


def _changed(name: str, text: Any, step: Decimal | None, rounding: str) -> Iterator[tuple[str, str]]:
    """Yield the rounded value of a field that is between two steps and not below the first."""
    if step is None or not isinstance(text, str) or not text:
        return
    number = Decimal(text)
    stepped = EXACT.multiply(EXACT.divide(number, step).to_integral_value(rounding, EXACT), step)
    if stepped != number and stepped > 0:
        yield name, format(stepped, "f")
