"""Bybit's payloads as records of envelopes: trades as they are, tickers merged, prices out of tickers.

Pure; one thread. A payload that cannot be read costs only itself. Linear and inverse tickers begin with a snapshot and
then bring what changed; spot sends snapshots. After a loss a ticker names its fields that no message has confirmed
since. Documentation pages: websocket/public/trade, websocket/public/ticker.
"""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

import msgspec

from exchanges.bybit.protocol import symbol_of
from exchanges.records import BatchDecoder, TradeReader, number_of
from model.ports import Report
from model.records import Record

TEXTS = frozenset({"symbol", "tickDirection", "curPreListingPhase", "deliveryTime"})  # fields that are no numbers
TRADE_NAMES = {  # fields of a trade by what exchanges have in common
    "symbol": "s", "timestamp": "T", "side": "S", "price": "p", "size": "v", "tick_direction": "L", "trade_id": "i",
    "block_trade": "BT", "rpi": "RPI",
}  # fmt: skip
PRICE = "lastPrice"
UNSURE = "unsure"  # the field that names others; there only after a loss


class TickerMessage(msgspec.Struct, gc=False):
    """A tickers message; `data` holds all fields (snapshot) or those that changed (delta)."""

    topic: str
    data: Record
    type: str = "snapshot"


class TickerReader:
    """Turns payloads of one market into `ticker` and `price` records, one per symbol and batch: the newest.

    Fields are the exchange's, in its order, without those that are null; numbers are int or Decimal, empty texts stay.
    A price is a record whenever the exchange sent it.
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
        prices: dict[str, int | Decimal] = {}
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
        given = ((name, value) for name, value in message.data.items() if value is not None)
        new = {name: value if name in TEXTS else number_of(value) for name, value in given}
        if message.type == "snapshot":
            self._unsure.pop(symbol, None)
            known = self._known[symbol] = {"symbol": symbol, **new}
            return known
        known_before = self._known.get(symbol)
        if known_before is None:
            self.without_snapshot += 1
            return None
        known_before.update(new)
        if unsure := self._unsure.get(symbol):
            unsure.difference_update(new)
            if not unsure:
                del self._unsure[symbol]
        return known_before

    def _copy(self, symbol: str, known: Record) -> Record:
        copy = dict(known)
        if unsure := self._unsure.get(symbol):
            copy[UNSURE] = [name for name in known if name in unsure]
        return copy


def record_reader(kind: str, report: Report, types: Collection[str]) -> TickerReader | TradeReader | None:
    """A reader of the payloads of one market and kind; None where they make no record of `types`.

    `types` are of ticker, price and trades. Prices come from tickers, as in the legacy systems.
    """
    if kind == "ticker" and not {"ticker", "price"}.isdisjoint(types):
        return TickerReader(report, tickers="ticker" in types, prices="price" in types)
    if kind == "trades" and "trades" in types:
        return TradeReader(report)
    return None
