"""The newest price and ticker of a symbol, for a program that asks when it needs them: STORAGE_ENABLED=true.

python -m examples.redis_newest
"""

import json
from decimal import Decimal

import redis

client = redis.Redis(port=6379, decode_responses=True)
coin = client.hgetall("bybit_futures:BTC")
print(coin["original_symbol"], coin["ltp"], coin["timestamp"])
ticker = json.loads(client.hget("bybit-streamer:tickers:linear", "BTCUSDT") or "{}", parse_float=Decimal)
print(ticker["symbol"], ticker["lastPrice"], ticker["fundingRate"])
