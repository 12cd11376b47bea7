"""Bybit's tickers and trades as records. Pure.

Linear and inverse tickers begin with a snapshot and then bring what changed; spot sends snapshots. Documentation pages:
websocket/public/trade, websocket/public/ticker.
"""

import msgspec

from exchanges.records import Records
from model.records import Record

TRADE_NAMES = {  # fields of a trade by what exchanges have in common
    "symbol": "s", "timestamp": "T", "side": "S", "price": "p", "size": "v", "tick_direction": "L", "trade_id": "i",
    "block_trade": "BT", "rpi": "RPI",
}  # fmt: skip


class TickerMessage(msgspec.Struct, gc=False):
    """A tickers message; `data` holds all fields (snapshot) or those that changed (delta)."""

    topic: str
    data: Record
    type: str = "snapshot"


RECORDS = Records(
    tickers=TickerMessage,
    symbol_of=lambda message: message.topic.rpartition(".")[2],
    price="lastPrice",
    texts=frozenset({"symbol", "tickDirection", "curPreListingPhase", "deliveryTime"}),
    merges=True,
)
