"""What Bybit's rows are, typed, REST's and the streams' alike.

Fields have Bybit's names in snake_case. A field that is absent or "" is None; a field that is not listed is kept under
Bybit's name. Numbers are Decimal, or float in Ticker[float]. Built from the docs' and recorded answers.
"""

from exchanges.bybit.client.account_models import CoinBalance, Execution, Order, Position, Wallet
from exchanges.bybit.client.market_models import (
    Instrument,
    Kline,
    LeverageFilter,
    LotSizeFilter,
    OrderBook,
    PriceFilter,
    Ticker,
    Trade,
)
from exchanges.bybit.client.model_base import Model, named_rows

__all__ = [
    "CoinBalance",
    "Execution",
    "Instrument",
    "Kline",
    "LeverageFilter",
    "LotSizeFilter",
    "Model",
    "Order",
    "OrderBook",
    "Position",
    "PriceFilter",
    "Ticker",
    "Trade",
    "Wallet",
    "named_rows",
]
