"""Binance's tickers and trades as records. Pure. Every ticker is whole.

Documentation pages: Trade Streams, Individual Symbol Ticker Streams.
"""

from exchanges.records import EventMessage, Records

TRADE_NAMES = {"symbol": "s", "timestamp": "T", "price": "p", "size": "q", "trade_id": "t"}  # as exchanges have them
TICKER_NAMES = {
    "lastPrice": "c", "highPrice24h": "h", "lowPrice24h": "l", "prevPrice24h": "o", "bid1Price": "b",
    "bid1Size": "B", "ask1Price": "a", "ask1Size": "A",
}  # fmt: skip

RECORDS = Records(
    tickers=EventMessage,
    symbol="s",
    price="c",
    texts=frozenset({"e", "s", "ps"}),
    trades=EventMessage,
)
