"""`client.data`: history as DataFrames with a cache, live prices and books. Needs requirements-client.txt.

Blocks the calling thread; callbacks run on the streams' threads. Thread safe, and the cache is safe for several
processes. Writes nothing but its folder.
"""

import os
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic

import structlog

from exchanges.bybit.client.errors import MissingLibraryError

try:
    import pandas as pd

    from exchanges.bybit.client.data_frames import load, save, stream_frame
    from exchanges.bybit.client.history import History
except ModuleNotFoundError as error:
    if (error.name or "").startswith("exchanges"):
        raise
    text = f"client.data needs {error.name}: python -m pip install -r requirements-client.txt"
    raise MissingLibraryError(text) from error

from exchanges.bybit.client.base_client import BaseClient
from exchanges.bybit.client.book import grouped
from exchanges.bybit.client.cache import Series
from exchanges.bybit.client.data_live import BOOK_DEPTH, Live
from exchanges.bybit.client.dispatch import Message, Subscription, on_running_loop
from exchanges.bybit.client.errors import BadAnswerError, RequestError
from exchanges.bybit.client.market import interval_name
from exchanges.bybit.client.models import OrderBook
from exchanges.bybit.client.steps import N, Sync
from exchanges.bybit.client.times import When, to_ms
from exchanges.bybit.client.values import decimal_of, text_of, whole_number
from model.symbols import canonical

log = structlog.get_logger()


def cache_folder() -> Path:
    """The folder of the candle cache where no `data_dir` is given."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "bybit-client"


class DataService(Generic[N]):
    """Candle history, live prices and order books of one client."""

    def __init__(self, client: BaseClient[Sync, N], data_dir: str | Path | None = None) -> None:
        """`data_dir` is made when the first candle is kept."""
        self._client = client
        self.history = History(client, Path(data_dir).expanduser() if data_dir else cache_folder())
        self.live: Live[N] = Live(client)

    # history

    def fetch_historical_klines(
        self,
        symbol: str,
        interval: str | int,
        start_time: When,
        end_time: When | None = None,
        use_cache: bool = True,
        *,
        category: str = "linear",
        progress: bool | None = None,
    ) -> pd.DataFrame:
        """Candles with start_time <= their start < end_time (now), oldest first, none missing and none twice.

        The index is their start, a DatetimeIndex in UTC; columns open, high, low, close, volume, turnover are float64.
        The DataFrame is the caller's. Intervals as everywhere: "1h" or "60". The open candle is there where the end
        reaches over it, and is never cached. Before the listing there is nothing. `progress` True or False instead of
        "on a terminal, after a second". Raises BybitError.
        """
        series = Series(text_of(category, "category"), text_of(symbol, "symbol"), interval_name(interval))
        end_ms = self._client.connection.now_ms() if end_time is None else to_ms(end_time, "end_time")
        span = (to_ms(start_time, "start_time"), end_ms)
        candles = self.history.candles(series, span, use_cache=use_cache, show=progress)
        return candles.frame()

    def save_klines(self, frame: pd.DataFrame, path: str | Path) -> Path:
        """Write a DataFrame to .parquet or .csv, whole or not at all."""
        return save(frame, path)

    def load_klines(self, path: str | Path) -> pd.DataFrame:
        """Read what `save_klines` wrote."""
        return load(path)

    # streams

    def start_ticker_stream(
        self,
        symbol: str | Sequence[str],
        callback: Callable[[dict[str, Any]], object] | None = None,
        *,
        category: str = "linear",
    ) -> Subscription:
        """Call back with the whole ticker, Bybit's dict, at every change; `get_current_price` uses the stream too."""
        call_back = on_running_loop(callback) if callback else None

        def take(message: Message) -> None:
            self.live.take_ticker((category, message["data"]["symbol"]), message)
            if call_back is not None:
                call_back(message["data"])

        return self.live.keep(self._client.websocket.subscribe_to_ticker(symbol, take, category=category))

    def start_klines_stream(
        self,
        symbol: str | Sequence[str],
        interval: str | int,
        callback: Callable[[pd.DataFrame], object],
        *,
        category: str = "linear",
    ) -> Subscription:
        """Call back with a DataFrame of one row, as fetch_historical_klines has them and `confirm`: closed or open."""
        call_back = on_running_loop(callback)

        def take(message: Message) -> None:
            for row in message["data"]:
                try:
                    frame = stream_frame(row)
                except BadAnswerError as error:
                    log.warning("kline_rows_odd", topic=message.get("topic"), error=str(error))
                else:
                    call_back(frame)

        streams = self._client.websocket
        return self.live.keep(streams.subscribe_to_klines(symbol, interval, take, category=category))

    def stop_streams(self) -> None:
        """Cancel the subscriptions that this service made."""
        self.live.stop()

    # now

    def get_current_price(self, symbol: str, *, category: str = "linear") -> N:
        """The last price: the stream's where one runs and sent data within 5 s, else REST's."""
        return self.live.price((category, canonical(text_of(symbol, "symbol"))))

    def get_current_orderbook(self, symbol: str, depth: int = 50, *, category: str = "linear") -> OrderBook[N]:
        """The order book, best first, at most 200 levels a side. The first call starts a stream for the symbol.

        From then on it is a local book, checked by `u`; while that is unknown or silent, REST answers.
        """
        return self.live.book((category, canonical(text_of(symbol, "symbol"))), _depth(depth))

    def get_aggregated_orderbook(
        self, symbol: str, depth: int = 10, *, step: float | str | Decimal | None = None, category: str = "linear"
    ) -> pd.DataFrame:
        """Both sides as columns bid_price, bid_size, bid_cumulative, ask_price, ask_size, ask_cumulative, float64.

        With `step` the sizes within each step of the price are summed up: bids at its lower, asks at its upper end.
        Where one side has fewer rows the rest is NaN. It reaches as far as 200 levels do.
        """
        rows, width = _depth(depth), None if step is None else decimal_of(step, "step")
        if width is not None and width <= 0:
            raise RequestError(f"step {step}: above 0")
        book = self.get_current_orderbook(symbol, BOOK_DEPTH, category=category)
        sides = (("bid", book.bids), ("ask", book.asks))
        return pd.concat([_side(name, levels, rows, width) for name, levels in sides], axis=1)


def _depth(depth: Any) -> int:
    count = whole_number(depth, "depth")
    if not 1 <= count <= BOOK_DEPTH:
        raise RequestError(f"depth {count}: 1 to {BOOK_DEPTH}")
    return count


def _side(name: str, levels: Sequence[Sequence[Any]], depth: int, step: Decimal | None) -> pd.DataFrame:
    rows = levels if step is None else grouped(levels, step, is_bid=name == "bid")
    side = pd.DataFrame(
        [(float(price), float(size)) for price, size in rows[:depth]],
        columns=[f"{name}_price", f"{name}_size"],
        dtype="float64",
    )
    side[f"{name}_cumulative"] = side[f"{name}_size"].cumsum()
    return side
