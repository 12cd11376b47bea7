"""Short programs with `client.data`: history as DataFrames, live candles, order books."""

from decimal import Decimal
from typing import assert_type

import pandas as pd

from exchanges.bybit import BybitClient
from exchanges.bybit.client.dispatch import Subscription
from exchanges.bybit.client.models import OrderBook


def averages(client: BybitClient) -> pd.DataFrame:
    """A year of days with two moving averages."""
    btc_data = client.data.fetch_historical_klines(
        symbol="BTCUSDT", interval="1d", start_time="2023-01-01", end_time="2023-12-31"
    )
    assert_type(btc_data, pd.DataFrame)
    btc_data["sma_20"] = btc_data["close"].rolling(window=20).mean()
    btc_data["sma_50"] = btc_data["close"].rolling(window=50).mean()
    return btc_data


def follow(client: BybitClient, seen: list[float]) -> Subscription:
    """The close of every candle that ends."""

    def on_kline_update(kline_df: pd.DataFrame) -> None:
        latest_candle = kline_df.iloc[0]
        if latest_candle["confirm"] or not seen:
            seen.append(float(latest_candle["close"]))

    return client.data.start_klines_stream("BTCUSDT", "1m", callback=on_kline_update)


def middle(client: BybitClient) -> Decimal:
    """Between the best bid and the best ask of the local book."""
    book = client.data.get_current_orderbook("BTCUSDT")
    assert_type(book, OrderBook[Decimal])
    return (book.bids[0][0] + book.asks[0][0]) / 2


def imbalance(client: BybitClient[float]) -> float:
    """More bids than asks within ten dollars' steps: above 0."""
    sides = client.data.get_aggregated_orderbook("BTCUSDT", 5, step=10)
    bids, asks = float(sides["bid_size"].sum()), float(sides["ask_size"].sum())
    return (bids - asks) / (bids + asks)
