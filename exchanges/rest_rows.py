"""Rows of REST answers: what the venues' readers of candles, trades and instruments share. Pure, but for RowLog."""

import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from structlog.typing import FilteringBoundLogger

from model.pacing import ThrottledLogger
from model.records import PastTrade, unreadable_trade

EARLIEST_MS = 1_483_228_800_000  # 2017-01-01: none of the exchanges is older
LATEST_MS = 4_102_444_800_000  # 2100-01-01: a later time is garbage
MOST_DIGITS = 60  # before or after the point: 1E+999999999 would fill the memory

T = TypeVar("T")


def read_row(row: object, shape: type[T]) -> T | None:
    """Read one row as `shape`, decimals exact; None where the row makes no sense."""
    try:
        return msgspec.convert(row, shape, strict=False)
    except (msgspec.ValidationError, ValueError, OverflowError):
        return None


def is_time(ms: int) -> bool:
    """Return whether a time can be one of an exchange's."""
    return EARLIEST_MS < ms < LATEST_MS


def decimals_of(values: Sequence[object]) -> list[Decimal] | None:
    """Read numbers of a row exactly; None where one is none, or has more digits than money can have."""
    numbers = read_row(list(values), list[Decimal])
    if numbers is None or not all(n.is_finite() and abs(n.adjusted()) < MOST_DIGITS for n in numbers):
        return None
    return numbers


def is_candle(prices: Sequence[Decimal], *amounts: Decimal) -> bool:
    """Return whether open, high, low and close, and what was traded, can be those of a candle."""
    opened, high, low, closed = prices
    return 0 < low <= min(opened, closed) <= max(opened, closed) <= high and min(amounts) >= 0


def is_positive(*numbers: float) -> bool:
    """Return whether all are finite and above 0."""
    return all(0 < number < math.inf for number in numbers)


def amount_of(value: Any) -> float:
    """Read an amount; 0 where it is none: NaN would leave the order of all others to chance."""
    try:
        number = float(value or 0)
    except (TypeError, ValueError):
        return 0.0
    return number if 0 <= number < math.inf else 0.0


def with_unreadable(trades: Sequence[PastTrade | None]) -> Iterator[PastTrade]:
    """Yield trades (oldest first), one that could not be read as unreadable ones at both its neighbours' times."""
    for position, trade in enumerate(trades):
        if trade is not None:
            yield trade
            continue
        older = next((each for each in reversed(trades[:position]) if each), None)
        newer = next((each for each in trades[position:] if each), None)
        yield from (unreadable_trade(each.event_ms) for each in (older, newer) if each)


class RowLog:
    """Logs what of a market's answers makes no sense, in one line a minute for each sort. Thread safe as its logger."""

    def __init__(self, log: FilteringBoundLogger, market: str) -> None:
        self._log, self._market = ThrottledLogger(log), market

    def readable(self, rows: Sequence[object], shape: type[T], path: str) -> list[T]:
        """Return the rows that make sense; the others are logged."""
        read = [(row, read_row(row, shape)) for row in rows]
        self.odd([row for row, made in read if made is None], path)
        return [made for _, made in read if made is not None]

    def odd(self, rows: Sequence[object], path: str, symbol: str = "") -> None:
        """Log rows that make no sense."""
        if rows:
            self._log.warning(
                "rest_rows_odd",
                path=path,
                market=self._market,
                symbol=symbol,
                rows=len(rows),
                sample=repr(rows[0])[:200],
            )

    def symbols(self, event: str, names: Iterable[str]) -> None:
        """Log symbols that are left out, and why."""
        if found := sorted(names):
            self._log.warning(event, market=self._market, count=len(found), symbols=found[:20])
