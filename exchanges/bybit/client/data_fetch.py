"""Candles from the exchange: pages asked for side by side within the client's limits, and where a symbol begins.

Blocks the thread that asks; pages are fetched by a few threads `bybit-klines`, which end with the call. Pages are cut
by arithmetic, not by the answers: no answer can make a hole or a double at their borders.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from exchanges.bybit.client.cache import Series
from exchanges.bybit.client.data_frames import Candles, joined, readable
from exchanges.bybit.client.data_times import Span, begins_ms, count_starts
from exchanges.bybit.client.market import INTERVAL_MS, KLINES_PER_PAGE, MarketDataService
from exchanges.bybit.client.results import rows_of
from exchanges.bybit.client.service import spans
from exchanges.bybit.client.steps import Sync
from model.files import atomic_write, read_file, write_file

log = structlog.get_logger()

THREADS = 8  # at 150 ms an answer they use the 50 requests a second that one address has
BYBIT_BEGAN_MS = 1_514_764_800_000  # 2018: nothing at Bybit is older
ASKED_AGAIN = 2  # times, a page with a hole: answers can be wrong, and a hole would be kept for ever
FINAL_AFTER_MS = 86_400_000  # what is missing in a span older than a day stays missing
LISTING_STEPS = ("M", "D", "60", "1")  # the first month, its first day, hour, minute: four short answers

Progress = Callable[[int], object]
"""Told of every so many candles' time that is done."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One page. `lacking` candles should be in it and are not; where it `is_old` they will not come either.

    `odd` rows could not be read: what they should have been may come yet.
    """

    span: Span
    candles: Candles
    lacking: int
    odd: int
    is_old: bool

    @property
    def is_final(self) -> bool:
        """Whether it need not be asked for again."""
        return not self.lacking or (self.is_old and not self.odd)


class KlineFetcher:
    """Pages of one exchange. Thread safe."""

    def __init__(self, market: MarketDataService[Sync, Any]) -> None:
        self._market = market

    def fetch(self, series: Series, wanted: Sequence[Span], now_ms: int, progress: Progress) -> list[Fetched]:
        """The pages of all spans, oldest first; raises BybitError."""
        page_ms = KLINES_PER_PAGE * INTERVAL_MS[series.interval]
        pages = [(first, last + 1) for begin, end in wanted for first, last in spans(begin, end, page_ms)]

        def one(span: Span) -> Fetched:
            return self._page(series, span, now_ms)

        fetched = [_told(page, series, progress) for page in _side_by_side(one, pages)]
        if lacking := sum(page.lacking for page in fetched):
            log.warning("klines_missing", symbol=series.symbol, interval=series.interval, count=lacking, of=wanted)
        return fetched

    def first_ms(self, series: Series) -> tuple[int | None, bool]:
        """When the symbol's first minute began, None where it has no candles; and whether all rows could be read."""
        span = (BYBIT_BEGAN_MS, 2 * BYBIT_BEGAN_MS)
        first: int | None = None
        is_certain = True
        for interval in LISTING_STEPS:
            candles, odd = self._first_page(Series(series.category, series.symbol, interval), span)
            is_certain = is_certain and not odd
            if not len(candles):
                break  # what a longer candle said stays: nothing is older, and what lies between is merely asked for
            first = int(candles.starts[0])
            length_ms = 31 * INTERVAL_MS["D"] if interval == "M" else INTERVAL_MS[interval]
            span = (first, first + length_ms)
        return first, is_certain

    def _first_page(self, series: Series, span: Span) -> tuple[Candles, int]:
        """A page that has candles, or none at every question: an end is not guessed from one answer."""
        candles, odd = self._ask(series, span)
        for _ in range(ASKED_AGAIN):
            if len(candles) and not odd:
                break
            candles, odd = self._ask(series, span)
        return candles, odd

    def _page(self, series: Series, span: Span, now_ms: int) -> Fetched:
        """One page, asked for again where candles are missing."""
        due = count_starts((span[0], min(span[1], now_ms)), series.interval)
        candles, odd = self._ask(series, span)
        for _ in range(ASKED_AGAIN):
            if len(candles) >= due:
                break
            more, odd = self._ask(series, span)
            candles = joined([candles, more])
        return Fetched(span, candles, max(0, due - len(candles)), odd, span[1] < now_ms - FINAL_AFTER_MS)

    def _ask(self, series: Series, span: Span) -> tuple[Candles, int]:
        result = self._market.get_klines(
            category=series.category,
            symbol=series.symbol,
            interval=series.interval,
            start=span[0],
            end=span[1] - 1,
            limit=KLINES_PER_PAGE,
        )
        candles, odd = readable(rows_of(result))
        if odd:
            log.warning("klines_odd_rows", symbol=series.symbol, interval=series.interval, count=odd)
        return candles.between(*span), odd


def _side_by_side(one: Callable[[Span], Fetched], pages: Sequence[Span]) -> Iterator[Fetched]:
    """In order. An error ends it, and with it what has not begun."""
    if len(pages) <= 1:
        yield from map(one, pages)
        return
    with ThreadPoolExecutor(min(THREADS, len(pages)), "bybit-klines") as pool:
        try:
            yield from pool.map(one, pages)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _told(page: Fetched, series: Series, progress: Progress) -> Fetched:
    progress((page.span[1] - page.span[0]) // INTERVAL_MS[series.interval])
    return page


class Listings:
    """When symbols began, remembered in memory and in `first.json` beside their candles."""

    def __init__(self, fetcher: KlineFetcher, folder: Path) -> None:
        self._fetcher, self._folder = fetcher, folder
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], int] = {}

    def begin(self, series: Series) -> int | None:
        """Where the first candle of the series begins, ms; None without candles. Asks the exchange once."""
        key = (series.category, series.symbol)
        with self._lock:
            first = self._known.get(key)
        if first is None:
            first = self._read(key) or self._asked(key, series)
        if first is None:
            return None
        with self._lock:
            self._known[key] = first
        return begins_ms(first, series.interval)

    def _asked(self, key: tuple[str, str], series: Series) -> int | None:
        first, is_certain = self._fetcher.first_ms(series)
        if first is not None and is_certain:
            self._write(key, first)
        return first

    def _read(self, key: tuple[str, str]) -> int | None:
        try:
            first = json.loads(read_file(self._path(key)))["first_ms"]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return first if isinstance(first, int) and first >= BYBIT_BEGAN_MS else None

    def _write(self, key: tuple[str, str], first_ms: int) -> None:
        content = json.dumps({"first_ms": first_ms}).encode()
        with contextlib.suppress(OSError):
            atomic_write(self._path(key), lambda temp: write_file(temp, content), threading.get_native_id())

    def _path(self, key: tuple[str, str]) -> Path:
        return self._folder.joinpath(*key) / "first.json"
