"""ccxt as it is, on the collector instead of the exchange: candles and the price by REST.

python -m examples.bot_ccxt
"""

from typing import Any

import ccxt

client: Any = ccxt.bybit()
client.urls["api"] |= dict.fromkeys(("spot", "futures", "v2", "public"), "http://127.0.0.1:9500")
for start, *values, volume in client.fetch_ohlcv("BTC/USDT:USDT", "1m", limit=5):
    print(start, *values, volume)
print("last:", client.fetch_ticker("BTC/USDT:USDT")["last"])
