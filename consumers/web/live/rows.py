"""Candles as the page gets them: rows of JSON, and the memory of those that were incomplete or issued again.

Pure; the event loop's thread. A boundary at which every kline is incomplete must not hold it up: rows are made when a
page asks.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from model.envelope import plain_text
from model.intervals import step_of
from model.records import Candle, Kline, SeriesKey

INCOMPLETE, REPAIRED, REVISED, OPEN = 1, 2, 4, 8  # bits of a row's flags
OF_SERIES = 500  # rows of one series that are remembered, and shown
REMEMBERED = 10_000  # of all series: some 10 MB


class Row(NamedTuple):
    """One candle. `head`: time in s, open, high, low, close and volume, each with its comma behind it, in JSON."""

    flags: int
    revision: int
    source: str
    head: bytes

    @property
    def price_decimals(self) -> int:
        """Digits behind the point of the close."""
        return _decimals(self.head, 7)

    @property
    def volume_decimals(self) -> int:
        """Digits behind the point of the volume."""
        return _decimals(self.head, 9)

    def json(self, reason: str = "") -> bytes:
        """Return it as JSON, with its reason where there is one; that must be encoded already."""
        end = f'{self.flags},{self.revision},"{self.source}"{"," if reason else ""}{reason}]'
        return self.head + end.encode()


def row_of_kline(kline: Kline, flags: int) -> Row:
    """Return a kline of the collector's as a row."""
    return Row(flags, kline.revision, kline.source, _head(kline.timestamp, kline))


def row_of_candle(candle: Candle, *, is_open: bool) -> Row:
    """Return a candle of the exchange's REST API as a row."""
    return Row(OPEN if is_open else 0, 0, "history", _head(candle.start_ms, candle))


def _head(start_ms: int, of: Kline | Candle) -> bytes:
    opened, high, low, close, volume = map(plain_text, (of.open, of.high, of.low, of.close, of.volume))
    return f'[{start_ms // 1000},"{opened}","{high}","{low}","{close}","{volume}",'.encode()


def _decimals(head: bytes, at: int) -> int:
    return len(head.split(b'"')[at].partition(b".")[2])


def series_of(market: str, kline: Kline) -> SeriesKey:
    """Return the series that a kline belongs to."""
    return market, kline.symbol, step_of(kline.interval, kline.timestamp)


def flags_of(kline: Kline, before: int | None) -> int:
    """Return the flags of a closed kline, `before` being those until now; None: it is new."""
    if not kline.complete:
        return INCOMPLETE
    if not kline.revision:
        return 0
    if before is None:
        before = REPAIRED if kline.source == "exchange" else REVISED
    return REPAIRED if before & (INCOMPLETE | REPAIRED) else REVISED


class KlineMemory:
    """The klines that were incomplete, repaired or issued again, newest of each series, with their flags; bounded."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._known: dict[SeriesKey, dict[int, tuple[int, Kline]]] = {}  # the series that got one last is the last
        self._count = 0
        self.closed = self.incomplete = self.revised = 0  # klines since the start

    def __len__(self) -> int:
        return self._count

    def add(self, market: str, klines: Sequence[Kline]) -> None:
        """Remember those that have something special."""
        self.closed += len(klines)
        for kline in klines:
            if not kline.complete or kline.revision:
                self._add(series_of(market, kline), kline)

    def of(self, series: SeriesKey) -> Mapping[int, Row]:
        """Return the rows of a series, by the start of the candle in ms."""
        return {
            start_ms: row_of_kline(kline, flags) for start_ms, (flags, kline) in self._known.get(series, {}).items()
        }

    def _add(self, series: SeriesKey, kline: Kline) -> None:
        known = self._known.pop(series, None) or {}
        self._known[series] = known
        flags, before = known.get(kline.timestamp, (None, None))
        self.incomplete += not kline.complete
        self.revised += kline.revision > 0
        if before is not None and before.revision > kline.revision:
            return
        known[kline.timestamp] = flags_of(kline, flags), kline
        self._count += before is None
        if len(known) > OF_SERIES:
            del known[min(known)]
            self._count -= 1
        while self._count > self._limit:
            oldest = next(iter(self._known.values()))
            del oldest[min(oldest)]
            self._count -= 1
            if not oldest:
                del self._known[next(iter(self._known))]
