"""Klines from a Redis Stream, those that closed while nobody was there too: REDIS_STREAMS=true.

python -m examples.redis_catch_up
"""

import json
from typing import Any

import redis

client: Any = redis.Redis(port=6379, decode_responses=True)
last_id = "0"  # keep it over a restart, and go on behind it
while True:
    for _, entries in client.xread({"stream:bybit_klines": last_id}, block=1_000):
        for last_id, fields in entries:
            for kline in json.loads(fields["data"])["data"]:
                print(last_id, kline["symbol"], kline["timestamp"], kline["close"], flush=True)
