"""The last 500 candles as a DataFrame, at once; then those that close, without a hole or a double.

python -m examples.feed_klines
"""

from feed import Feed

feed = Feed()
candles = feed.klines("BTCUSDT", "1m", last=500)
print(candles.tail(3))
print(len(candles), "candles, mean close", candles["close"].mean(), flush=True)
for kline in feed.live(["BTCUSDT", "ETHUSDT"], "1m", last=1):
    print(kline.symbol, kline.timestamp, kline.close, kline.complete, flush=True)
