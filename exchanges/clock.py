"""What time it is at the exchange, however wrong the host's clock is.

Runs no thread: its owner calls `refresh` (blocks, asks REST) on one of his, everybody else may call the rest. Based on
the monotonic clock, so that a host clock set meanwhile changes nothing. Knows no exchange and closes no candle.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from exchanges.contract import HistoryError

log = structlog.get_logger()

SAMPLES = 5  # REST times per refresh: the quickest answers bound the offset best, the first opens the connection
REFRESH_S = 180.0  # at DRIFT the bounds widen by 18 ms meanwhile
RETRY_S = 10.0  # between refreshes after a failure, a step or a doubt
DRIFT = 1e-4  # how far a host's oscillator may be off: 100 ppm, twice what is usual
STEP_MS = 20.0  # a host clock is slewed by less between two looks
IN_FLIGHT_MS = 5_000  # a message stamped longer ago than this tells nothing, and stamps from before a step are gone
DOUBT_MS = 50.0  # Bybit's machines differ by less; a message further in the future is wrong, or we are
HEARD_ONLY_MS = 500  # without REST: the quickest message of many was on its way for less
HOLD_MS = 5_000  # stand still rather than go back by up to this; beyond it standing still would be worse
LOG_CHANGE_MS = 100.0


class Heard:
    """The best lower bound that messages gave: none is received before it was sent.

    The second best of different times is what counts, so that one wrong time stamp moves nothing. Bounds loosen
    with DRIFT; as they all do so equally, they are kept as the height of their falling line at time 0.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._best, self._best_ts_ms, self._second = float("-inf"), 0, float("-inf")

    def add(self, bound_ms: float, ts_ms: int, now_ms: float) -> None:
        """Take the bound that a message stamped `ts_ms` gives at `now_ms`."""
        line = bound_ms + DRIFT * now_ms
        if ts_ms == self._best_ts_ms:
            self._best = max(self._best, line)
        elif line > self._best:
            self._best, self._best_ts_ms, self._second = line, ts_ms, self._best
        else:
            self._second = max(self._second, line)

    def at(self, now_ms: float) -> float:
        """The bound now; minus infinity before two messages."""
        return self._second - DRIFT * now_ms


@dataclass(frozen=True, slots=True)
class Measured:
    """Bounds of the offset from REST, at the monotonic time `at_ms`."""

    low_ms: float
    high_ms: float
    at_ms: float

    def low_at(self, now_ms: float) -> float:
        """The lower bound, loosened by drift."""
        return self.low_ms - DRIFT * (now_ms - self.at_ms)

    def high_at(self, now_ms: float) -> float:
        """The upper bound, loosened by drift."""
        return self.high_ms + DRIFT * (now_ms - self.at_ms)


def agreed(samples: list[Measured]) -> Measured:
    """What all samples allow, or the narrowest one where they contradict each other by a server's few ms."""
    low, high = max(s.low_ms for s in samples), min(s.high_ms for s in samples)
    if low <= high:
        return Measured(low, high, samples[-1].at_ms)
    return min(samples, key=lambda s: s.high_ms - s.low_ms)


