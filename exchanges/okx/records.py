"""OKX's tickers and trades as records. Pure. Every message of the tickers channel is whole.

Documentation pages: WebSocket, public channel, trades and tickers channels.
"""

from exchanges.records import Records, RowsMessage

SYMBOL = "instId"
TRADE_NAMES = {"timestamp": "ts", "price": "px", "size": "sz", "trade_id": "tradeId", "seq": "seqId"}  # in common
TICKER_NAMES = {
    "lastPrice": "last", "highPrice24h": "high24h", "lowPrice24h": "low24h", "prevPrice24h": "open24h",
    "bid1Price": "bidPx", "bid1Size": "bidSz", "ask1Price": "askPx", "ask1Size": "askSz",
}  # fmt: skip

RECORDS = Records(
    tickers=RowsMessage,
    symbol=SYMBOL,
    price="last",
    texts=frozenset({"instType", SYMBOL}),
    trade_symbol=SYMBOL,
)
