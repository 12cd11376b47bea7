"""Rows of market data, REST's and the streams' alike. Pure. docs: market/*, websocket/public/*"""

from typing import Any, Generic

from pydantic import AliasChoices, Field, model_validator

from exchanges.bybit.client.model_base import Model, also
from exchanges.bybit.client.steps import N

KLINE_FIELDS = ("start", "open", "high", "low", "close", "volume", "turnover")


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
