"""Candles from the collector's store, a SQLite file, while it is written: prices are exact texts.

python -m examples.store_sqlite
"""

import sqlite3
from contextlib import closing

with closing(sqlite3.connect("file:output/store/bybit_linear.sqlite?mode=ro", uri=True)) as store:
    rows = store.execute("SELECT symbol, start_ms, close, complete FROM candles ORDER BY start_ms DESC LIMIT 5")
    for symbol, start_ms, close, complete in rows:
        print(symbol, start_ms, close, bool(complete))
    for (record,) in store.execute("SELECT record FROM journal ORDER BY id DESC LIMIT 3"):
        print(record)
