"""Payloads of any exchange as records of envelopes: trades as they are, tickers, prices out of tickers.

Pure; one thread. A payload that cannot be read costs only itself. A venue declares a `Records`.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec

from model.ports import RecordReader, Report
from model.records import Record

T = TypeVar("T")

UNSURE = "unsure"  # the field of a ticker that names others; there only after a loss
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, MemoryError)
"""What decoding a foreign payload may raise: bad UTF-8 is a ValueError, a thousand brackets a RecursionError."""


class BatchDecoder(Generic[T]):
    """Decodes payloads many at a time as `kind`; one that is no such message is reported and left out."""

    def __init__(self, kind: type[T], cause: str, report: Report) -> None:
        # Numbers of JSON keep their digits, too.
        self._all: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[kind], float_hook=_exact)  # type: ignore[valid-type]
        self._one = msgspec.json.Decoder(kind, float_hook=_exact)
        self._cause, self._report = cause, report

    def __call__(self, payloads: Sequence[bytes]) -> list[T]:
        """Return the messages in their order. One thread."""
        try:
            messages: list[T] = self._all.decode(b"[" + b",".join(payloads) + b"]")
        except UNREADABLE:
            return self._one_by_one(payloads)
        if len(messages) != len(payloads):  # one payload that reads as two is none
            return self._one_by_one(payloads)
        return messages

    def _one_by_one(self, payloads: Sequence[bytes]) -> list[T]:
        messages = []
        for payload in payloads:
            try:
                messages.append(self._one.decode(payload))
            except UNREADABLE:
                self._report(self._cause, payload)
        return messages


class TradesMessage(msgspec.Struct, gc=False):
    """A message of trades; `data` in the order of matching."""

    data: list[Any]


class RowsMessage(msgspec.Struct, gc=False):
    """A message of some objects."""

    data: list[Record]


class EventMessage(msgspec.Struct, gc=False):
    """A message of one object."""

    data: Record


@dataclass(frozen=True)
class Records:
    """How the tickers and trades of an exchange become records.

    `tickers` and `trades`: structs of their messages, whose `data` is a list of objects or, as in EventMessage, one.
    `symbol`: the field of an object that has its symbol; `symbol_of(message)` where the message has it. `price`: the
    field of the last trade's; `texts`: fields of a ticker that are no numbers. `merges`: messages of tickers
    whose `type` is not snapshot have some fields alone, which are merged; else all are whole. `needs_whole`: such a
    message before a whole one is left out; else it is merged with what there is: tickers that come in parts.
    `trade_symbol`: the field of a trade that has its symbol, where it is neither `symbol` nor `s`; `trade_symbol_of`:
    the symbol of a message, where its trades (in a list) have none. `trade_head`: more fields that are put before those
    of a trade, such as the side where a sign has it. `newest_first`: a message has its trades so.
    """

    tickers: Any
    price: str
    texts: frozenset[str]
    symbol: str = "symbol"
    symbol_of: Callable[[Any], str] | None = None
    merges: bool = False
    needs_whole: bool = True
    trades: Any = TradesMessage
    trade_symbol: str = ""
    trade_symbol_of: Callable[[Any], str] | None = None
    trade_head: Callable[[Record], Record] | None = None
    newest_first: bool = False

    def reader(self, kind: str, report: Report, types: Collection[str]) -> RecordReader | None:
        """A reader of the payloads of one market and kind; None where they make no record of `types`.

        `types` are of ticker, price and trades. Prices come from tickers, as in the legacy systems.
        """
        if kind == "ticker" and not {"ticker", "price"}.isdisjoint(types):
            make = MergingReader if self.merges else TickerReader
            return make(self, report, tickers="ticker" in types, prices="price" in types)
        if kind == "trades" and "trades" in types:
            return TradeReader(self, report)
        return None


class TradeReader:
    """Turns payloads of one market into `trades` records, in stream order; those that do not count are there too."""

    without_snapshot = 0  # trades need none

    def __init__(self, records: Records, report: Report) -> None:
        self._decode = BatchDecoder(records.trades, "malformed_trades", report)
        self._records, self._report = records, report
        self._is_one = _has_one(records.trades)

    def __call__(self, payloads: Sequence[bytes]) -> dict[str, list[Record]]:
        """Take payloads in their order; returns records by data type. They are the caller's."""
        messages = self._decode(payloads)
        if self._is_one:
            records = [message.data for message in messages]
        else:
            if self._records.newest_first:
                for message in messages:
                    message.data.reverse()
            if of := self._records.trade_symbol_of:
                for message in messages:
                    message.data = [{"symbol": of(message), **row} for row in message.data if type(row) is dict]
            records = list(chain.from_iterable(message.data for message in messages))
            if any(type(record) is not dict for record in records):
                self._report("bad_trade", next(repr(r).encode() for r in records if type(r) is not dict))
                records = [record for record in records if type(record) is dict]
        if name := self._records.trade_symbol:
            records = [{"symbol": record.get(name), **record} for record in records]
        if head := self._records.trade_head:
            records = [{**head(record), **record} for record in records]
        return {"trades": records} if records else {}

    def mark_uncertain(self, symbols: Iterable[str] | None = None) -> None:
        """Ignore a loss: each trade stands for itself, so nothing becomes uncertain."""


