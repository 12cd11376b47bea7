"""Daily highs and lows of what was collected, by pandas from the store.

python -m examples.store_pandas
"""

import sqlite3
from contextlib import closing

import pandas as pd

with closing(sqlite3.connect("file:output/store/bybit_linear.sqlite?mode=ro", uri=True)) as store:
    sql = "SELECT symbol, start_ms, high, low FROM candles WHERE step_ms = 60000 AND complete"
    candles = pd.read_sql(sql, store).astype({"high": float, "low": float})
candles["day"] = pd.to_datetime(candles["start_ms"], unit="ms", utc=True).dt.date
print(candles.groupby(["symbol", "day"]).agg({"high": "max", "low": "min"}))
