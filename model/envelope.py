"""The envelope: the record of market data that every output takes.

Pure data; any thread. Encoded once however many outputs send it. Numbers leave as exact decimals
in plain notation, never as the nearest binary float.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec

from model.records import Kline

PLAIN_DIGITS = 200  # no sum of any market has as many; 1E+999999999 would be a gigabyte

_encoder = msgspec.json.Encoder(decimal_format="number")


class Envelope(msgspec.Struct, frozen=True, dict=True):
    """`data` holds `Kline` records or plain dicts of one `data_type`, none of which changes afterwards.

    `exchange`, `channel` (the market: linear, spot, ...), `data_type` (klines, ticker, price, trades, status) and
    `data` leave in this order.
    """

    exchange: str
    channel: str
    data_type: str
    data: tuple[Any, ...]

    @cached_property
    def json(self) -> bytes:
        """The envelope as one line of JSON; two threads asking at once may both encode, to the same bytes."""
        return json_of(self)

    def to_dict(self) -> dict[str, Any]:
        """Return a new plain dict for a user's consumer.

        Decimals become floats where the float's shortest form is the same number, else they stay `Decimal`.
        """
        plain: dict[str, Any] = _with_numbers(msgspec.to_builtins(self, builtin_types=(Decimal,)), _float_if_equal)
        return plain


class KlinesMessage(msgspec.Struct):
    """An envelope of klines as it is read, exact decimals."""

    exchange: str
    channel: str
    data_type: str
    data: tuple[Kline, ...]


_decode_klines = msgspec.json.Decoder(KlinesMessage).decode


def read_klines(payload: bytes) -> Envelope:
    """Read an envelope of klines; raises ValueError for what is none."""
    klines = _decode_klines(payload)
    return Envelope(klines.exchange, klines.channel, klines.data_type, klines.data)


def read_envelope(payload: bytes) -> Envelope:
    """Read an envelope of plain dicts, exact decimals; raises ValueError, KeyError or TypeError for what is none."""
    message: dict[str, Any] = json.loads(payload, parse_float=Decimal)
    return Envelope(message["exchange"], message["channel"], message["data_type"], tuple(message["data"]))


def json_of(value: object) -> bytes:
    """Encode an envelope, or one record of it; numbers as exact decimals in plain notation."""
    encoded = _encoder.encode(value)
    if _has_exponent(encoded):  # 1E+2 is valid JSON, but 100 is what people compare with
        return _encoder.encode(_with_numbers(msgspec.to_builtins(value, builtin_types=(Decimal,)), _raw_text))
    return encoded


def plain_text(number: Decimal) -> str:
    """Write a number in plain notation, with all its digits; with its exponent where that would be absurd."""
    return format(number, "f") if abs(number.adjusted()) < PLAIN_DIGITS else str(number)


def _has_exponent(encoded: bytes) -> bool:
    """Return whether a number has an exponent. The sign first: one byte is found ten times as fast as two."""
    return (b"-" in encoded and b"E-" in encoded) or (b"+" in encoded and b"E+" in encoded)


def _with_numbers(value: object, write: Callable[[Decimal], object]) -> Any:
    """Copy a value of dicts and lists, with what `write` makes of each number."""
    if isinstance(value, Decimal):
        return write(value)
    if isinstance(value, dict):
        return {key: _with_numbers(item, write) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_numbers(item, write) for item in value]
    return value


def _raw_text(number: Decimal) -> msgspec.Raw:
    return msgspec.Raw(plain_text(number).encode())


def _float_if_equal(number: Decimal) -> float | Decimal:
    nearest = float(number)
    return nearest if Decimal(repr(nearest)) == number else number
