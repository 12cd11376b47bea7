"""The envelope: the record of market data that every output takes.

Pure data; any thread. Encoded once however many outputs send it. Numbers leave as exact decimals
in plain notation, never as the nearest binary float.
"""

from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec

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
        plain = _plain_numbers(msgspec.to_builtins(self, builtin_types=(Decimal,)))
        assert isinstance(plain, dict)
        return plain


def json_of(value: object) -> bytes:
    """Encode an envelope, or one record of it; numbers as exact decimals in plain notation."""
    encoded = _encoder.encode(value)
    if _has_exponent(encoded):  # 1E+2 is valid JSON, but 100 is what people compare with
        return _encoder.encode(_plain_notation(msgspec.to_builtins(value, builtin_types=(Decimal,))))
    return encoded


def plain_text(number: Decimal) -> str:
    """Write a number in plain notation, with all its digits; with its exponent where that would be absurd."""
    return format(number, "f") if abs(number.adjusted()) < PLAIN_DIGITS else str(number)


def _has_exponent(encoded: bytes) -> bool:
    """Return whether a number has an exponent. The sign first: one byte is found ten times as fast as two."""
    return (b"-" in encoded and b"E-" in encoded) or (b"+" in encoded and b"E+" in encoded)


def _plain_notation(value: object) -> object:
    if isinstance(value, Decimal):
        return msgspec.Raw(plain_text(value).encode())
    if isinstance(value, dict):
        return {key: _plain_notation(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_notation(item) for item in value]
    return value


def _plain_numbers(value: object) -> object:
    if isinstance(value, Decimal):
        nearest = float(value)
        return nearest if Decimal(repr(nearest)) == value else value
    if isinstance(value, dict):
        return {key: _plain_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_numbers(item) for item in value]
    return value
