"""Candles of any span as one piece: what the cache has, and only what it lacks from the exchange.

Blocks the thread that asks. A chunk is fetched by one thread or process at a time; the others wait and find it there.
"""

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tqdm import tqdm

from exchanges.bybit.client.cache import Chunk, KlineCache, Series
from exchanges.bybit.client.cache_file import Piece
from exchanges.bybit.client.clients import BybitClient
from exchanges.bybit.client.data_fetch import BYBIT_BEGAN_MS, Fetched, KlineFetcher, Listings, Progress
from exchanges.bybit.client.data_frames import Candles, joined
from exchanges.bybit.client.data_times import Span, clipped, merged, missing, settled_until
from exchanges.bybit.client.errors import RequestError
from exchanges.bybit.client.market import INTERVAL_MS
from exchanges.bybit.protocol import MARKETS
from model.symbols import canonical, is_symbol

BAR_AFTER_S = 1.0  # what is quicker needs no progress bar
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for, as far as it can exist."""

    series: Series
    span: Span
    progress: Progress


class History:
    """Candles of one client, cached under `data_dir`/<host>. Thread safe."""

    def __init__(self, client: BybitClient[Any], data_dir: Path) -> None:
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
            query = Query(series, span, bar.update)
            return joined(self._cached(query) if use_cache else self._plain(query))

    def _cached(self, query: Query) -> list[Candles]:
        return [self._part(chunk, query) for chunk in self.cache.chunks(query.series, query.span)]

    def _plain(self, query: Query) -> list[Candles]:
        now_ms = self._now_ms()
        span = (query.span[0], min(query.span[1], now_ms + 1))
        return [page.candles for page in self._fetcher.fetch(query.series, [span], now_ms, query.progress)]

    def _part(self, chunk: Chunk, query: Query) -> Candles:
        span = clipped(query.span, chunk.bounds)
        piece = self.cache.known(chunk)
        if missing(span, piece.covered):
            return self._filled(chunk, span, query.progress).between(*span)
        query.progress((span[1] - span[0]) // INTERVAL_MS[query.series.interval])
        return piece.candles.between(*span)

    def _filled(self, chunk: Chunk, span: Span, progress: Progress) -> Candles:
        """What is stored and what was missing, stored too as far as it is final."""
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
    """What of the pages may be kept for ever."""
    covered = [clipped(page.span, (0, until_ms)) for page in pages if page.is_final]
    return Piece(fetched.between(0, until_ms), merged(covered))


def _bar(series: Series, span: Span, show: bool | None) -> "tqdm[Any]":
    """On standard error, where that is a terminal and it takes a while."""
    is_shown = sys.stderr.isatty() if show is None else show
    return tqdm(
        total=(span[1] - span[0]) // INTERVAL_MS[series.interval],
        desc=f"{series.symbol} {series.interval}",
        unit=" candles",
        unit_scale=True,
        delay=0 if show else BAR_AFTER_S,
        disable=not is_shown,
        leave=False,
    )


def _host(url: str) -> str:
    """A folder's name: candles of the test network must never look like the real ones."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", urlsplit(url).netloc.rpartition("@")[2]) or "exchange"
