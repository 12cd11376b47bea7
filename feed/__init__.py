"""Read a running collector: candles as a DataFrame, candles as they close, order books, trades, tickers, events.

    from feed import Feed
    Feed().klines("BTCUSDT", "1m", last=500)

A folder that stands alone: it needs redis and msgspec, for order books, trades and ws:// addresses also websockets, and
takes pandas, polars or pyarrow where they are there. Importing it opens nothing. docs/FEED.md has the rest.
"""

from .client import Feed
from .live import LiveKlines
from .records import FeedError, Kline, NoHistoryError, UnknownSymbolError, UnreachableError
from .symbol import Best, Book, BookState, Trade, Trades
from .table import Table
from .tickers import Tickers

__all__ = [
    "Best",
    "Book",
    "BookState",
    "Feed",
    "FeedError",
    "Kline",
    "LiveKlines",
    "NoHistoryError",
    "Table",
    "Tickers",
    "Trade",
    "Trades",
    "UnknownSymbolError",
    "UnreachableError",
]
