"""BingX's tickers and trades as records. Pure. Every ticker is whole.

Documentation pages: swap and spot, WebSocket market data (24-hour price change, latest trade detail).
"""

import msgspec

from exchanges.records import EventMessage, Records
from model.records import Record

TRADE_NAMES = {"symbol": "s", "timestamp": "T", "price": "p", "size": "q"}  # in common; spot alone has an id, t
TICKER_NAMES = {
    "lastPrice": "c", "highPrice24h": "h", "lowPrice24h": "l", "prevPrice24h": "o", "bid1Price": "B",
    "bid1Size": "b", "ask1Price": "A", "ask1Size": "a",
}  # fmt: skip


class Ticker(msgspec.Struct, gc=False):
    """A message of a ticker; its topic says what it is of, for a recorded one names another symbol inside."""

    topic: str = msgspec.field(name="dataType")
    data: Record


def _symbol_of(message: Ticker) -> str:
    return message.topic.partition("@")[0]


_TEXTS = frozenset({"e", "s"})

RECORDS = {
    "linear": Records(Ticker, "c", _TEXTS, symbol_of=_symbol_of, trade_symbol="s", newest_first=True),
    "spot": Records(Ticker, "c", _TEXTS, symbol_of=_symbol_of, trades=EventMessage, trade_symbol="s"),
}
"""By market."""