class TickerReader:
    """Turns payloads of one market into `ticker` and `price` records, one per symbol and batch: the newest.

    Fields are the exchange's, in its order behind `symbol`, without those that are null; numbers are int or Decimal,
    empty texts stay. A price is a record whenever the exchange sent it. Here every ticker is whole.
    """

    without_snapshot = 0  # changes of a symbol of which nothing whole has come: not to be merged with anything

    def __init__(self, records: Records, report: Report, *, tickers: bool = True, prices: bool = True) -> None:
        self._decode = BatchDecoder(records.tickers, "malformed_ticker", report)
        self._records, self._report, self._tickers, self._prices = records, report, tickers, prices
        self._is_one = _has_one(records.tickers)

    def __call__(self, payloads: Sequence[bytes]) -> dict[str, list[Record]]:
        """Take payloads in their order; returns records by data type. They are the caller's."""
        newest: dict[str, Record] = {}
        prices: dict[str, int | Decimal] = {}
        field, price_field, symbol_of = self._records.symbol, self._records.price, self._records.symbol_of
        is_one, merged = self._is_one, self._merged
        for message in self._decode(payloads):
            for fields in (message.data,) if is_one else message.data:
                symbol = symbol_of(message) if symbol_of else fields.get(field)
                if not isinstance(symbol, str):
                    self._report("malformed_ticker", repr(fields).encode())
                    continue
                if self._tickers:
                    if merged is None:
                        newest[symbol] = fields
                    elif (known := merged(symbol, fields, message)) is not None:
                        newest[symbol] = known
                if self._prices and isinstance(price := number_of(fields.get(price_field)), int | Decimal):
                    prices[symbol] = price
        records: dict[str, list[Record]] = {}
        if newest:
            records["ticker"] = [self._record(symbol, ticker) for symbol, ticker in newest.items()]
        if prices:
            records["price"] = [{"symbol": symbol, "price": price} for symbol, price in prices.items()]
        return records

    def mark_uncertain(self, symbols: Iterable[str] | None = None) -> None:
        """Record that messages of these symbols (None: any) were lost before the next payload.

        Where tickers are merged, their fields are named in `unsure` until a message confirms them.
        """

    _merged: Callable[[str, Record, Any], Record | None] | None = None  # of a MergingReader

    def _record(self, symbol: str, ticker: Record) -> Record:
        return {"symbol": symbol, **_numbers(ticker, self._records.texts)}


class MergingReader(TickerReader):
    """A TickerReader of an exchange that sends whole tickers and then what changed, or each in parts."""

    def __init__(self, records: Records, report: Report, *, tickers: bool = True, prices: bool = True) -> None:
        super().__init__(records, report, tickers=tickers, prices=prices)
        self._known: dict[str, Record] = {}
        self._unsure: dict[str, set[str]] = {}

    def mark_uncertain(self, symbols: Iterable[str] | None = None) -> None:
        """See TickerReader."""
        for symbol in self._known if symbols is None else symbols:
            if known := self._known.get(symbol):
                self._unsure[symbol] = known.keys() - {"symbol"}

    def _merged(self, symbol: str, fields: Record, message: Any, /) -> Record | None:
        """What there is of a ticker with a message in it; None where there is nothing to put it in."""
        known = self._known.get(symbol)
        if message.type == "snapshot" or (known is None and not self._records.needs_whole):
            self._unsure.pop(symbol, None)
            known = self._known[symbol] = {"symbol": symbol, **_numbers(fields, self._records.texts)}
            return known
        if known is None:
            self.without_snapshot += 1
            return None
        known.update(new := _numbers(fields, self._records.texts))
        if unsure := self._unsure.get(symbol):
            unsure.difference_update(new)
            if not unsure:
                del self._unsure[symbol]
        return known

    def _record(self, symbol: str, ticker: Record) -> Record:
        copy = dict(ticker)
        if unsure := self._unsure.get(symbol):
            copy[UNSURE] = [name for name in ticker if name in unsure]
        return copy


def _exact(number: str) -> Decimal:
    """A number of JSON with its digits; ValueError where its exponent is none."""
    try:
        return Decimal(number)
    except InvalidOperation as error:
        raise ValueError(f"{number} is no number") from error


def _numbers(fields: Record, texts: frozenset[str]) -> Record:
    given = ((name, value) for name, value in fields.items() if value is not None)
    return {name: value if name in texts else number_of(value) for name, value in given}


def _has_one(message: Any) -> bool:
    """Whether the `data` of messages is one object."""
    return bool(get_type_hints(message)["data"] == Record)


def number_of(value: object) -> object:
    """The number that a text is: an int, else a Decimal with its digits; what is no number stays as it is."""
    if not isinstance(value, str) or not value:
        return value
    try:
        if value.isdecimal():
            return int(value)
        number = Decimal(value)
    except (InvalidOperation, ValueError):  # ValueError: more digits than Python reads
        return value
    return number if number.is_finite() else value
