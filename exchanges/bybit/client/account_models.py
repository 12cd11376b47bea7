"""Rows of an account, REST's and the private streams' alike. Pure. docs: order, position, account, websocket/private"""

from typing import Annotated, Generic

from pydantic import Field

from exchanges.bybit.client.model_base import Model, also
from exchanges.bybit.client.steps import N


class Position(Model[N], Generic[N]):
    """position/list and the position stream; `avg_price` is the entry price under either of its names."""

    symbol: str
    side: str | None = None
    size: N | None = None
    category: str | None = None
    position_idx: int | None = None
    avg_price: N | None = also("avgPrice", "entryPrice")
    mark_price: N | None = None
    position_value: N | None = None
    leverage: N | None = None
    liq_price: N | None = None
    take_profit: N | None = None
    stop_loss: N | None = None
    trailing_stop: N | None = None
    unrealised_pnl: N | None = None
    cur_realised_pnl: N | None = None
    cum_realised_pnl: N | None = None
    position_im: N | None = also("positionIM")
    position_mm: N | None = also("positionMM")
    position_status: str | None = None
    risk_id: int | None = None
    risk_limit_value: N | None = None
    created_time: int | None = None
    updated_time: int | None = None
    seq: int | None = None


class Order(Model[N], Generic[N]):
    """order/realtime, order/history and the order stream; of order/create only the two ids."""

    order_id: str | None = None
    order_link_id: str | None = None
    category: str | None = None
    symbol: str | None = None
    side: str | None = None
    order_type: str | None = None
    order_status: str | None = None
    price: N | None = None
    qty: N | None = None
    avg_price: N | None = None
    leaves_qty: N | None = None
    cum_exec_qty: N | None = None
    cum_exec_value: N | None = None
    cum_exec_fee: N | None = None
    time_in_force: str | None = None
    reduce_only: bool | None = None
    close_on_trigger: bool | None = None
    position_idx: int | None = None
    trigger_price: N | None = None
    take_profit: N | None = None
    stop_loss: N | None = None
    stop_order_type: str | None = None
    reject_reason: str | None = None
    cancel_type: str | None = None
    created_time: int | None = None
    updated_time: int | None = None


class Execution(Model[N], Generic[N]):
    """execution/list, the execution stream and the fast one."""

    exec_id: str
    symbol: str
    order_id: str | None = None
    order_link_id: str | None = None
    category: str | None = None
    side: str | None = None
    exec_price: N
    exec_qty: N
    exec_value: N | None = None
    exec_fee: N | None = None
    fee_rate: N | None = None
    exec_type: str | None = None
    exec_time: int
    is_maker: bool | None = None
    order_price: N | None = None
    order_qty: N | None = None
    leaves_qty: N | None = None
    closed_size: N | None = None
    exec_pnl: N | None = None
    seq: int | None = None


class CoinBalance(Model[N], Generic[N]):
    """One coin of a wallet."""

    coin: str
    equity: N | None = None
    usd_value: N | None = None
    wallet_balance: N | None = None
    locked: N | None = None
    borrow_amount: N | None = None
    accrued_interest: N | None = None
    unrealised_pnl: N | None = None
    cum_realised_pnl: N | None = None
    total_order_im: N | None = also("totalOrderIM")
    total_position_im: N | None = also("totalPositionIM")
    total_position_mm: N | None = also("totalPositionMM")


class Wallet(Model[N], Generic[N]):
    """account/wallet-balance and the wallet stream."""

    account_type: str | None = None
    total_equity: N | None = None
    total_wallet_balance: N | None = None
    total_margin_balance: N | None = None
    total_available_balance: N | None = None
    total_perp_upl: N | None = also("totalPerpUPL")
    total_initial_margin: N | None = None
    total_maintenance_margin: N | None = None
    account_im_rate: N | None = also("accountIMRate")
    account_mm_rate: N | None = also("accountMMRate")
    coin: Annotated[list[CoinBalance[N]], Field(default_factory=list)]

    def balance(self, coin: str) -> CoinBalance[N] | None:
        """One coin's row; None where the account has none of it."""
        return next((row for row in self.coin if row.coin == coin), None)
