"""pybit as it is, on the collector in the exchange's place: REST, and with WEBSOCKET_EXCHANGE_PATHS=open WebSocket.

python -m examples.bot_pybit
"""

import pybit.unified_trading

session = pybit.unified_trading.HTTP()
session.endpoint = "http://127.0.0.1:9500"
candles = session.get_kline(category="linear", symbol="BTCUSDT", interval=1, limit=3)["result"]["list"]
print("closed:", candles[1][0], candles[1][4], flush=True)

pybit.unified_trading.PUBLIC_WSS = "ws://127.0.0.1:9500/v5/public/{CHANNEL_TYPE}"
socket = pybit.unified_trading.WebSocket(testnet=False, channel_type="linear")
socket.kline_stream(interval=1, symbol="BTCUSDT", callback=lambda message: print("open:", message, flush=True))
input("Enter ends it.\n")
