"""Payloads of any exchange as records of envelopes: what the readers of the venues share.

Pure; one thread. A payload that cannot be read costs only itself.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Any, Generic, TypeVar

import msgspec

from model.ports import Report
from model.records import Record

T = TypeVar("T")

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, MemoryError)
"""What decoding a foreign payload may raise: bad UTF-8 is a ValueError, a thousand brackets a RecursionError."""


class BatchDecoder(Generic[T]):
    """Decodes payloads many at a time as `kind`; one that is no such message is reported and left out."""

    def __init__(self, kind: type[T], cause: str, report: Report) -> None:
        self._all: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
        self._one = msgspec.json.Decoder(kind)
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


class TradeReader:
    """Turns payloads of one market into `trades` records, in stream order; as they are, behind `symbol` if need be."""

    without_snapshot = 0  # trades need none

    def __init__(self, report: Report, symbol: str | None = None) -> None:
        """`symbol`: the field that has it, where that is neither `symbol` nor `s`."""
        self._decode, self._report = BatchDecoder(TradesMessage, "malformed_trades", report), report
        self._symbol = symbol

    def __call__(self, payloads: Sequence[bytes]) -> dict[str, list[Record]]:
        """Take payloads in their order; returns records by data type. They are the caller's."""
        records = list(chain.from_iterable(message.data for message in self._decode(payloads)))
        if any(type(record) is not dict for record in records):
            self._report("bad_trade", next(repr(r).encode() for r in records if type(r) is not dict))
            records = [record for record in records if type(record) is dict]
        if self._symbol:
            records = [{"symbol": record.get(self._symbol), **record} for record in records]
        return {"trades": records} if records else {}

    def mark_uncertain(self, symbols: Iterable[str] | None = None) -> None:
        """Ignore a loss: each trade stands for itself, so nothing becomes uncertain."""


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
