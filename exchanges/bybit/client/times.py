"""Conversion of callers' times to milliseconds since the epoch, UTC. Pure."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from exchanges.bybit.client.errors import RequestError
from exchanges.bybit.client.values import brief, unwrapped

When: TypeAlias = str | int | float | date
"""ISO text ("2023-01-01", "2023-01-01T00:00Z"), datetime, date or ms, pandas' and numpy's too; UTC without a zone."""

SECONDS_BELOW = 100_000_000_000  # 1973 in ms, the year 5138 in s: neither is meant
MICROSECONDS_ABOVE = 100_000_000_000_000  # the year 5138 in ms, 1973 in us
DATE_DIGITS = 8  # 20230101 is a date, all other digits are milliseconds


def to_ms(when: When, name: str = "time") -> int:
    """Milliseconds since the epoch; raises RequestError, which names the argument, for what is no time.

    0 is the beginning of all, and so is every date before 1970. Numbers that can only be seconds, micro- or
    nanoseconds are refused.
    """
    value = unwrapped(when)
    try:
        return _ms(value, name)
    except (ValueError, OverflowError, TypeError):  # NaN, inf, NaT (a datetime by its type), text, pd.NA
        text = "2023-01-01, 2023-01-01T00:00:00Z, a datetime or milliseconds"
        raise RequestError(f"{name}: {brief(value)} is no time: {text}") from None


def span_ms(start: When, end: When) -> tuple[int, int]:
    """Both ends of [start, end); raises RequestError where it ends before it starts."""
    first_ms, end_ms = to_ms(start, "start"), to_ms(end, "end")
    if end_ms < first_ms:
        raise RequestError(f"the end {brief(end)} lies before the start {brief(start)}")
    return first_ms, end_ms


def datetime_ms(moment: datetime) -> int:
    """Milliseconds since the epoch; UTC where the datetime has no zone."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def _ms(value: object, name: str) -> int:
    if isinstance(value, datetime):
        return max(0, datetime_ms(value))
    if isinstance(value, date):
        return max(0, datetime_ms(datetime.combine(value, time())))
    if isinstance(value, str):
        text = value.strip()
        is_number = text.isdecimal() and len(text) != DATE_DIGITS
        return _number_ms(int(text), name) if is_number else max(0, datetime_ms(datetime.fromisoformat(text)))
    if isinstance(value, int | float | Decimal | Fraction) and not isinstance(value, bool):
        return _number_ms(int(value), name)
    raise TypeError


def _number_ms(number: int, name: str) -> int:
    if number < 0:
        raise RequestError(f"{name}: {number} is no time in milliseconds: before 1970")
    if 0 < number < SECONDS_BELOW:
        raise RequestError(f"{name}: {number} is no time in milliseconds: seconds?")
    if number > MICROSECONDS_ABOVE:
        raise RequestError(f"{name}: {number} is no time in milliseconds: microseconds or nanoseconds?")
    return number
