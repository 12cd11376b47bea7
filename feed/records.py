"""Klines as the collector writes them, times and intervals as users write them, and what can go wrong."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
SHORTEST_MONTH_MS, LONGEST_MONTH_MS = 28 * UNITS_MS["d"], 31 * UNITS_MS["d"]
INTERVAL = re.compile(r"([1-9]\d{0,5})([smhdDwWM])")

Moment = int | str | datetime
"""Milliseconds since the epoch, ISO 8601, or a datetime; without a time zone it is UTC."""


class FeedError(Exception):
    """Something cannot be read; the text says what to do."""


class UnreachableError(FeedError):
    """Nothing answers at an address, or not now."""


class NoHistoryError(FeedError):
    """The collector keeps no klines."""


class UnknownSymbolError(FeedError):
    """The collector does not collect a symbol; `near` are names like it."""

    def __init__(self, text: str, near: Sequence[str] = ()) -> None:
        shown = f" Did you mean {', '.join(near[:5])}?" if near else ""
        super().__init__(f"{text}{shown}")
        self.near = list(near)


class Kline(msgspec.Struct, frozen=True, gc=False):
    """A closed kline: exact decimals, `interval` and `timestamp` (the start) in milliseconds. Of several of one start
    the highest `revision` counts; `complete` is False where some of its trades may be missing.
    """

    symbol: str
    interval: int
    timestamp: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trade_count: int
    turnover: Decimal
    complete: bool
    source: str
    revision: int

    @property
    def time(self) -> datetime:
        """The start, UTC."""
        return datetime.fromtimestamp(self.timestamp / 1000, UTC)


class Envelope(msgspec.Struct):
    """A message of klines; `next` is the start of the next part, over HTTP alone. `note`: why some are missing."""

    exchange: str
    channel: str
    data: list[Kline]
    next: int | None = None
    note: str = ""


read_envelope = msgspec.json.Decoder(Envelope).decode
read_json = msgspec.json.Decoder().decode


class Interval:
    """An interval by its name, 1m or 4h; 1M is the calendar month."""

    def __init__(self, text: str) -> None:
        match = INTERVAL.fullmatch(text)
        if match is None:
            raise FeedError(f"{text!r} is no interval: a number and s, m, h or d, or 1w, or 1M.")
        self.is_month = match[2] == "M"
        self.name = f"{match[1]}{match[2] if self.is_month else match[2].lower()}"
        self.step_ms = 0 if self.is_month else int(match[1]) * UNITS_MS[match[2].lower()]

    def is_of(self, kline: Kline) -> bool:
        """Return whether a kline has this interval."""
        if not self.is_month:
            return kline.interval == self.step_ms
        return SHORTEST_MONTH_MS <= kline.interval <= LONGEST_MONTH_MS and kline.time.day == 1


def milliseconds(moment: Moment | None) -> int | None:
    """Return a moment in milliseconds since the epoch."""
    if moment is None or isinstance(moment, int):
        return moment
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            raise FeedError(f"{moment!r} is no time: write 2026-11-30T14:00 (UTC) or milliseconds.") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def need(package: str, what: str) -> Any:
    """Import a package that is optional."""
    try:
        return __import__(package)
    except ImportError:
        raise FeedError(f"{what} needs {package}: pip install {package}") from None
