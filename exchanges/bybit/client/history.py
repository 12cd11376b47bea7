"""Candles of any span in one piece: those the cache has, and the missing ones from the exchange.

Blocks the calling thread; pages are fetched side by side by a few threads `bybit-klines`, which end with the call,
within the client's limits. Pages are cut by arithmetic, not by the answers: no answer can make a hole or a double at
their borders. A chunk is fetched by one thread or process at a time; the others wait and find it in the cache.
"""

import contextlib
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from tqdm import tqdm

from exchanges.bybit.client.base_client import BaseClient
from exchanges.bybit.client.cache import Chunk, KlineCache, Piece, Series
from exchanges.bybit.client.data_frames import Candles, joined, readable
from exchanges.bybit.client.data_times import Span, begins_ms, clipped, count_starts, merged, missing, settled_until
from exchanges.bybit.client.errors import RequestError
from exchanges.bybit.client.market import INTERVAL_MS, KLINES_PER_PAGE, MarketDataService
from exchanges.bybit.client.results import rows_of
from exchanges.bybit.client.service import spans
from exchanges.bybit.client.steps import Sync
from exchanges.bybit.protocol import MARKETS
from model.files import atomic_write, read_file, write_file
from model.intervals import DAY_MS
from model.symbols import canonical, is_symbol

log = structlog.get_logger()

THREADS = 8  # at 150 ms an answer they use the 50 requests a second that one address has
BYBIT_BEGAN_MS = 1_514_764_800_000  # 2018: nothing at Bybit is older
REPEATS = 2  # times, a page with a hole: answers can be wrong, and a hole would be kept for ever
FINAL_AFTER_MS = DAY_MS  # what is missing in a span older than a day stays missing
LISTING_STEPS = ("M", "D", "60", "1")  # the first month, its first day, hour, minute: four short answers
BAR_AFTER_S = 1.0  # what is quicker needs no progress bar

Progress = Callable[[int], object]
"""Called with the number of candles by which a fetch has advanced."""


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
        """Whether the page need not be fetched again."""
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

        fetched = []
        for page in _side_by_side(one, pages):
            fetched.append(page)
            progress(_length(page.span, series))
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
                break  # the longer candle's start stays: nothing is older, the time between is merely requested
            first = int(candles.starts[0])
            length_ms = 31 * INTERVAL_MS["D"] if interval == "M" else INTERVAL_MS[interval]
            span = (first, first + length_ms)
        return first, is_certain

    def _first_page(self, series: Series, span: Span) -> tuple[Candles, int]:
        """The first page that has candles, or none in every answer: an end is not guessed from one answer."""
        candles, odd = self._ask(series, span)
        for _ in range(REPEATS):
            if len(candles) and not odd:
                break
            candles, odd = self._ask(series, span)
        return candles, odd

    def _page(self, series: Series, span: Span, now_ms: int) -> Fetched:
        """One page, fetched again where candles are missing."""
        due = count_starts((span[0], min(span[1], now_ms)), series.interval)
        candles, odd = self._ask(series, span)
        for _ in range(REPEATS):
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
            log.warning("kline_rows_odd", symbol=series.symbol, interval=series.interval, count=odd)
        return candles.between(*span), odd


def _side_by_side(one: Callable[[Span], Fetched], pages: Sequence[Span]) -> Iterator[Fetched]:
    """Fetch pages in parallel, yield them in order. An error ends the call and cancels pages not begun."""
    if len(pages) <= 1:
        yield from map(one, pages)
        return
    with ThreadPoolExecutor(min(THREADS, len(pages)), "bybit-klines") as pool:
        try:
            yield from pool.map(one, pages)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _length(span: Span, series: Series) -> int:
    return (span[1] - span[0]) // INTERVAL_MS[series.interval]


