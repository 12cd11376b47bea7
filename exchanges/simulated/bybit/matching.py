"""Order matching: filled at once, rested until the price comes, triggered, ended.

Event loop thread only. Every change goes to `push`. Fills are whole: the size is always there. A fill on arrival
pays the taker's fee at best bid or ask, a later one the maker's at the order's own price.
"""

import heapq
import uuid
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ..market import Market
from ..symbol_market import SymbolMarket
from . import order_rows
from .accounts import FEES, FEES_OTHERS, ZERO, Account, Execution, Order, Position, value_of

Push = Callable[[Account, str, str, Callable[[], dict[str, Any]]], None]  # topic, category, the row's maker
Entry = tuple[Decimal, int, Account, Order]  # price (negated for bids), age


class Resting:
    """One symbol's resting orders; closed and amended ones are dropped when they come up."""

    def __init__(self) -> None:
        self.bids: list[Entry] = []
        self.asks: list[Entry] = []
        self.waiting: list[tuple[Account, Order]] = []
        self.seen_mid = -1
        self._added = 0

    def add(self, account: Account, order: Order) -> None:
        """Add an order behind older ones of the same price."""
        self._added += 1
        entry = (-order.price if order.is_buy else order.price, self._added, account, order)
        heapq.heappush(self.bids if order.is_buy else self.asks, entry)

    def reached(self, bid: Decimal, ask: Decimal) -> list[tuple[Account, Order]]:
        """Take out the orders that trade at these prices."""
        found = []
        for heap, limit in ((self.bids, -ask), (self.asks, bid)):
            while heap and heap[0][0] <= limit:
                price, _, account, order = heapq.heappop(heap)
                if order.is_open and abs(price) == order.price:
                    found.append((account, order))
        return found


