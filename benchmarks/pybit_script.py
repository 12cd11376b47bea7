"""A collector as one would write it: pybit callbacks, json.dumps, one publish per message, a thread per stream."""

import json
import os
import threading
import time
from typing import Any

import redis
from dotenv import load_dotenv
from pybit.unified_trading import WebSocket

load_dotenv()
CHANNEL_TYPE = "linear"
RECONNECT_DELAY = 2
r = redis.Redis.from_url(os.environ["REDIS_URL"])


class BybitWebSocket(WebSocket):  # type: ignore[misc]  # the benchmark's only addition: another address than Bybit's
    def _connect(self, url: str) -> None:
        super()._connect(os.getenv("BYBIT_WS_URL", url))


def handle_trades(message: dict[str, Any]) -> None:
    r.publish("stream:bybit_trades", json.dumps(message))


def handle_orderbook(message: dict[str, Any]) -> None:
    r.publish("stream:bybit_orderbook", json.dumps(message))


def handle_ticker(message: dict[str, Any]) -> None:
    r.publish("stream:bybit_ticker", json.dumps(message))


def handle_liquidations(message: dict[str, Any]) -> None:
    r.publish("stream:bybit_liquidations", json.dumps(message))


def connect() -> Any:
    return BybitWebSocket(testnet=False, channel_type=CHANNEL_TYPE)


STREAMS: list[dict[str, Any]] = []
for symbol in os.environ["SYMBOLS"].split(","):
    STREAMS += [
        {"func": lambda ws, s=symbol: ws.trade_stream(symbol=s, callback=handle_trades)},
        {"func": lambda ws, s=symbol: ws.orderbook_stream(depth=50, symbol=s, callback=handle_orderbook)},
        {"func": lambda ws, s=symbol: ws.ticker_stream(symbol=s, callback=handle_ticker)},
        {"func": lambda ws, s=symbol: ws.all_liquidation_stream(symbol=s, callback=handle_liquidations)},
    ]


def run(stream: dict[str, Any]) -> None:
    while True:
        try:
            ws = connect()
            stream["func"](ws)
            while ws.is_connected():
                time.sleep(1)
        except Exception as error:  # noqa: BLE001 - as such scripts do: whatever it was, connect again
            print("stream failed:", error)
        time.sleep(RECONNECT_DELAY)


for stream in STREAMS:
    threading.Thread(target=run, args=(stream,)).start()