class Listings:
    """The first candle of each symbol, cached in memory and in `first.json` beside its candles."""

    def __init__(self, fetcher: KlineFetcher, folder: Path) -> None:
        self._fetcher, self._folder = fetcher, folder
        self._known: dict[tuple[str, str], int] = {}

    def begin(self, series: Series) -> int | None:
        """The start of the first candle of the series, ms; None without candles. One request series per symbol."""
        key = (series.category, series.symbol)
        first = self._known.get(key) or self._read(key) or self._fetch(key, series)
        if first is None:
            return None
        self._known[key] = first
        return begins_ms(first, series.interval)

    def _fetch(self, key: tuple[str, str], series: Series) -> int | None:
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


class History:
    """Candles of one client, cached under `data_dir`/<host>. Thread safe."""

    def __init__(self, client: BaseClient[Sync, Any], data_dir: Path) -> None:
        self._client = client
        self.cache = KlineCache(data_dir / _host(client.connection.name))
        self._fetcher = KlineFetcher(client.market)
        self._listings = Listings(self._fetcher, self.cache.folder)

    def candles(self, series: Series, span: Span, *, use_cache: bool, show: bool | None) -> Candles:
        """Every candle with begin <= start < end, the open one included; raises BybitError."""
        series = replace(series, symbol=canonical(series.symbol))
        if not is_symbol(series.symbol) or series.category not in MARKETS:  # they become folders' names
            raise RequestError(f"no such symbol: {series.category} {series.symbol!r}")
        if span[1] < span[0]:
            raise RequestError("the end lies before the start")
        newest_ms = self._client.connection.now_ms() + DAY_MS  # whatever this machine's clock is off
        span = clipped(span, (BYBIT_BEGAN_MS, newest_ms))
        first = self._listings.begin(series) if span[0] < span[1] else None
        if first is None or first >= span[1]:
            return joined([])
        span = (max(first, span[0]), span[1])
        with _bar(series, span, show) as bar:
            if use_cache:
                return joined(self._part(chunk, span, bar.update) for chunk in self.cache.chunks(series, span))
            now_ms = self._now_ms()
            pages = self._fetcher.fetch(series, [(span[0], min(span[1], now_ms + 1))], now_ms, bar.update)
            return joined(page.candles for page in pages)

    def _part(self, chunk: Chunk, whole: Span, progress: Progress) -> Candles:
        span = clipped(whole, chunk.bounds)
        piece = self.cache.known(chunk)
        if missing(span, piece.covered):
            return self._filled(chunk, span, progress).between(*span)
        progress(_length(span, chunk.series))
        return piece.candles.between(*span)

    def _filled(self, chunk: Chunk, span: Span, progress: Progress) -> Candles:
        """The stored candles with the missing ones, which are stored too as far as they are final."""
        with self.cache.lock(chunk) as is_held:
            old = self.cache.stored(chunk)
            now_ms = self._now_ms()
            wanted = missing((span[0], min(span[1], now_ms + 1)), old.covered)
            pages = self._fetcher.fetch(chunk.series, wanted, now_ms, progress)
            fetched = joined([page.candles for page in pages])
            if is_held and pages:
                new = _final(pages, fetched, settled_until(now_ms, chunk.series.interval))
                self.cache.add(chunk, old, new)
        return joined([old.candles, fetched])

    def _now_ms(self) -> int:
        """The exchange's time."""
        if not self._client.api.time.is_known:
            self._client.sync_time()
        return self._client.api.time.now_ms()


def _final(pages: list[Fetched], fetched: Candles, until_ms: int) -> Piece:
    """The part of the pages that may be kept for ever."""
    covered = [clipped(page.span, (0, until_ms)) for page in pages if page.is_final]
    return Piece(fetched.between(0, until_ms), merged(covered))


def _bar(series: Series, span: Span, show: bool | None) -> "tqdm[Any]":
    """A progress bar on standard error, where that is a terminal and the fetch takes a while."""
    is_shown = sys.stderr.isatty() if show is None else show
    return tqdm(
        total=_length(span, series),
        desc=f"{series.symbol} {series.interval}",
        unit=" candles",
        unit_scale=True,
        delay=0 if show else BAR_AFTER_S,
        disable=not is_shown,
        leave=False,
    )


def _host(url: str) -> str:
    """The cache folder's name of an address: candles of the test network must never look like the real ones."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", urlsplit(url).netloc.rpartition("@")[2]) or "exchange"
