"""Bybit's rows as typed models, REST's and the streams' alike. Pure.

Fields have Bybit's names in snake_case. A field that is absent or "" is None; a field that is not listed is kept under
Bybit's name. Numbers are Decimal, or float in Ticker[float]. Built from the docs' and recorded answers: market/*,
order, position, account, websocket/public/*, websocket/private.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Generic, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from exchanges.bybit.client.names import camel
from exchanges.bybit.client.steps import N

KLINE_FIELDS = ("start", "open", "high", "low", "close", "volume", "turnover")


class Model(BaseModel, Generic[N]):
    """One row. Frozen; `from_api_response(row)` or `model_validate(row)` builds it."""

    model_config = ConfigDict(alias_generator=camel, populate_by_name=True, extra="allow", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_none(cls, row: Any) -> Any:
        return {name: None if value == "" else value for name, value in row.items()} if isinstance(row, dict) else row

    @classmethod
    def from_api_response(cls, row: Any) -> Self:
        """Build it from a row as Bybit sent it; raises pydantic.ValidationError."""
        return cls.model_validate(row)


def also(*names: str) -> Any:
    """A field that REST and the streams call by different names."""
    return Field(default=None, validation_alias=AliasChoices(*names))


def named_rows(message: Mapping[str, Any]) -> list[Any]:
    """The rows of a stream message: its data, as a list."""
    data = message.get("data", [])
    return data if isinstance(data, list) else [data]


class Ticker(Model[N], Generic[N]):
    """market/tickers and `tickers.*`; what a category does not have is None."""

    symbol: str
    last_price: N | None = None
    index_price: N | None = None
    mark_price: N | None = None
    prev_price_24h: N | None = None
    price_24h_pcnt: N | None = None
    high_price_24h: N | None = None
    low_price_24h: N | None = None
    prev_price_1h: N | None = None
    open_interest: N | None = None
    open_interest_value: N | None = None
    turnover_24h: N | None = None
    volume_24h: N | None = None
    funding_rate: N | None = None
    next_funding_time: int | None = None
    bid1_price: N | None = also("bid1Price", "bidPrice")
    bid1_size: N | None = also("bid1Size", "bidSize")
    ask1_price: N | None = also("ask1Price", "askPrice")
    ask1_size: N | None = also("ask1Size", "askSize")
    usd_index_price: N | None = None
    underlying_price: N | None = None
    delta: N | None = None
    gamma: N | None = None
    vega: N | None = None
    theta: N | None = None
    tick_direction: str | None = None


class OrderBook(Model[N], Generic[N]):
    """market/orderbook and `orderbook.*`: levels (price, size), best first; in a delta size 0 deletes."""

    symbol: str = Field(alias="s")
    bids: list[tuple[N, ...]] = Field(alias="b")
    asks: list[tuple[N, ...]] = Field(alias="a")
    update_id: int = Field(alias="u")
    seq: int | None = None
    ts: int | None = None
    cts: int | None = None


class Kline(Model[N], Generic[N]):
    """market/kline, its mark, index and premium kin (no volume), and `kline.*`; `start` in ms."""

    start: int
    open: N
    high: N
    low: N
    close: N
    volume: N | None = None
    turnover: N | None = None
    end: int | None = None
    interval: str | None = None
    confirm: bool | None = None
    timestamp: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, row: Any) -> Any:
        return dict(zip(KLINE_FIELDS, row, strict=False)) if isinstance(row, list | tuple) else row


class Trade(Model[N], Generic[N]):
    """market/recent-trade and `publicTrade.*`; `side` is the taker's."""

    exec_id: str | None = also("execId", "i")
    symbol: str | None = also("symbol", "s")
    price: N = Field(validation_alias=AliasChoices("price", "p"))
    size: N = Field(validation_alias=AliasChoices("size", "v"))
    side: str | None = also("side", "S")
    time: int = Field(validation_alias=AliasChoices("time", "T"))
    is_block_trade: bool | None = also("isBlockTrade", "BT")
    is_rpi_trade: bool | None = also("isRPITrade", "RPI")
    seq: int | None = None


class PriceFilter(Model[N], Generic[N]):
    """An instrument's prices."""

    min_price: N | None = None
    max_price: N | None = None
    tick_size: N


class LotSizeFilter(Model[N], Generic[N]):
    """An instrument's quantities; spot has precisions where the others have a step."""

    min_order_qty: N | None = None
    max_order_qty: N | None = None
    qty_step: N | None = None
    base_precision: N | None = None
    quote_precision: N | None = None
    min_notional_value: N | None = None
    min_order_amt: N | None = None
    max_order_amt: N | None = None


class LeverageFilter(Model[N], Generic[N]):
    """An instrument's leverage."""

    min_leverage: N | None = None
    max_leverage: N | None = None
    leverage_step: N | None = None


class Instrument(Model[N], Generic[N]):
    """market/instruments-info; times in ms, `funding_interval` in minutes."""

    symbol: str
    status: str | None = None
    contract_type: str | None = None
    base_coin: str | None = None
    quote_coin: str | None = None
    settle_coin: str | None = None
    options_type: str | None = None
    launch_time: int | None = None
    delivery_time: int | None = None
    price_scale: int | None = None
    funding_interval: int | None = None
    price_filter: PriceFilter[N]
    lot_size_filter: LotSizeFilter[N]
    leverage_filter: LeverageFilter[N] | None = None


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
