"""Klines as they close, behind those of the past: joined without a hole or a double, the highest revision of each.

No thread of its own: whoever iterates reads. Messages say what is new; after every connect, and where a kline begins
later than the one before it ended, what may have been missed is read over HTTP. While the source is away, that is read
every second.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from .records import FeedError, Interval, Kline, UnreachableError, read_envelope
from .sources import Source, SourceLostError
from .table import Table

if TYPE_CHECKING:
    from .frame import KlineFrame

KEPT = 10_000  # klines of a symbol, the newest
BEHIND = 1_000  # those that are read again after an outage: a repair may have changed any of them
POLL_S = 1.0  # between two reads over HTTP where nothing is pushed
POLL_BEHIND = 60  # klines that such a read has
AGAIN_S = (1.0, 4.0)  # after a connect: what closed just before it may be on its way to the store
FULL_S = 15.0  # how often it has what is in doubt, too
HOLE_FIRST_S, HOLE_CAP_S = 1.0, 300.0  # pauses between two looks at a hole
RECONNECT_FIRST_S, RECONNECT_CAP_S = 0.2, 5.0
STEP_S = 1.0  # longest wait in one go: a cancelled task, or Ctrl-C, ends within it

ReadPast = Callable[[str, int | None, int | None, bool], tuple[Sequence[Kline], str]]
"""`read(symbol, start_ms, last, is_filled)`: klines oldest first, and why some are missing, as Api.klines does."""


class Series:
    """The klines of one symbol that are known: what is new of what comes, and where holes are. Pure."""

    def __init__(self, interval: Interval, first_ms: int = 0) -> None:
        """What begins before `first_ms` is left out; 0: before the first that comes."""
        self._interval, self._first_ms = interval, first_ms
        self.held: dict[int, Kline] = {}
        self.newest: Kline | None = None
        self.holes: dict[int, int] = {}
        """End of each hole by its start."""

    def take(self, klines: Iterable[Kline]) -> list[Kline]:
        """Take klines; returns those that are new, or better than what was known: a higher revision."""
        found = []
        for kline in sorted(klines, key=lambda each: each.timestamp):
            if not self._interval.is_of(kline) or not self._is_better(kline):
                continue
            self.held[kline.timestamp] = kline
            self._fill(kline)
            newest = self.newest
            if newest is None or kline.timestamp > newest.timestamp:
                if newest is not None and kline.timestamp > newest.timestamp + newest.interval:
                    self.holes[newest.timestamp + newest.interval] = kline.timestamp
                self.newest = kline
            found.append(kline)
            self._first_ms = self._first_ms or kline.timestamp
        self._trim()
        return found

    def comes_after_a_hole(self, klines: Iterable[Kline]) -> bool:
        """Return whether something is missing before the oldest of these that is newer than all that is known."""
        newest = self.newest
        if newest is None:
            return False
        end_ms = newest.timestamp + newest.interval
        newer = [each.timestamp for each in klines if self._interval.is_of(each) and each.timestamp >= end_ms]
        return bool(newer) and min(newer) > end_ms

    def stale_from(self, count: int) -> int | None:
        """Return since when klines have to be read again for the newest `count` of them; None: nothing is known."""
        starts = sorted(self.held)[-count:]
        return starts[0] if starts else None

    def doubtful_from(self) -> int | None:
        """Return since when they have to be for all that is in doubt: the newest 1,000, and holes."""
        since_ms = self.stale_from(BEHIND)
        return None if since_ms is None else min(since_ms, *self.holes) if self.holes else since_ms

    def _is_better(self, kline: Kline) -> bool:
        known = self.held.get(kline.timestamp)
        if known is None:
            return kline.timestamp >= self._first_ms
        return _rank(kline) > _rank(known)

    def _fill(self, kline: Kline) -> None:
        for start, end in list(self.holes.items()):
            if start <= kline.timestamp < end:
                del self.holes[start]
                if start < kline.timestamp:
                    self.holes[start] = kline.timestamp
                if kline.timestamp + kline.interval < end:
                    self.holes[kline.timestamp + kline.interval] = end

    def _trim(self) -> None:
        if len(self.held) > KEPT + 100:
            for start in sorted(self.held)[:-KEPT]:
                del self.held[start]
            self._first_ms = min(self.held)
            self.holes = {start: end for start, end in self.holes.items() if start >= self._first_ms}


def _rank(kline: Kline) -> tuple[int, bool, bool]:
    """What counts of several klines of one start. The exchange's, read where none was collected, have revision 0."""
    return kline.revision, kline.complete, kline.source == "trades"