class Matching:
    """Orders of all accounts against the simulated price. `active` counts open ones by (uid, category, symbol)."""

    def __init__(self, market: Market, now_ms: Callable[[], int], push: Push) -> None:
        self.market, self._now_ms, self._push = market, now_ms, push
        self.active: Counter[tuple[int, str, str]] = Counter()
        self._resting: dict[tuple[str, str], Resting] = {}
        self._number = 0

    # prices and coins

    def price_of(self, category: str, name: str) -> Decimal:
        """The last price; KeyError where it is not listed."""
        return Decimal(self.market.symbols[category, name].last_price())

    def best(self, symbol: SymbolMarket, is_buy: bool) -> Decimal:
        """The price a taker pays or gets."""
        return Decimal(symbol.price_text(symbol.mid + 1 if is_buy else symbol.mid))

    def settle_coin(self, category: str, name: str) -> str:
        """The settle coin of a contract, the quote coin of a pair."""
        instrument = self.market.symbols[category, name].instrument
        return instrument.base if category == "inverse" else instrument.quote

    def settles(self, position: Position) -> str:
        """The settle coin of a position."""
        return self.settle_coin(position.category, position.symbol)

    # orders

    def enter(self, account: Account, symbol: SymbolMarket, order: Order) -> None:
        """Enter an order: it trades now, rests, or ends, by its time in force."""
        best = self.best(symbol, order.is_buy)
        is_market = order.order_type == "Market"
        crosses = is_market or (order.price >= best if order.is_buy else order.price <= best)
        if crosses and order.time_in_force == "PostOnly":
            self.end(account, order, reason="EC_PostOnlyWillTakeLiquidity")
        elif crosses:
            self._fill(account, symbol, order, best, is_maker=False)
        elif order.time_in_force in ("IOC", "FOK"):
            self.end(account, order, reason="EC_NoImmediateQtyToFill")
        else:
            self._rest(account, order)

    def _book(self, order: Order) -> Resting:
        return self._resting.setdefault((order.category, order.symbol), Resting())

    def _rest(self, account: Account, order: Order) -> None:
        self._book(order).add(account, order)
        self._count(account, order)
        self.push_order(account, order)

    def wait(self, account: Account, order: Order) -> None:
        """Hold a conditional order until its trigger price."""
        order.status = "Untriggered"
        self._book(order).waiting.append((account, order))
        self._count(account, order)
        self.push_order(account, order)

    def _count(self, account: Account, order: Order) -> None:
        """Count an open order once, however often it is amended."""
        if not order.is_counted:
            order.is_counted = True
            self.active[account.uid, order.category, order.symbol] += 1

    def _close(self, account: Account, order: Order, status: str) -> None:
        account.close(order, status, self._now_ms())
        if order.is_counted:
            self.active[account.uid, order.category, order.symbol] -= 1

    def end(self, account: Account, order: Order, cancel_type: str = "UNKNOWN", reason: str = "EC_NoError") -> None:
        """End an order: cancelled by the user, or by its own terms."""
        order.cancel_type, order.reject_reason = cancel_type, reason
        is_partial = order.category == "spot" and order.cum_qty > 0
        self._close(account, order, "PartiallyFilledCanceled" if is_partial else "Cancelled")
        self.push_order(account, order)

    def run(self) -> None:
        """Fill and trigger what the price has reached since the last call."""
        for key, resting in self._resting.items():
            symbol = self.market.symbols[key]
            if symbol.mid == resting.seen_mid and not resting.waiting:
                continue
            resting.seen_mid = symbol.mid
            for account, order in resting.reached(self.best(symbol, False), self.best(symbol, True)):
                if order.is_open:  # an amended one may be listed twice
                    self._fill(account, symbol, order, order.price, is_maker=True)
            if resting.waiting:
                self._trigger(symbol, resting)

    def _trigger(self, symbol: SymbolMarket, resting: Resting) -> None:
        last, waiting = Decimal(symbol.last_price()), resting.waiting
        resting.waiting = []
        for account, order in waiting:
            trigger = Decimal(str(order.extras["triggerPrice"]))
            rises = int(order.extras.get("triggerDirection") or (1 if trigger >= order.created_price else 2)) == 1
            if not order.is_open:
                continue
            if (last >= trigger) if rises else (last <= trigger):
                order.status = "New"
                self.enter(account, symbol, order)
            else:
                resting.waiting.append((account, order))

    # fills

    def _fill(self, account: Account, symbol: SymbolMarket, order: Order, price: Decimal, is_maker: bool) -> None:
        self._number += 1
        now_ms, category, qty = self._now_ms(), order.category, order.qty - order.cum_qty
        value, rate = value_of(category, qty, price), FEES.get(category, FEES_OTHERS)[is_maker]
        if category == "spot":
            closed, pnl, fee = ZERO, ZERO, self._swap(account, symbol, order, qty, price, rate)
        else:
            fee = value * rate
            closed, pnl = self._position_trade(account, order, qty, price, fee)
        order.cum_qty, order.cum_value = order.cum_qty + qty, order.cum_value + value
        order.cum_fee, order.closed_pnl = order.cum_fee + fee, order.closed_pnl + pnl
        symbol.seq += 1
        execution = Execution(
            self._number, order, str(uuid.uuid4()), price, qty, value, fee, rate, ZERO, closed, pnl, is_maker,
            now_ms, symbol.seq,
        )  # fmt: skip
        self._close(account, order, "Filled")
        account.executions.append(execution)
        self._push(account, "execution", category, lambda: order_rows.execution_push(execution))
        self._push(account, "execution.fast", category, lambda: order_rows.fast_execution_push(execution))
        self.push_order(account, order)

    def _swap(
        self, account: Account, symbol: SymbolMarket, order: Order, qty: Decimal, price: Decimal, rate: Decimal
    ) -> Decimal:
        """Exchange one coin for the other; the fee is taken from the one that is bought."""
        base, quote = symbol.instrument.base, symbol.instrument.quote
        order.fee_coin = base if order.is_buy else quote
        fee = (qty if order.is_buy else qty * price) * rate
        sign = 1 if order.is_buy else -1
        self._change(account, order, price, base, sign * qty, fee if order.is_buy else ZERO)
        self._change(account, order, price, quote, -sign * qty * price, ZERO if order.is_buy else fee)
        return fee

    def _position_trade(
        self, account: Account, order: Order, qty: Decimal, price: Decimal, fee: Decimal
    ) -> tuple[Decimal, Decimal]:
        coin = order.fee_coin = self.settle_coin(order.category, order.symbol)
        now_ms = self._now_ms()
        position = account.position(order.category, order.symbol, order.position_idx, now_ms)
        closed, pnl = position.trade(qty if order.is_buy else -qty, price)
        position.current_realised -= fee
        position.total_realised -= fee
        position.updated_ms, position.seq = now_ms, self.market.symbols[order.category, order.symbol].seq
        account.realised[coin] += pnl - fee
        self._change(account, order, price, coin, pnl, fee, position.size)
        return closed, pnl

    def _change(
        self, account: Account, order: Order, price: Decimal, coin: str, flow: Decimal, fee: Decimal,
        size: Decimal = ZERO,
    ) -> None:  # fmt: skip
        """Change a balance and record it in the transaction log."""
        account.balances[coin] += flow - fee
        plain = order_rows.plain
        account.log.append({
            "id": f"{account.uid}_{order.symbol}_{len(account.log) + 1}", "symbol": order.symbol,
            "category": order.category, "side": order.side, "transactionTime": str(self._now_ms()), "type": "TRADE",
            "transSubType": "", "qty": format(order.qty, "f"), "size": format(size, "f"), "currency": coin,
            "tradePrice": format(price, "f"), "funding": "", "fee": plain(fee), "cashFlow": plain(flow),
            "change": plain(flow - fee), "cashBalance": plain(account.balances[coin]),
            "feeRate": format(FEES.get(order.category, FEES_OTHERS)[0], "f"), "bonusChange": "",
            "tradeId": str(uuid.uuid4()), "orderId": order.order_id, "orderLinkId": order.link_id, "extraFees": "",
        })  # fmt: skip

    # the private stream

    def push_order(self, account: Account, order: Order) -> None:
        """Push order, position and wallet: Bybit sends all three at every change, even where two stayed the same."""
        category = order.category
        position = account.positions.get((category, order.symbol, order.position_idx))
        if category != "spot" and position is not None:
            mark, held = self.price_of(category, order.symbol), position
            self._push(account, "position", category, lambda: order_rows.position_push(account, held, mark))
        self._push(account, "order", category, lambda: order_rows.order_push(order))
        self._push(account, "wallet", "", lambda: order_rows.wallet_row(account, self.price_of, self.settles))
