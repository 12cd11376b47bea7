"""Bybit's tickers payloads, merged: what every symbol's ticker and price are now.

Pure; one thread. Linear and inverse send a snapshot and then only what changed, spot sends snapshots. After a loss
what no message has confirmed since is named in the ticker itself. Documentation page: websocket/public/ticker.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from exchanges.bybit.decode import BatchDecoder
from exchanges.bybit.protocol import symbol_of
from model.ports import Report

TEXTS = frozenset({"symbol", "tickDirection", "curPreListingPhase", "deliveryTime"})  # fields that are no numbers
PRICE = "lastPrice"
UNSURE = "unsure"  # the field that names others; there only after a loss

Record = dict[str, Any]


class TickerMessage(msgspec.Struct, gc=False):
    """A tickers message; `data` holds all fields (snapshot) or those that changed (delta)."""

    topic: str
    data: dict[str, Any]
    type: str = "snapshot"


class TickerReader:
    """Turns payloads of one market into `ticker` and `price` records, one per symbol and batch: the newest.

    Fields are the exchange's, in its order, without those that are null; numbers are int or Decimal, empty texts stay.
    A price is told whenever the exchange told it.
    """

    def __init__(self, report: Report, *, tickers: bool = True, prices: bool = True) -> None:
        self._decode = BatchDecoder(TickerMessage, "malformed_ticker", report)
        self._tickers, self._prices = tickers, prices
        self._known: dict[str, Record] = {}
        self._unsure: dict[str, set[str]] = {}
        self.without_snapshot = 0  # deltas of a symbol that has had no snapshot: not to be merged with anything

    def __call__(self, payloads: Sequence[bytes]) -> dict[str, list[Record]]:
        """Take payloads in their order; returns records by data type. They are the caller's."""
        tickers: dict[str, Record] = {}
        prices: dict[str, Any] = {}
        for message in self._decode(payloads):
            symbol = symbol_of(message.topic)
            if self._tickers and (known := self._merge(symbol, message)):
                tickers[symbol] = known
            if self._prices and isinstance(price := number_of(message.data.get(PRICE)), int | Decimal):
                prices[symbol] = price
        records: dict[str, list[Record]] = {}
        if tickers:
            records["ticker"] = [self._copy(symbol, known) for symbol, known in tickers.items()]
        if prices:
            records["price"] = [{"symbol": symbol, "price": price} for symbol, price in prices.items()]
        return records

    def mark_uncertain(self, symbols: Iterable[str] | None = None) -> None:
        """Record that messages of these symbols (None: any) were lost before the next payload.

        Their fields are named in `unsure` until a message confirms them.
        """
        for symbol in self._known if symbols is None else symbols:
            if known := self._known.get(symbol):
                self._unsure[symbol] = known.keys() - {"symbol"}

    def _merge(self, symbol: str, message: TickerMessage) -> Record | None:
        """The symbol's ticker with the message in it; None where there is nothing to put it in."""
        told = ((name, value) for name, value in message.data.items() if value is not None)  # null tells nothing
        news = {name: value if name in TEXTS else number_of(value) for name, value in told}
        if message.type == "snapshot":
            self._unsure.pop(symbol, None)
            known = self._known[symbol] = {"symbol": symbol, **news}
            return known
        known_before = self._known.get(symbol)
        if known_before is None:
            self.without_snapshot += 1
            return None
        known_before.update(news)
        if unsure := self._unsure.get(symbol):
            unsure.difference_update(news)
            if not unsure:
                del self._unsure[symbol]
        return known_before

    def _copy(self, symbol: str, known: Record) -> Record:
        copy = dict(known)
        if unsure := self._unsure.get(symbol):
            copy[UNSURE] = [name for name in known if name in unsure]
        return copy


def number_of(value: Any) -> Any:
    """The number a text says: an int, else a Decimal with its digits; what says none stays as it is."""
    if not isinstance(value, str) or not value:
        return value
    try:
        if value.isdecimal():
            return int(value)
        number = Decimal(value)
    except (InvalidOperation, ValueError):  # ValueError: more digits than Python reads
        return value
    return number if number.is_finite() else value
