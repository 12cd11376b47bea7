"""What happens to the data, as it happens: disconnects, gaps, repairs, outputs that are down.

python -m examples.redis_status
"""

import json

import redis

pubsub = redis.Redis(port=6379).pubsub(ignore_subscribe_messages=True)
pubsub.subscribe("stream:bybit_status")
for message in pubsub.listen():
    event = json.loads(message["data"])
    if event["event"] in ("gap", "disconnected", "sink_down"):
        print("not whole:", event["event"], event.get("kind"), event.get("symbols"), event.get("reason"), flush=True)
    elif event["event"] in ("repaired", "connected", "sink_up"):
        print("whole again:", event["event"], event.get("kind"), event.get("symbols"), event.get("how"), flush=True)
