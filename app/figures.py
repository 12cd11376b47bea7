"""The figures that only metrics need: status events by kind of stream, closed klines and their delay, the trades' lag.

Counted per status event, per batch of klines and some times a second of trades, never per message. Any thread reads;
app/metrics.py does at each scrape.
"""

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

from model.events import NOT_WANTED, STOPPED, Disconnected, Gap, Repaired, StatusEvent
from model.intervals import parse_interval, step_name, step_of
from model.ports import KlineSink
from model.records import Kline, TradeBatch

LAG_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
DELAY_BOUNDS_S = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # 300 ms is the usual grace

SAMPLE_S = 0.02  # between two measurements of the lag of a market

Labels = tuple[str, ...]
"""Values of a metric's labels, in their order."""
Decode = Callable[[str, Sequence[bytes]], TradeBatch]
Window = tuple[int, int, bool, int]  # interval, start, whether complete, revision: of which few differ in a batch
window_of: Callable[[Kline], Window] = attrgetter("interval", "timestamp", "complete", "revision")


class Histogram:
    """Counts of seconds by the bounds that they do not exceed. One thread writes at a time; any reads."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        """`bounds_s` ascend; what is above the last is counted too."""
        self._bounds_s, self._sum_s = bounds_s, 0.0
        self._counts = [0] * (len(bounds_s) + 1)

    def add(self, value_s: float, times: int = 1) -> None:
        """Count a value so many times."""
        self._counts[bisect_left(self._bounds_s, value_s)] += times
        self._sum_s += value_s * times

    def read(self) -> tuple[list[tuple[str, int]], float]:
        """Return how many values are at most each bound, as Prometheus writes it, and the sum of all."""
        counts, sum_s, total, buckets = list(self._counts), self._sum_s, 0, []
        for bound, count in zip((*map(str, self._bounds_s), "+Inf"), counts, strict=True):
            total += count
            buckets.append((bound, total))
        return buckets, sum_s


class EventFigures:
    """An EventSink that counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._disconnects: Counter[Labels] = Counter()
        self._gaps: Counter[Labels] = Counter()
        self._repairs: Counter[Labels] = Counter()

    def emit(self, event: StatusEvent) -> None:
        """Count one event; any thread."""
        with self._lock:
            match event:
                case Disconnected(market=str(market), kind=str(kind), reason=reason):
                    self._disconnects[market, kind] += reason not in (NOT_WANTED, STOPPED)
                case Gap(market=str(market), kind=str(kind)):
                    self._gaps[market, kind] += 1
                case Repaired(market=str(market), how=how):
                    self._repairs[market, how] += 1

    def disconnects(self) -> dict[Labels, int]:
        """Connections that ended or could not be opened, once each outage, by market and kind."""
        return self._copy(self._disconnects)

    def gaps(self) -> dict[Labels, int]:
        """Gaps by market and kind."""
        return self._copy(self._gaps)

    def repairs(self) -> dict[Labels, int]:
        """Repairs by market and `how`."""
        return self._copy(self._repairs)

    def _copy(self, counts: Counter[Labels]) -> dict[Labels, int]:
        with self._lock:
            return dict(counts)


class KlineFigures:
    """A KlineSink before the outputs that counts what goes out, and how long after its close. Any thread.

    `names`: the intervals as the settings write them, by step (model.intervals); `now_ms` is the exchange's time.
    """

    def __init__(self, outputs: KlineSink, now_ms: Callable[[], int], names: Mapping[int, str]) -> None:
        self._outputs, self._now_ms, self._names = outputs, now_ms, names
        self._lock = threading.Lock()  # the aggregator publishes, and the backfill on the repair's thread
        self._closed: Counter[Labels] = Counter()
        self._incomplete: Counter[Labels] = Counter()
        self._revised: Counter[Labels] = Counter()
        self.delay = Histogram(DELAY_BOUNDS_S)

    def put(self, market: str, klines: Sequence[Kline]) -> None:
        """Hand on klines, then count them; 7,200 of a boundary cost less than a millisecond."""
        self._outputs.put(market, klines)
        if klines:
            windows = _windows_of(klines)
            with self._lock:
                self._count(market, windows, self._now_ms())

    def read(self, intervals: Mapping[Labels, int]) -> tuple[dict[Labels, int], ...]:
        """Return closed, incomplete and revised klines by market and interval; `intervals` has zeros to begin with."""
        with self._lock:
            return tuple({**intervals, **counts} for counts in (self._closed, self._incomplete, self._revised))

    def _count(self, market: str, windows: Mapping[Window, int], now_ms: int) -> None:
        for (length_ms, start_ms, is_complete, revision), count in windows.items():
            step_ms = step_of(length_ms, start_ms)
            key = market, self._names.get(step_ms) or step_name(step_ms)
            if revision:
                self._revised[key] += count
                continue
            self._closed[key] += count
            self._incomplete[key] += 0 if is_complete else count
            self.delay.add(max(0, now_ms - start_ms - length_ms) / 1000, count)


def _windows_of(klines: Sequence[Kline]) -> Counter[Window]:
    """Count klines by their window, whether they are complete, and revision. Of many most are as the first."""
    first = klines[0]
    length_ms, start_ms = first.interval, first.timestamp
    others = [
        kline
        for kline in klines
        if kline.interval != length_ms or kline.timestamp != start_ms or kline.revision or not kline.complete
    ]
    windows = Counter(map(window_of, others))
    windows[length_ms, start_ms, True, 0] += len(klines) - len(others)
    return windows


class LagFigures:
    """A Decode that samples the age of the newest trade of a batch, by market. Aggregator thread; any reads.

    A batch of one trade costs some 50 us in all, and measuring each of them 2: one in SAMPLE_S is enough.
    """

    def __init__(self, decode: Decode, now_ms: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        """`now_ms` is the exchange's time, `clock` gives monotonic seconds."""
        self._decode, self._now_ms, self._clock = decode, now_ms, clock
        self._due_s: dict[str, float] = {}
        self.lags: dict[str, Histogram] = {}
        self.newest_ms: dict[str, int] = {}
        """The age of the batch that was measured last, by market."""

    def __call__(self, market: str, payloads: Sequence[bytes]) -> TradeBatch:
        """Decode one batch of a market."""
        batch = self._decode(market, payloads)
        if (now_s := self._clock()) >= self._due_s.get(market, now_s) and batch.event_ms:
            self._due_s[market] = now_s + SAMPLE_S
            lag = self.lags.get(market)
            if lag is None:
                lag = Histogram(LAG_BOUNDS_S)
                self.lags = {**self.lags, market: lag}  # a new dict: the old one may be being read
            self.newest_ms[market] = lag_ms = max(0, self._now_ms() - batch.event_ms[-1])
            lag.add(lag_ms / 1000)
        return batch


class Figures:
    """All figures of one service; those of klines and trades where it makes klines."""

    def __init__(self) -> None:
        self.events = EventFigures()
        self.klines: KlineFigures | None = None
        self.trades: LagFigures | None = None

    def of_klines(
        self, decode: Decode, outputs: KlineSink, now_ms: Callable[[], int], intervals: Iterable[str]
    ) -> tuple[LagFigures, KlineFigures]:
        """Return what measures before `decode` and `outputs`; `intervals` are named as the settings write them."""
        self.klines = KlineFigures(outputs, now_ms, {parse_interval(text).step_ms: text for text in intervals})
        self.trades = LagFigures(decode, now_ms)
        return self.trades, self.klines
