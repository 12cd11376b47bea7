"""Klines that were collected, as an exchange's REST API answers them: all of a span, or none.

The event loop's thread; the store is read on others. Closed klines are of the store, the open one is the aggregator's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from model.intervals import MONTH, Interval, month_start, parse_interval
from model.market_api import FOR_EVER, MarketApiOptions
from model.ports import CandleStore, KlineRows, StoreError
from model.records import Kline

JUST_CLOSED_MS = 5_000  # after its end a kline may still be on its way to the store
SETTLED_MS = 10_000  # after its end a candle of the exchange does not change any more
KEPT_MOST = 50  # texts of rows, 80 kB each at most: several clients ask for the same ones
OPEN_KEPT_S = 0.5  # how long an answer with a candle that changes is kept for equal requests


@dataclass(frozen=True, slots=True)
class Span:
    """Klines that a request asks for: starts of the first and the last, how many they are, and of the open one."""

    first_ms: int
    last_ms: int
    count: int
    open_ms: int

    def kept_s(self, now_ms: int, interval: Interval) -> float:
        """How long the exchange's answer may be kept: for ever where none of its candles changes any more."""
        return FOR_EVER if interval.window_end(self.last_ms) + SETTLED_MS <= now_ms else OPEN_KEPT_S

    def sharing(self, now_ms: int, interval: Interval) -> tuple[float, int]:
        """`keep_s` and `epoch` of model.market_api.Upstream.fetch."""
        keep_s = self.kept_s(now_ms, interval)
        return keep_s, 0 if keep_s == FOR_EVER else self.open_ms


def span_of(
    interval: Interval,
    now_ms: int,
    limit: int,
    start_ms: int | None = None,
    end_ms: int | None = None,
    *,
    is_forward: bool = False,
) -> Span | None:
    """The klines that begin in start_ms .. end_ms, both included, `limit` of them at most; None where there are none.

    More than `limit`: the oldest where `is_forward`, else the newest.
    """
    open_ms = interval.window_start(now_ms)
    last_ms = open_ms if end_ms is None else min(open_ms, interval.window_start(end_ms))
    first_ms = 0
    if start_ms is not None:
        begun_ms = interval.window_start(start_ms)
        first_ms = begun_ms if begun_ms == start_ms else interval.window_end(begun_ms)
    if is_forward:
        last_ms = min(last_ms, _later(interval, first_ms, limit - 1))
    else:
        first_ms = max(first_ms, _later(interval, last_ms, 1 - limit))
    if first_ms > last_ms:
        return None
    return Span(first_ms, last_ms, _count(interval, first_ms, last_ms), open_ms)


@dataclass(frozen=True, slots=True)
class Rows:
    """Text of rows, commas between them, and whether all of them were collected: else some are the exchange's."""

    text: str
    is_collected: bool = True


Older = Callable[[str, str, Interval, int, int], Awaitable[str | None]]
"""Reads the exchange's closed candles of a market, a symbol and an interval with first_ms <= start < end_ms: rows in
the order that is asked for, without a hole before `end_ms`; None where that is not so. Raises HistoryError."""


ReadPage = Callable[[int, int], Awaitable[Sequence[msgspec.Raw]]]
"""Reads the exchange's candles of the windows that have these numbers, the second one not: rows that begin with their
start, the newest first; none where the answer makes no sense. Raises HistoryError."""


async def rows_of_pages(
    read: ReadPage, interval: Interval, first_ms: int, end_ms: int, most: int
) -> list[msgspec.Raw] | None:
    """Return rows for an Older, newest first, of pages of `most` that all requests have in common: kept for ever."""
    first, end = number_of(interval, first_ms), number_of(interval, end_ms)
    numbers = range(end - 1 - (end - 1) % most, first - most, -most)
    pages = await asyncio.gather(*(read(number, min(number + most, end)) for number in numbers))
    rows: list[msgspec.Raw] = []
    for number, page in zip(numbers, pages, strict=True):
        rows += page[: max(0, min(number + most, end) - max(first, number))]
    if not rows or _start_of(rows[0]) != start_of_number(interval, end - 1):
        return None
    return rows if _start_of(rows[-1]) == start_of_number(interval, end - len(rows)) else None


async def no_older(_market: str, _symbol: str, _interval: Interval, _first_ms: int, _end_ms: int) -> None:
    """Read nothing: the Older of an exchange whose candles are only passed on."""


