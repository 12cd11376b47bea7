"""Candles of many days from Parquet files, by pandas; DuckDB and Polars read the same files: prices are exact decimals.

python -m examples.parquet_pandas
"""

import pandas as pd

candles = pd.read_parquet("output/parquet/bybit/linear/klines")
candles = candles[candles["complete"]].sort_values(["symbol", "timestamp"])
print(candles.groupby("symbol")["close"].agg(["count", "min", "max"]))