class LiveKlines:
    """Klines one after the other, the past ones first: an iterator, and an asynchronous one. A context manager.

    A kline comes again where it was revised. Not for several threads at a time.
    """

    def __init__(
        self,
        source: Source,
        read_past: ReadPast | None,
        symbols: Sequence[str],
        interval: Interval,
        market: str | None = None,
        *,
        start_ms: int | None = None,
        last: int = 0,
        exact: bool = False,
    ) -> None:
        """`read_past` None: nothing is known but what is published while this reads."""
        self._source, self._read_past, self._interval, self._market = source, read_past, interval, market
        self._series: Mapping[str, Series] = {symbol: Series(interval, start_ms or 0) for symbol in symbols}
        self._start_ms, self._last, self._exact = start_ms, last, exact
        self._ready: deque[Kline] = deque()
        self._lock = threading.Lock()
        self._is_connected = self._has_begun = False
        self._failures = 0
        self._connect_s = 0.0  # when the next attempt is due
        self._due: list[float] = []  # when the past is due to be read again
        self._full_s = 0.0  # when all that is in doubt is due to be read
        self._hole_pause_s = HOLE_FIRST_S
        self.is_closed = False
        self.note = ""
        """Why klines of the past are missing, if so."""
        self.problem = ""
        """Why nothing comes now, if so; it goes on by itself."""

    # -- for users -------------------------------------------------------------------------------------

    def next(self, timeout_s: float | None = None) -> Kline | None:
        """Return the next kline; None where none came in time, or this is closed."""
        deadline_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while not self._ready and not self.is_closed and (left_s := deadline_s - time.monotonic()) > 0:
            self._pump(min(left_s, STEP_S))
        return self._ready.popleft() if self._ready else None

    def __iter__(self) -> Iterator[Kline]:
        return self

    def __next__(self) -> Kline:
        kline = self.next()
        if kline is None:
            raise StopIteration
        return kline

    def __aiter__(self) -> AsyncIterator[Kline]:
        return self

    async def __anext__(self) -> Kline:
        while not self._ready:  # a task that is cancelled here loses nothing: the pump only adds
            if self.is_closed:
                raise StopAsyncIteration
            await asyncio.to_thread(self._pump, STEP_S)
        return self._ready.popleft()

    @property
    def holes(self) -> dict[str, list[tuple[int, int]]]:
        """Spans (start and end in ms) of klines that are missing now, by symbol; they are looked for time and again."""
        return {symbol: sorted(series.holes.items()) for symbol, series in self._series.items() if series.holes}

    def klines(self) -> list[Kline]:
        """Return the newest 10,000 of each symbol, by symbol and start."""
        return [series.held[start] for series in self._series.values() for start in sorted(series.held)]

    def table(self) -> Table:
        """Return the same as a table."""
        return Table.of(self.klines(), self._interval.name, exact=self._exact, note=self.note)

    def to_pandas(self) -> "KlineFrame":
        """Return the same as a DataFrame."""
        return self.table().to_pandas()

    def close(self) -> None:
        """End the iteration; also from another thread, within a second."""
        self.is_closed = True
        with self._lock:
            self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- reading ---------------------------------------------------------------------------------------

    def _pump(self, timeout_s: float) -> None:
        """Wait for what is next, and take it."""
        with self._lock:
            if self.is_closed:
                return
            if not self._has_begun:
                self._begin()
            elif not self._is_connected:
                self._connect()
            if self._due and min(self._due) <= time.monotonic():
                self._catch_up()
            if self._ready:
                return
            waits = [timeout_s, *(due_s - time.monotonic() for due_s in self._due)]
            if not self._is_connected:
                time.sleep(max(0.0, min(*waits, self._connect_s - time.monotonic(), timeout_s)))
                return
            try:
                message = self._source.next(max(min(waits), 0.0))
            except SourceLostError as error:
                self._lost(str(error))
                return
            if message is not None:
                self._take(message)

    def _begin(self) -> None:
        """Connect, and read the past: a mistake of the user's is told at once, later outages are waited for."""
        try:
            self._source.connect()
        except SourceLostError as error:
            raise UnreachableError(
                f"{error}: start it, or name another address, as Feed('redis://host:6379')."
            ) from None
        self._is_connected = True
        for symbol, series in self._series.items():
            if self._read_past is None:
                continue
            last = None if self._start_ms is not None else max(self._last, 1)
            klines, note = self._read_past(symbol, self._start_ms, last, self._last != 0 or last is None)
            self.note = self.note or note
            new = series.take(klines)
            if self._last or last is None:  # else read only to know where the past ends
                self._ready += new
        self._has_begun = True
        self._plan_again()
        self._full_s = float("inf") if self._source.is_pushed else time.monotonic() + FULL_S

    def _connect(self) -> None:
        if time.monotonic() < self._connect_s:
            return
        try:
            self._source.connect()
        except (SourceLostError, FeedError) as error:
            self._lost(str(error))
            return
        self._is_connected, self._failures, self.problem = True, 0, ""
        self._plan_again()
        self._full_s = 0.0

    def _lost(self, why: str) -> None:
        self._source.close()
        self._is_connected, self.problem = False, why
        now_s = time.monotonic()
        self._connect_s = now_s + min(RECONNECT_FIRST_S * 2**self._failures, RECONNECT_CAP_S)
        self._failures = min(self._failures + 1, 10)
        if self._read_past is not None and not self._due:
            self._due = [now_s + POLL_S]
        self._full_s = min(self._full_s, now_s + FULL_S)

    def _plan_again(self) -> None:
        """Read what may have been missed now, and again when it has reached the store."""
        now_s = time.monotonic()
        self._due = [] if self._read_past is None else [now_s, *(now_s + pause_s for pause_s in AGAIN_S)]

    def _catch_up(self) -> None:
        """Read again what may have changed, of every symbol."""
        begin_s = time.monotonic()
        is_polled = not (self._is_connected and self._source.is_pushed)
        is_full = begin_s >= self._full_s
        self._due = [due_s for due_s in self._due if due_s > begin_s]
        try:
            for symbol in self._series:
                self._read_again(symbol, is_full=is_full)
        except FeedError as error:  # it is starting, or away: what was missed is there when it is back
            self.problem = str(error)
            self._due.append(time.monotonic() + POLL_S)
            return
        now_s = time.monotonic()
        if self._is_connected:
            self.problem = ""
        if is_polled:
            self._due.append(now_s + max(POLL_S, 2 * (now_s - begin_s)))
        if is_full:
            self._full_s = now_s + FULL_S if is_polled else float("inf")
            self._look_for_holes()

    def _look_for_holes(self) -> None:
        """Have holes read again, less and less often."""
        if not any(series.holes for series in self._series.values()):
            self._hole_pause_s = HOLE_FIRST_S
        elif self._read_past is not None:
            due_s = time.monotonic() + self._hole_pause_s
            self._due.append(due_s)
            self._full_s = min(self._full_s, due_s)
            self._hole_pause_s = min(2 * self._hole_pause_s, HOLE_CAP_S)

    def _read_again(self, symbol: str, *, is_full: bool) -> None:
        assert self._read_past is not None
        series = self._series[symbol]
        since_ms = series.doubtful_from() if is_full else series.stale_from(POLL_BEHIND)
        is_filled = is_full and bool(series.holes)
        klines, _ = self._read_past(symbol, since_ms, None if since_ms is not None else 1, is_filled)
        self._ready += series.take(klines)

    def _take(self, message: bytes) -> None:
        try:
            envelope: Any = read_envelope(message)
        except ValueError:  # another type of envelope, or an answer
            return
        if self._market not in (None, envelope.channel):
            return
        by_symbol: dict[str, list[Kline]] = {}
        for kline in envelope.data:
            if kline.symbol in self._series:
                by_symbol.setdefault(kline.symbol, []).append(kline)
        for symbol, klines in by_symbol.items():
            series, holes = self._series[symbol], len(self._series[symbol].holes)
            if self._read_past is not None and series.comes_after_a_hole(klines):
                try:
                    self._read_again(symbol, is_full=False)
                except FeedError as error:
                    self.problem = str(error)
            self._ready += series.take(klines)
            if len(series.holes) > holes:
                self._hole_pause_s = HOLE_FIRST_S
                self._look_for_holes()
