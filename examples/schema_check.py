"""Every kline held against the collector's own schema, `python main.py schema`; any language has such a validator.

python -m examples.schema_check
"""

import json
import subprocess
import sys

import redis
from jsonschema import Draft7Validator

schema = json.loads(subprocess.check_output([sys.executable, "main.py", "schema"]))
klines = Draft7Validator({**schema, "allOf": [{"$ref": "#/components/schemas/KlinesEnvelope"}]})
pubsub = redis.Redis(port=6379).pubsub(ignore_subscribe_messages=True)
pubsub.subscribe("stream:bybit_klines")
for message in pubsub.listen():
    klines.validate(json.loads(message["data"]))
    print("as the schema says:", message["data"].decode(), flush=True)
