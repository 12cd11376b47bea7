"""Conversion of callers' values to plain ones: from numpy and pandas, from Decimal and Fraction. Pure.

numpy and pandas are recognised by attributes of their values (dtype, shape): the client needs neither.
"""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

from exchanges.bybit.client.errors import RequestError

MOST_DIGITS = 40  # before or after the point: no price has as many, and 1e999999 written out would fill the memory
_WRITTEN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_PLAIN = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


def brief(value: object) -> str:
    """A value as a message shows it: on one line, and not a whole table."""
    try:
        return " ".join(repr(value).split())[:60]
    except ValueError:  # an int of more than 4,300 digits is not written out
        return f"an {type(value).__name__} of too many digits"


def unwrapped(value: Any) -> Any:
    """A numpy scalar or array without dimensions as Python's own value, NaT as None; all else as it is."""
    dtype = getattr(value, "dtype", None)
    if dtype is None or getattr(value, "shape", None) != ():
        return value
    kind = getattr(dtype, "kind", "")
    if kind == "M":
        return value.astype("datetime64[ms]").item()
    if kind == "f":  # a float32 is the number it shows
        return float(value) if isinstance(value, float) else Decimal(str(value))
    return value.item()


def decimal_of(value: Any, name: str) -> Decimal:
    """The number that a value is, text too; raises RequestError, which names the argument, for what is none."""
    value = unwrapped(value)
    number = Decimal("NaN")
    if isinstance(value, str) and _WRITTEN.fullmatch(value.strip()):
        number = Decimal(value.strip())
    elif isinstance(value, float):
        number = Decimal(repr(float(value)))
    elif isinstance(value, Decimal):
        number = value
    elif isinstance(value, int) and not isinstance(value, bool):
        number = Decimal(value)
    elif isinstance(value, Fraction):
        number = _exact(value, name)
    if not number.is_finite() or max(abs(number.adjusted()), -int(number.as_tuple().exponent)) > MOST_DIGITS:
        raise RequestError(f"{name} is {brief(value)}: a number is needed")
    return number


def number_text(value: Any, name: str) -> str:
    """A number as Bybit reads it, never 1e-05; text that is one already stays as it is written.

    Empty text stays empty: it takes a stop away.
    """
    text = value.strip() if isinstance(value, str) else None
    if text is not None and len(text) <= MOST_DIGITS and (_PLAIN.fullmatch(text) or not text):
        return text
    return format(decimal_of(value, name), "f")


def whole_number(value: Any, name: str) -> int:
    """An integer, also where it comes as 5.0 or "5"; raises RequestError."""
    number = decimal_of(value, name)
    if number != number.to_integral_value():
        raise RequestError(f"{name} is {brief(value)}: a whole number is needed")
    return int(number)


def text_of(value: Any, name: str) -> str:
    """A name such as a symbol's; raises RequestError for what is no text, and for none."""
    if not isinstance(value, str) or not value.strip():
        raise RequestError(f"{name} is {brief(value)}: text is needed")
    return str(value).strip()


def texts_of(values: Any, name: str) -> list[str]:
    """One name or several, of a list, a Series or whatever gives them; each once, at least one."""
    is_many = not isinstance(values, str | bytes) and hasattr(type(values), "__iter__")
    found = [text_of(value, name) for value in (values if is_many else [values])]
    if not found:
        raise RequestError(f"{name}: none is given")
    return list(dict.fromkeys(found))


def _exact(value: Fraction, name: str) -> Decimal:
    number = Decimal(value.numerator) / Decimal(value.denominator)
    if Fraction(number) != value:
        raise RequestError(f"{name} is {brief(value)}: no decimal number is exactly that, round it")
    return number
