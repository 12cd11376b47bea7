"""Closed klines from Redis, as they close. A line for each: symbol, length, start, close, whether it is proven.

python -m examples.redis_klines
"""

import json
from decimal import Decimal

import redis

pubsub = redis.Redis(port=6379).pubsub(ignore_subscribe_messages=True)
pubsub.subscribe("stream:bybit_klines")
for message in pubsub.listen():
    for kline in json.loads(message["data"], parse_float=Decimal)["data"]:
        print(kline["symbol"], kline["interval"], kline["timestamp"], kline["close"], kline["complete"], flush=True)
