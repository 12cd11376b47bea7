"""Times as callers write them, as milliseconds since the epoch, UTC. Pure."""

from datetime import UTC, date, datetime, time
from typing import TypeAlias

from exchanges.bybit.client.errors import RequestError

When: TypeAlias = str | int | float | date
"""ISO text ("2023-01-01", "2023-01-01T00:00:00Z"), datetime, date or ms; what names no zone is UTC."""

SECONDS_BELOW = 100_000_000_000  # 1973 in ms, the year 5138 in s: nobody means either


def to_ms(when: When) -> int:
    """Milliseconds since the epoch; raises RequestError for what is no time."""
    if isinstance(when, datetime):
        return datetime_ms(when)
    if isinstance(when, date):
        return datetime_ms(datetime.combine(when, time()))
    if isinstance(when, str):
        return _text_ms(when.strip())
    if abs(when) < SECONDS_BELOW:
        raise RequestError(f"{when!r} is no time in milliseconds: seconds?")
    return int(when)


def _text_ms(text: str) -> int:
    if text.isdecimal() and len(text) > 8:
        return to_ms(int(text))
    try:
        return datetime_ms(datetime.fromisoformat(text))
    except ValueError:
        raise RequestError(f"{text!r} is no time: 2023-01-01, 2023-01-01T00:00:00Z or milliseconds") from None


def datetime_ms(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)
