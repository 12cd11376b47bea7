"""Candles of the past for pages: read from the exchange on a thread of its own, coalesced, cached, bounded.

The thread `page-history` starts with the first request. Requests of one series that wait are one; what nobody looks at
any more is not read. Closed candles stay in the cache, the series that was asked for last longest.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from model.intervals import Interval
from model.pacing import ThrottledLogger
from model.records import Candle

CANDLES = 500  # of a series
SERIES = 40  # that are cached: 20,000 candles, some 12 MB
GAP_S = 0.2  # between two reads: five a second at most, beside what the exchange's limits allow
FRESH_S = 2.0  # what was read so long ago is not read again
SETTLED_MS = 10_000  # after its end a candle of the exchange does not change any more
NOTHING = "The exchange has no candles of this symbol yet."
MONTH_DAYS_MS = 31 * 86_400_000

log = structlog.get_logger()

SeriesId = tuple[str, str, str]
"""Market, symbol, and name of the interval."""


@dataclass(frozen=True)
class Past:
    """What is known of the past of a series: candles oldest first, and a sentence where some are missing.

    `is_final`: to ask again is no use for now. `read_ms`: when they were read, by the exchange's clock.
    """

    candles: Sequence[Candle] = ()
    note: str = ""
    is_final: bool = True
    read_ms: int = 0


ReadCandles = Callable[[str, str, Interval, int, int], Past]
"""Reads the candles of a market, a symbol and an interval that begin in a span (ms), the open one included; blocks."""


@dataclass
class _Known:
    """The cached closed candles of one series since `from_ms`, until `until_ms`; and the last answer."""

    from_ms: int = 0
    until_ms: int = 0
    candles: dict[int, Candle] = field(default_factory=dict)
    read_s: float = float("-inf")
    past: Past = field(default_factory=Past)


class HistoryReader:
    """Reads candles for pages. `request` is for the event loop's thread, `stop` for any."""

    def __init__(self, read: ReadCandles, now_ms: Callable[[], int], *, gap_s: float = GAP_S) -> None:
        self._read, self._now_ms, self._gap_s = read, now_ms, gap_s
        self._waiting: OrderedDict[SeriesId, tuple[Interval, Callable[[Past], object]]] = OrderedDict()
        self._known: OrderedDict[SeriesId, _Known] = OrderedDict()  # the thread's
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_stopped = False
        self._logger = ThrottledLogger(log)
        self.reads = 0

    def request(self, series: SeriesId, interval: Interval, take: Callable[[Past], object]) -> None:
        """Have `take` called on the thread with what is known; a request of the series that still waits is replaced."""
        with self._wake:
            self._waiting[series] = (interval, take)
            if self._thread is None and not self._is_stopped:
                self._thread = threading.Thread(target=self._run, name="page-history", daemon=True)
                self._thread.start()
            self._wake.notify()

    def cancel(self, series: SeriesId) -> None:
        """Forget a request that waits: nobody looks at the series any more."""
        with self._wake:
            self._waiting.pop(series, None)

    def stop(self) -> None:
        """End the thread once the read under way, if any, is over; does not wait."""
        with self._wake:
            self._is_stopped = True
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._waiting or self._is_stopped):
                    self._wake.wait()
                if self._is_stopped:
                    return
                series, (interval, take) = self._waiting.popitem()  # the newest: somebody has just turned to it
            reads = self.reads
            try:
                past = self._past_of(series, interval)
            except Exception:  # the thread's outermost: the next series goes on
                self._logger.exception("page_history_failed")
                past = Past((), "The history cannot be read: see the collector's log.")
            take(past)
            if self.reads != reads:
                time.sleep(self._gap_s)

    def _past_of(self, series: SeriesId, interval: Interval) -> Past:
        known = self._known.pop(series, None) or _Known()
        self._known[series] = known
        while len(self._known) > SERIES:
            self._known.popitem(last=False)
        if time.monotonic() - known.read_s < FRESH_S:
            return known.past
        now_ms = self._now_ms()
        first_ms = first_of(interval, now_ms)
        is_known = known.from_ms <= first_ms <= known.until_ms
        since_ms = known.until_ms if is_known else first_ms
        self.reads += 1
        market, symbol, _ = series
        read = self._read(market, symbol, interval, since_ms, now_ms + 1)
        found = {candle.start_ms: candle for candle in read.candles}
        closed = known.candles if is_known else {}
        candles = {start: candle for start, candle in {**closed, **found}.items() if start >= first_ms}
        note = read.note or ("" if candles else NOTHING)
        past = Past([candles[start] for start in sorted(candles)], note, read.is_final, now_ms)
        if read.is_final and not read.note:
            until_ms = interval.window_start(now_ms - SETTLED_MS)
            known.candles = {start: candle for start, candle in candles.items() if start < until_ms}
            known.from_ms, known.until_ms = first_ms, until_ms
            known.read_s = time.monotonic()
        known.past = past
        return past


def first_of(interval: Interval, now_ms: int, count: int = CANDLES) -> int:
    """The start of the oldest of so many candles before the one that is open at `now_ms`."""
    return interval.window_start(now_ms - count * (interval.step_ms or MONTH_DAYS_MS))
