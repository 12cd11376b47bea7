"""Accounts: balances, orders, executions, positions, the transaction log.

Event loop thread only. Plain records and sums; orders.py decides which changes are allowed.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

ZERO = Decimal(0)
OPEN = ("New", "PartiallyFilled", "Untriggered")
FIRST_BALANCES = {"USDT": "1000000", "USDC": "100000", "BTC": "10", "ETH": "100"}
FIRST_LEVERAGE = Decimal(10)
FEES = {"spot": (Decimal("0.001"), Decimal("0.001"))}  # category -> taker, maker
FEES_OTHERS = (Decimal("0.00055"), Decimal("0.0002"))


@dataclass(slots=True)
class Order:
    """One order. `extras` are the texts of a request that only come back (takeProfit, smpType, ...)."""

    number: int
    category: str
    symbol: str
    order_id: str
    link_id: str
    side: str
    order_type: str
    price: Decimal
    qty: Decimal
    time_in_force: str
    position_idx: int
    reduce_only: bool
    created_ms: int
    updated_ms: int
    created_price: Decimal
    extras: dict[str, Any] = field(default_factory=dict)
    status: str = "New"
    cancel_type: str = "UNKNOWN"
    reject_reason: str = "EC_NoError"
    cum_qty: Decimal = ZERO
    cum_value: Decimal = ZERO
    cum_fee: Decimal = ZERO
    closed_pnl: Decimal = ZERO
    fee_coin: str = ""
    reserve: tuple[str, Decimal] = ("", ZERO)
    is_counted: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the order can still trade."""
        return self.status in OPEN

    @property
    def is_buy(self) -> bool:
        """Whether the order buys."""
        return self.side == "Buy"

    @property
    def leaves(self) -> Decimal:
        """The quantity still to be traded; zero once the order is closed."""
        return self.qty - self.cum_qty if self.is_open else ZERO


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill."""

    number: int
    order: Order
    exec_id: str
    price: Decimal
    qty: Decimal
    value: Decimal
    fee: Decimal
    fee_rate: Decimal
    leaves: Decimal
    closed_size: Decimal
    pnl: Decimal
    is_maker: bool
    time_ms: int
    seq: int


@dataclass(slots=True)
class Position:
    """`size` is negative for a short one."""

    category: str
    symbol: str
    idx: int
    created_ms: int
    updated_ms: int
    size: Decimal = ZERO
    average: Decimal = ZERO
    current_realised: Decimal = ZERO
    total_realised: Decimal = ZERO
    seq: int = -1
    stops: dict[str, str] = field(default_factory=dict)
    auto_add_margin: int = 0

    @property
    def side(self) -> str:
        """The side of the position; empty when flat."""
        return "Buy" if self.size > 0 else "Sell" if self.size < 0 else ""

    def value_at(self, price: Decimal) -> Decimal:
        """The value of the position at a price, in the settle coin."""
        return value_of(self.category, abs(self.size), price)

    def pnl_at(self, price: Decimal, size: Decimal | None = None) -> Decimal:
        """The signed profit of `size` (default: all of it) at a price, in the settle coin."""
        size = self.size if size is None else size
        if not size or not self.average:
            return ZERO
        if self.category == "inverse":
            return size * (1 / self.average - 1 / price)
        return size * (price - self.average)

    def trade(self, signed_qty: Decimal, price: Decimal) -> tuple[Decimal, Decimal]:
        """Apply a fill; returns the size it closed and the profit of that."""
        closed = ZERO
        if self.size and (self.size > 0) != (signed_qty > 0):
            closed = min(abs(self.size), abs(signed_qty))
        sign = 1 if self.size > 0 else -1
        pnl = self.pnl_at(price, closed * sign) if closed else ZERO
        opened = abs(signed_qty) - closed
        if opened and not closed:
            self.average = self._average_with(opened, price)
        elif opened:
            self.average = price
        self.size += signed_qty
        if not self.size:
            self.average = ZERO
        self.current_realised += pnl
        self.total_realised += pnl
        return closed, pnl

    def _average_with(self, opened: Decimal, price: Decimal) -> Decimal:
        held = abs(self.size)
        if self.category == "inverse" and held:
            return (held + opened) / (held / self.average + opened / price)
        return (held * self.average + opened * price) / (held + opened)


def value_of(category: str, qty: Decimal, price: Decimal) -> Decimal:
    """The value of a trade in quote currency; in base coin for inverse contracts."""
    return qty / price if category == "inverse" else qty * price


class Account:
    """The account of one UID."""

    def __init__(self, uid: int, balances: dict[str, str]) -> None:
        self.uid = uid
        self.balances: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.set_balances(balances)
        self.reserved: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.realised: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.orders: list[Order] = []
        self.by_id: dict[str, Order] = {}
        self.by_link: dict[str, Order] = {}
        self.open_orders: dict[str, Order] = {}
        self.executions: list[Execution] = []
        self.log: list[dict[str, Any]] = []
        self.positions: dict[tuple[str, str, int], Position] = {}
        self.leverages: dict[tuple[str, str], Decimal] = {}
        self.hedged: set[str] = set()
        self.margin_mode = "REGULAR_MARGIN"

    def set_balances(self, balances: dict[str, str]) -> None:
        """Replace the balances."""
        self.balances.clear()
        self.balances.update({coin: Decimal(amount) for coin, amount in balances.items()})

    def leverage(self, category: str, symbol: str) -> Decimal:
        """The leverage of a contract; 1 elsewhere."""
        return (
            self.leverages.get((category, symbol), FIRST_LEVERAGE) if category in ("linear", "inverse") else Decimal(1)
        )

    def position(self, category: str, symbol: str, idx: int, now_ms: int) -> Position:
        """The position of a symbol and side index, flat at first."""
        key = (category, symbol, idx)
        if key not in self.positions:
            self.positions[key] = Position(category, symbol, idx, now_ms, now_ms)
        return self.positions[key]

    def margin_of(self, position: Position) -> Decimal:
        """The initial margin of a position at its entry price."""
        if not position.size:
            return ZERO
        return position.value_at(position.average) / self.leverage(position.category, position.symbol)

    def position_margin(self, coin: str, settles: Any) -> Decimal:
        """The margin of all positions that settle in `coin`; `settles` returns the coin of a position."""
        return sum((self.margin_of(p) for p in self.positions.values() if p.size and settles(p) == coin), ZERO)

    def keep(self, order: Order) -> None:
        """Store a new order."""
        self.orders.append(order)
        self.by_id[order.order_id] = order
        if order.link_id:
            self.by_link[order.link_id] = order
        self.open_orders[order.order_id] = order

    def hold(self, order: Order, coin: str, amount: Decimal) -> None:
        """Reserve funds for an open order, replacing its earlier reservation."""
        self.reserved[order.reserve[0]] -= order.reserve[1]
        order.reserve = (coin, amount)
        self.reserved[coin] += amount

    def close(self, order: Order, status: str, now_ms: int) -> None:
        """Close an order: it trades no more."""
        self.hold(order, "", ZERO)
        order.status, order.updated_ms = status, now_ms
        self.open_orders.pop(order.order_id, None)


class Accounts:
    """All accounts by UID, made when first seen."""

    def __init__(self) -> None:
        self._accounts: dict[int, Account] = {}

    def of(self, uid: int) -> Account:
        """The account of a UID; the first call makes it, with its first balances."""
        if uid not in self._accounts:
            self._accounts[uid] = Account(uid, FIRST_BALANCES)
        return self._accounts[uid]

    def all(self) -> list[Account]:
        """All accounts that exist."""
        return list(self._accounts.values())
