"""OKX's payloads as records of envelopes: trades as they are, tickers, prices out of tickers.

Pure; one thread. A payload that cannot be read costs only itself. Every message of the tickers channel is whole, so a
loss leaves nothing uncertain. Documentation pages: WebSocket, public channel, trades and tickers channels.
"""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

import msgspec

from exchanges.records import BatchDecoder, TradeReader, number_of
from model.ports import RecordReader, Report
from model.records import Record

TEXTS = frozenset({"instType", "instId"})  # fields that are no numbers
SYMBOL = "instId"
PRICE = "last"
TRADE_NAMES = {"timestamp": "ts", "price": "px", "size": "sz", "trade_id": "tradeId", "seq": "seqId"}  # in common
TICKER_NAMES = {
    "lastPrice": "last", "highPrice24h": "high24h", "lowPrice24h": "low24h", "prevPrice24h": "open24h",
    "bid1Price": "bidPx", "bid1Size": "bidSz", "ask1Price": "askPx", "ask1Size": "askSz",
}  # fmt: skip


class TickerMessage(msgspec.Struct, gc=False):
    """A message of the tickers channel; each of `data` has all fields of one symbol."""

    data: list[Record]


class TickerReader:
    """Turns payloads of one market into `ticker` and `price` records, one per symbol and batch: the newest.

    A ticker has the exchange's fields in its order behind `symbol`, without those that are null; numbers are int or
    Decimal, empty texts (nothing traded yet) stay.
    """

    without_snapshot = 0  # every message is whole

    def __init__(self, report: Report, *, tickers: bool = True, prices: bool = True) -> None:
        self._decode = BatchDecoder(TickerMessage, "malformed_ticker", report)
        self._report, self._tickers, self._prices = report, tickers, prices

    def __call__(self, payloads: Sequence[bytes]) -> dict[str, list[Record]]:
        """Take payloads in their order; returns records by data type. They are the caller's."""
        newest: dict[str, Record] = {}
        prices: dict[str, int | Decimal] = {}
        for message in self._decode(payloads):
            for row in message.data:
                symbol = row.get(SYMBOL)
                if not isinstance(symbol, str):
                    self._report("bad_ticker", repr(row).encode())
                    continue
                newest[symbol] = row
                if self._prices and isinstance(price := number_of(row.get(PRICE)), int | Decimal):
                    prices[symbol] = price
        records: dict[str, list[Record]] = {}
        if newest and self._tickers:
            records["ticker"] = [_ticker(symbol, row) for symbol, row in newest.items()]
        if prices:
            records["price"] = [{"symbol": symbol, "price": price} for symbol, price in prices.items()]
        return records

    def mark_uncertain(self, symbols: Iterable[str] | None = None) -> None:
        """Ignore a loss: the next message of a symbol is whole."""


def _ticker(symbol: str, row: Record) -> Record:
    given = ((name, value) for name, value in row.items() if value is not None)
    return {"symbol": symbol, **{name: value if name in TEXTS else number_of(value) for name, value in given}}


def record_reader(kind: str, report: Report, types: Collection[str]) -> RecordReader | None:
    """A reader of the payloads of one market and kind; None where they make no record of `types`.

    `types` are of ticker, price and trades. Prices come from tickers.
    """
    if kind == "ticker" and not {"ticker", "price"}.isdisjoint(types):
        return TickerReader(report, tickers="ticker" in types, prices="price" in types)
    if kind == "trades" and "trades" in types:
        return TradeReader(report, SYMBOL)
    return None
