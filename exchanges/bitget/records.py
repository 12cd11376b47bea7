"""Bitget's tickers and trades as records. Pure. Every ticker is whole (docs: ticker and public trade channels)."""

from typing import Any

import msgspec

from exchanges.bitget.trades import Arg
from exchanges.records import Records, RowsMessage

TRADE_NAMES = {"timestamp": "ts", "side": "side", "price": "price", "size": "size", "trade_id": "tradeId"}  # in common
TICKER_NAMES = {
    "lastPrice": "lastPr", "highPrice24h": "high24h", "lowPrice24h": "low24h", "prevPrice24h": "open24h",
    "price24hPcnt": "change24h", "volume24h": "baseVolume", "turnover24h": "quoteVolume", "bid1Price": "bidPr",
    "bid1Size": "bidSz", "ask1Price": "askPr", "ask1Size": "askSz",
}  # fmt: skip


class TradesMessage(msgspec.Struct, gc=False):
    """A message of trades of the symbol that its arg names."""

    arg: Arg
    data: list[Any]


RECORDS = Records(
    tickers=RowsMessage,
    symbol="instId",
    price="lastPr",
    texts=frozenset({"instId", "symbol"}),
    trades=TradesMessage,
    trade_symbol_of=lambda message: message.arg.instId,
    newest_first=True,
)