class ExchangeClock:
    """Exchange time from REST time, refined by the messages' own times. Thread safe; only `refresh` blocks.

    All offsets inside are exchange time minus monotonic time. Without REST the quickest message counts, which can
    only be late, never early; without messages too, the host's clock as it was at the start.
    """

    def __init__(
        self,
        server_time_ms: Callable[[], int],
        *,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`server_time_ms` raises HistoryError where it cannot say; `monotonic` in seconds."""
        self._server_time_ms, self._wall_ms, self._monotonic = server_time_ms, wall_ms, monotonic
        self._lock = threading.RLock()
        self._heard = Heard()
        self._measured: Measured | None = None
        self._wall_ahead_ms = self._start_ms = wall_ms() - self._mono_ms()
        self._last_ms = 0
        self._deaf_until_ms = float("-inf")  # after a step, until no message stamped before it is on its way
        self._measure_is_doubtful = False
        self._next_refresh_ms = self._mono_ms()
        self._is_reachable = True
        self.steps = 0
        self.doubted = 0

    # what it says

    def now_ms(self) -> int:
        """Exchange time, ms since the epoch. Stands still rather than going back, unless it was wrong by seconds."""
        with self._lock:
            self._look_at_host()
            mono_ms = self._mono_ms()
            now_ms = int(mono_ms + self._estimate(mono_ms)[0])
            if self._last_ms - HOLD_MS <= now_ms < self._last_ms:
                return self._last_ms
            self._last_ms = now_ms
            return now_ms

    @property
    def offset_ms(self) -> int:
        """Exchange time minus the host's clock as it is now: negative where the host is fast; 0 while it is unknown."""
        with self._lock:
            if not self.is_known:
                return 0
            self._look_at_host()
            return round(self._estimate(self._mono_ms())[0] - self._wall_ahead_ms)

    @property
    def uncertainty_ms(self) -> int | None:
        """How far `now_ms` may be off, in ms; None where nothing but the host's clock is known."""
        with self._lock:
            uncertainty = self._estimate(self._mono_ms())[1]
        return None if uncertainty is None else round(uncertainty)

    @property
    def is_known(self) -> bool:
        """Whether REST or messages have said anything yet."""
        return self.uncertainty_ms is not None

    # what it is told

    def observe(self, ts_ms: int, received_ms: int) -> None:
        """Learn that a message of exchange time `ts_ms` was received by the host's clock at `received_ms`.

        Any exchange time before the sending will do, a trade's too, and any host time after the receiving; the
        closer the better. Cheap, but one call per batch is enough.
        """
        with self._lock:
            self._look_at_host()
            mono_ms = self._mono_ms()
            age_ms = self._wall_ms() - received_ms
            if not 0 <= age_ms <= IN_FLIGHT_MS or mono_ms < self._deaf_until_ms:
                return
            bound_ms = ts_ms - (received_ms + 1 - self._wall_ahead_ms)  # its millisecond may have been nearly over
            if self._is_trusted() and self._measured and bound_ms > self._measured.high_at(mono_ms) + DOUBT_MS:
                self.doubted += 1
                self._want_refresh(mono_ms)
            else:
                self._heard.add(bound_ms, ts_ms, mono_ms)

    def seconds_to_refresh(self) -> float:
        """How long the owner may wait before the next `refresh`; 0 when it is due."""
        with self._lock:
            self._look_at_host()
            return max(0.0, (self._next_refresh_ms - self._mono_ms()) / 1000)

    def refresh(self) -> bool:
        """Measure by REST; blocks for some round trips. False, and everything as before, where REST cannot say."""
        samples = list(self._samples())
        with self._lock:
            self._next_refresh_ms = self._mono_ms() + 1000 * (REFRESH_S if samples else RETRY_S)
            if samples:
                self._take(agreed(samples))
        return bool(samples)

    # inside

    def _mono_ms(self) -> float:
        return self._monotonic() * 1000

    def _samples(self) -> Iterator[Measured]:
        try:
            for _ in range(SAMPLES):
                yield self._sample()
            self._is_reachable = True
        except HistoryError as error:
            if self._is_reachable:  # once, not every RETRY_S
                log.warning("exchange_clock_unreachable", error=str(error))
            self._is_reachable = False

    def _sample(self) -> Measured:
        sent_ms = self._mono_ms()
        server_ms = self._server_time_ms()
        back_ms = self._mono_ms()
        return Measured(server_ms - back_ms, server_ms + 1 - sent_ms, back_ms)

    def _take(self, measured: Measured) -> None:
        before_ms = self._estimate(measured.at_ms)[0]
        is_first, self._measured, self._measure_is_doubtful = self._measured is None, measured, False
        if self._heard.at(measured.at_ms) > measured.high_ms + DOUBT_MS:
            self._heard.forget()
        change_ms = self._estimate(measured.at_ms)[0] - before_ms
        if is_first or abs(change_ms) > LOG_CHANGE_MS:
            log.info(
                "exchange_clock_measured",
                offset_ms=self.offset_ms,
                uncertainty_ms=self.uncertainty_ms,
                change_ms=round(change_ms),
            )

    def _is_trusted(self) -> bool:
        return self._measured is not None and not self._measure_is_doubtful

    def _estimate(self, mono_ms: float) -> tuple[float, float | None]:
        """Offset to the monotonic clock and how far it may be off, ms."""
        heard_ms = self._heard.at(mono_ms)
        is_heard = heard_ms > float("-inf")
        if self._measured is None:
            return (heard_ms, HEARD_ONLY_MS) if is_heard else (self._start_ms, None)
        low_ms, high_ms = self._measured.low_at(mono_ms), self._measured.high_at(mono_ms)
        if heard_ms <= high_ms:
            offset_ms = max((low_ms + high_ms) / 2, heard_ms)  # ways there and back are alike, until proven unlike
            return offset_ms, max(high_ms - offset_ms, offset_ms - max(low_ms, heard_ms))
        if self._measure_is_doubtful and heard_ms > high_ms + DOUBT_MS:
            return heard_ms, HEARD_ONLY_MS  # the host slept: its monotonic clock stood still, the measure is old
        return heard_ms, heard_ms - low_ms

    def _want_refresh(self, mono_ms: float) -> None:
        self._next_refresh_ms = min(self._next_refresh_ms, mono_ms + 1000 * RETRY_S)

    def _look_at_host(self) -> None:
        """Notice that the host's clock was set, or that the host slept."""
        first_ms = self._mono_ms()
        wall_ms = self._wall_ms()
        low_ms, high_ms = wall_ms - self._mono_ms(), wall_ms - first_ms  # not equal where we were interrupted
        before_ms = self._wall_ahead_ms
        if low_ms - STEP_MS <= before_ms <= high_ms + STEP_MS:
            self._wall_ahead_ms = min(max(before_ms, low_ms), high_ms)
            return
        self.steps += 1
        self._wall_ahead_ms, self._deaf_until_ms = low_ms, first_ms + IN_FLIGHT_MS
        self._measure_is_doubtful, self._next_refresh_ms = self._measured is not None, first_ms
        log.warning("host_clock_stepped", step_ms=round(low_ms - before_ms))