class KlineAnswers:
    """Text of rows of klines. `form` is one row, as model.ports.CandleStore.rows takes it; `open_form` that of an open
    kline, where it is another. `older` reads what closed before the collection began.
    """

    def __init__(
        self, options: MarketApiOptions, form: Sequence[str], open_form: Sequence[str] = (), older: Older = no_older
    ) -> None:
        self._options, self._form, self._open_form = options, tuple(form), tuple(open_form or form)
        self._older = older
        self._kept: dict[tuple[str, str, int, int, int, bool], tuple[CandleStore, int, KlineRows]] = {}
        self._intervals = {each.step_ms: each for each in map(parse_interval, options.intervals)}

    async def rows(self, *asked: Any, **order: Any) -> str | None:
        """Return the text of `joined`."""
        found = await self.joined(*asked, **order)
        return None if found is None else found.text

    async def joined(
        self,
        market: str,
        symbol: str,
        step_ms: int,
        limit: int,
        start_ms: int | None = None,
        end_ms: int | None = None,
        *,
        is_forward: bool = False,
        newest_first: bool = False,
    ) -> Rows | None:
        """Return the rows of `span_of`; None where not all of them are known whole, and the request is to be passed on.

        Raises HistoryError.
        """
        options, interval = self._options, self._intervals.get(step_ms)
        if interval is None or symbol not in options.symbols(market):
            return None
        for _ in range(2):
            span = span_of(interval, options.now_ms(), limit, start_ms, end_ms, is_forward=is_forward)
            if span is None:
                return None
            closed = await self._closed(market, symbol, interval, span, newest_first)
            if closed is None or span.last_ms < span.open_ms:
                return closed
            kline = await options.live.open_kline(market, symbol, step_ms, span.open_ms) if options.live else None
            if kline is None or not kline.complete:
                return None
            if kline.timestamp == span.open_ms:
                texts = (self._row(kline), closed.text) if newest_first else (closed.text, self._row(kline))
                return Rows(",".join(filter(None, texts)), closed.is_collected)
            if kline.timestamp < span.open_ms:
                return None
        return None  # twice the next one had begun meanwhile

    async def _closed(
        self, market: str, symbol: str, interval: Interval, span: Span, newest_first: bool
    ) -> Rows | None:
        """The rows of the span that are closed; the one that closes just now is waited for."""
        options = self._options
        end_ms = min(interval.window_end(span.last_ms), span.open_ms)
        expected = span.count - (span.last_ms == span.open_ms)
        if not expected:
            return Rows("")
        found = await self._read(market, symbol, interval.step_ms, span.first_ms, end_ms, newest_first)
        last_ms = interval.window_start(end_ms - 1)
        is_closing = end_ms == span.open_ms and options.now_ms() - end_ms < JUST_CLOSED_MS
        if found and is_closing and (not found.count or found.last_ms < last_ms):
            if options.live is None or not await options.live.closed(market, symbol, interval.step_ms, last_ms):
                return None
            found = await self._read(market, symbol, interval.step_ms, span.first_ms, end_ms, newest_first)
        if not found or not found.count == found.complete == _count(interval, found.first_ms, last_ms):
            return None
        if found.count == expected:
            return Rows(found.text)
        older = await self._older(market, symbol, interval, span.first_ms, found.first_ms)
        if not older:
            return None
        return Rows(",".join((found.text, older) if newest_first else (older, found.text)), is_collected=False)

    async def _read(
        self, market: str, symbol: str, step_ms: int, first_ms: int, end_ms: int, newest_first: bool
    ) -> KlineRows | None:
        """Read rows of the store; those read last are kept until klines are added."""
        if (store := self._options.store()) is None:
            return None
        key, commits = (market, symbol, step_ms, first_ms, end_ms, newest_first), store.commits
        kept = self._kept.get(key)
        if kept and kept[:2] == (store, commits):
            return kept[2]
        try:
            rows = await asyncio.to_thread(
                store.rows, market, symbol, step_ms, self._form, first_ms, end_ms, newest_first=newest_first
            )
        except StoreError:
            return None  # the store reports it itself
        self._kept.pop(key, None)
        self._kept[key] = store, commits, rows
        if len(self._kept) > KEPT_MOST:
            del self._kept[next(iter(self._kept))]
        return rows

    def _row(self, kline: Kline) -> str:
        names = self._open_form[1::2]
        values = (getattr(kline, name) for name in names)
        written = [
            str(value).lower() if isinstance(value, bool | int) else value if isinstance(value, str) else f"{value:f}"
            for value in values
        ]
        return "".join(text + value for text, value in zip(self._open_form[::2], [*written, ""], strict=True))


def _later(interval: Interval, start_ms: int, windows: int) -> int:
    """The start of the window that is so many later, or earlier."""
    return month_start(start_ms, windows) if interval.step_ms == MONTH else start_ms + windows * interval.step_ms


def number_of(interval: Interval, start_ms: int) -> int:
    """The number of a window, one more for each that follows."""
    if interval.step_ms != MONTH:
        return (start_ms - interval.anchor_ms) // interval.step_ms
    moment = datetime.fromtimestamp(start_ms / 1000, UTC)
    return moment.year * 12 + moment.month - 1


def start_of_number(interval: Interval, number: int) -> int:
    """The start of the window of a number."""
    if interval.step_ms != MONTH:
        return interval.anchor_ms + number * interval.step_ms
    return int(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1000


def _start_of(row: msgspec.Raw) -> int:
    return int(msgspec.json.decode(row)[0])


def _count(interval: Interval, first_ms: int, last_ms: int) -> int:
    return number_of(interval, last_ms) - number_of(interval, first_ms) + 1
