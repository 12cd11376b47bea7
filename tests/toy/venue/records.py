"""Toy's payloads as records of envelopes. Pure."""

import msgspec

from exchanges.records import Records
from model.records import Record

TRADE_NAMES = {"timestamp": "T", "price": "p", "size": "q"}  # in common
TICKER_NAMES = {"lastPrice": "last"}


class TradesMessage(msgspec.Struct, gc=False):
    """Trades of one symbol, the newest first."""

    topic: str
    data: list[Record]


class TickerMessage(msgspec.Struct, gc=False):
    """A whole ticker."""

    topic: str
    data: Record


def symbol_of(message: TradesMessage | TickerMessage) -> str:
    """The symbol, which the topic alone has."""
    return message.topic.partition("@")[2]


RECORDS = Records(
    tickers=TickerMessage,
    price="last",
    texts=frozenset(),
    symbol_of=symbol_of,
    trades=TradesMessage,
    trade_symbol_of=symbol_of,
    newest_first=True,
)
