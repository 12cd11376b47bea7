"""Toy's payloads as records of envelopes. Pure."""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from exchanges.records import BatchDecoder, number_of
from model.ports import RecordReader, Report
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


class Reader:
    """Records of trades, oldest first, or of tickers; all that is read is whole."""

    without_snapshot = 0

    def __init__(self, kind: str, report: Report, types: Collection[str]) -> None:
        self._trades = BatchDecoder(TradesMessage, "malformed_trades", report)
        self._tickers = BatchDecoder(TickerMessage, "malformed_ticker", report)
        self._is_trades, self._types = kind == "trades", types

    def __call__(self, payloads: Sequence[bytes]) -> dict[str, list[Record]]:
        """Take payloads in their order; returns records by data type."""
        if self._is_trades:
            read = [(_symbol(each.topic), row) for each in self._trades(payloads) for row in reversed(each.data)]
            trades = [{"symbol": symbol, **row} for symbol, row in read]
            return {"trades": trades} if trades else {}
        newest = {_symbol(each.topic): each.data for each in self._tickers(payloads)}
        made = {
            "ticker": [{"symbol": s, **{name: number_of(v) for name, v in row.items()}} for s, row in newest.items()],
            "price": [{"symbol": s, "price": number_of(row.get("last"))} for s, row in newest.items()],
        }
        return {name: records for name, records in made.items() if records and name in self._types}

    def mark_uncertain(self, symbols: Iterable[str] | None = None) -> None:
        """Ignore a loss: all is whole."""


def record_reader(kind: str, report: Report, types: Collection[str]) -> RecordReader | None:
    """A reader of a kind; None where it makes no record of `types`."""
    made = {"trades": {"trades"}, "ticker": {"ticker", "price"}}.get(kind, set())
    return None if made.isdisjoint(types) else Reader(kind, report, types)


def _symbol(topic: str) -> str:
    return topic.partition("@")[2]
