"""Gate's tickers and trades as records. Pure. Tickers of futures may lack fields: they are merged.

Documentation pages: spot.tickers, futures.tickers, spot.trades, futures.trades.
"""

from typing import Any

import msgspec

from exchanges.records import Records
from model.records import Record

PAIR, CONTRACT = "currency_pair", "contract"
TRADE_NAMES = {"timestamp": "create_time_ms", "price": "price", "size": "amount", "trade_id": "id"}
TICKER_NAMES = {
    "lastPrice": "last", "highPrice24h": "high_24h", "lowPrice24h": "low_24h", "bid1Price": "highest_bid",
    "ask1Price": "lowest_ask",
}  # fmt: skip


class One(msgspec.Struct, gc=False):
    """A message of one object."""

    data: Record = msgspec.field(name="result")


class Trades(msgspec.Struct, gc=False):
    """A message of trades of futures."""

    data: list[Record] = msgspec.field(name="result")


class Tickers(msgspec.Struct, gc=False):
    """A message of tickers of futures; it was one object in 2022, a list of lists in 2021."""

    data: list[list[Record] | Record] | Record = msgspec.field(name="result")
    type = ""

    def __post_init__(self) -> None:
        """Make one list of them."""
        data: Any = self.data if isinstance(self.data, list) else [self.data]
        self.data = data[0] if data and isinstance(data[0], list) else data


def _head(trade: Record) -> Record:
    """The side, which the sign of the size is, and the size without it, as spot calls them."""
    size = str(trade.get("size", ""))
    return {"side": "sell" if size.startswith("-") else "buy", "amount": size.removeprefix("-")}


RECORDS = {
    "spot": Records(One, "last", frozenset({PAIR}), symbol=PAIR, trades=One, trade_symbol=PAIR),
    "linear": Records(
        *(Tickers, "last", frozenset({CONTRACT}), CONTRACT),
        merges=True,
        needs_whole=False,
        trades=Trades,
        trade_symbol=CONTRACT,
        trade_head=_head,
    ),
}
