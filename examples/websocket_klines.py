"""Klines of one symbol by WebSocket, the last closed one first: ENABLED_CONSUMERS=redis,websocket and a login.

python -m examples.websocket_klines
"""

import json

from websockets.sync.client import connect

with connect("ws://127.0.0.1:9500/") as socket:
    socket.send(json.dumps({"user": "bot", "key": "secret", "subscribe": ["kline.1m.BTCUSDT"], "last_closed": True}))
    for text in socket:
        message = json.loads(text)
        for kline in message.get("data", ()):
            print(kline["symbol"], kline["timestamp"], kline["close"], kline["complete"], flush=True)
        if not message.get("data"):
            print("answer:", text, flush=True)
