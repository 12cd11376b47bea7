"""Binance's payloads as records of envelopes: trades and tickers as they are, prices out of tickers.

Pure; one thread. A payload that cannot be read costs only itself. Every ticker is whole: nothing is merged, and a loss
makes nothing uncertain. Documentation pages: Trade Streams, Individual Symbol Ticker Streams.
"""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

import msgspec

from exchanges.records import BatchDecoder, number_of
from model.ports import Report
from model.records import Record

PRICE = "c"
TRADE_NAMES = {"symbol": "s", "timestamp": "T", "price": "p", "size": "q", "trade_id": "t"}  # as exchanges have them
TICKER_NAMES = {
    "lastPrice": "c", "highPrice24h": "h", "lowPrice24h": "l", "prevPrice24h": "o", "bid1Price": "b",
    "bid1Size": "B", "ask1Price": "a", "ask1Size": "A",
}  # fmt: skip
TEXTS = frozenset({"e", "s", "ps"})  # fields that are no numbers


class EventMessage(msgspec.Struct, gc=False):
    """A message of a combined stream whose event is one object."""

    data: Record


class TradeReader:
    """Turns payloads of one market into `trades` records, in stream order; those that do not count are there too."""

    without_snapshot = 0  # trades need none

    def __init__(self, report: Report) -> None:
        self._decode = BatchDecoder(EventMessage, "malformed_trades", report)

    def __call__(self, payloads: Sequence[bytes]) -> dict[str, list[Record]]:
        """Take payloads in their order; returns records by data type. They are the caller's."""
        records = [message.data for message in self._decode(payloads)]
        return {"trades": records} if records else {}

    def mark_uncertain(self, symbols: Iterable[str] | None = None) -> None:
        """Ignore a loss: each trade stands for itself."""


class TickerReader:
    """Turns payloads of one market into `ticker` and `price` records, one per symbol and batch: the newest.

    Fields are the exchange's, in its order, without those that are null, behind `symbol`; numbers are int or Decimal.
    """

    without_snapshot = 0  # tickers are whole

    def __init__(self, report: Report, *, tickers: bool = True, prices: bool = True) -> None:
        self._decode, self._report = BatchDecoder(EventMessage, "malformed_ticker", report), report
        self._tickers, self._prices = tickers, prices

    def __call__(self, payloads: Sequence[bytes]) -> dict[str, list[Record]]:
        """Take payloads in their order; returns records by data type. They are the caller's."""
        newest: dict[str, Record] = {}
        prices: dict[str, int | Decimal] = {}
        for message in self._decode(payloads):
            symbol = message.data.get("s")
            if not isinstance(symbol, str):
                self._report("malformed_ticker", repr(message.data).encode())
                continue
            newest[symbol] = message.data
            if self._prices and isinstance(price := number_of(message.data.get(PRICE)), int | Decimal):
                prices[symbol] = price
        records: dict[str, list[Record]] = {}
        if self._tickers and newest:
            records["ticker"] = [_ticker(symbol, data) for symbol, data in newest.items()]
        if prices:
            records["price"] = [{"symbol": symbol, "price": price} for symbol, price in prices.items()]
        return records

    def mark_uncertain(self, symbols: Iterable[str] | None = None) -> None:
        """Ignore a loss: each ticker stands for itself."""


def _ticker(symbol: str, data: Record) -> Record:
    given = ((name, value) for name, value in data.items() if value is not None)
    return {"symbol": symbol, **{name: value if name in TEXTS else number_of(value) for name, value in given}}


def record_reader(kind: str, report: Report, types: Collection[str]) -> TickerReader | TradeReader | None:
    """A reader of the payloads of one market and kind; None where they make no record of `types`.

    `types` are of ticker, price and trades.
    """
    if kind == "ticker" and not {"ticker", "price"}.isdisjoint(types):
        return TickerReader(report, tickers="ticker" in types, prices="price" in types)
    if kind == "trades" and "trades" in types:
        return TradeReader(report)
    return None
