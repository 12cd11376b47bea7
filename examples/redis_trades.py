"""The exchange's own messages from Redis, byte for byte: here trades, by Bybit's names of their fields.

python -m examples.redis_trades
"""

import json

import redis

pubsub = redis.Redis(port=6379).pubsub(ignore_subscribe_messages=True)
pubsub.subscribe("stream:bybit_trades")
for message in pubsub.listen():
    for trade in json.loads(message["data"])["data"]:
        print(trade["s"], trade["S"], trade["p"], trade["v"], flush=True)
