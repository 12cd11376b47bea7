"""Where an earlier run ended: what closed while nobody collected goes out before what closes now.

Pure but for the questions it is given; `admit` is called on the aggregator thread, `step` on the repair thread.
Intervals shorter than the exchange's candles cannot be filled in: they go on where they go on.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np
import structlog

from aggregation.intervals import Interval
from aggregation.kline import Kline
from aggregation.repair import SETTLED_MS, DatedCandle, ReadCandles, RolledUp, rolled_up, step_for

HOLD_S = (
    30.0  # how long klines wait for older ones where the exchange cannot be asked: then a hole is better than silence
)
WINDOWS_AT_MOST = 20_000  # per symbol and interval, two weeks of minutes: an older past is not filled in

log = structlog.get_logger()

Published = tuple[int, int, bool]
"""Start (ms), revision and completeness of the kline that was published last."""


@dataclass
class _Gap:
    """One symbol and interval that has not caught up yet."""

    interval: Interval
    next_ms: int  # start of the oldest window that is not out yet
    reissue: int | None  # the revision to send that window again with, where it went out incomplete
    held: list[Kline] = field(default_factory=list)


class Resumption:
    """Fills the time between two runs, per market, symbol and interval; knows nothing of a first run.

    `known`: (market, symbol, interval in ms or 0 for months) -> what was published last. `publish(market, klines)` may
    be called on either thread, in order per symbol and interval.
    """

    def __init__(
        self,
        known: Mapping[tuple[str, str, int], Published],
        intervals: Iterable[Interval],
        symbols: Iterable[str],
        read: ReadCandles,
        steps_ms: Sequence[int],
        publish: Callable[[str, list[Kline]], object],
        now_ms: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._failing_since_s = clock, float("inf")
        self._read, self._steps_ms, self._publish, self._now_ms = read, steps_ms, publish, now_ms
        self._lock = threading.Lock()
        self._last = {key: last[0] for key, last in known.items()}
        self._gaps: dict[tuple[str, str, int], _Gap] = {}
        self.filled = self.holes = 0
        by_step, wanted = {interval.step_ms: interval for interval in intervals}, set(symbols)
        for key, (start_ms, revision, complete) in known.items():
            _, symbol, step_ms = key
            if symbol in wanted and step_ms in by_step:
                self._add(key, by_step[step_ms], start_ms, None if complete else revision + 1)

    @property
    def is_over(self) -> bool:
        """Whether everything has caught up."""
        return not self._gaps

    def admit(self, market: str, klines: list[Kline]) -> list[Kline]:
        """Those that may go out now; the others wait, or were out before this run."""
        if not self._last:
            return klines
        with self._lock:
            return [kline for kline in klines if self._may_pass(market, kline)]

    def step(self) -> None:
        """Ask for what is missing, send it, and let go what waited for it."""
        is_reachable = True
        for key, gap in list(self._gaps.items()):
            found = self._ask(key, gap) if is_reachable else None
            is_reachable = found is not None
            if found:
                self._failing_since_s = float("inf")
            with self._lock:
                self._take(key, gap, found or [])
        if not is_reachable:
            self._failing_since_s = min(self._failing_since_s, self._clock())

    def _add(self, key: tuple[str, str, int], interval: Interval, start_ms: int, reissue: int | None) -> None:
        end_ms = _end(interval, start_ms)
        if step_for(self._steps_ms, start_ms, end_ms - start_ms) is not None:
            self._gaps[key] = _Gap(interval, end_ms if reissue is None else start_ms, reissue)

    def _may_pass(self, market: str, kline: Kline) -> bool:
        for step_ms in (kline.interval, 0):
            key = (market, kline.symbol, step_ms)
            if gap := self._gaps.get(key):
                if kline.timestamp >= gap.next_ms:
                    gap.held.append(kline)
                return False
            if key in self._last:
                return kline.timestamp > self._last[key]
        return True

    def _ask(self, key: tuple[str, str, int], gap: _Gap) -> list[Kline] | None:
        """The klines from the next window on to the first that waits (or to now), as far as the exchange has them."""
        market, symbol, _ = key
        until_ms = min([self._now_ms() - SETTLED_MS, *(kline.timestamp for kline in gap.held)])
        windows = _windows(gap.interval, gap.next_ms, until_ms)
        if not windows:
            return []
        if len(windows) > WINDOWS_AT_MOST:
            log.warning("resumption_cut", symbol=symbol, interval=gap.interval.name, windows=len(windows))
            windows = windows[-WINDOWS_AT_MOST:]
        step_ms = step_for(self._steps_ms, windows[0][0], windows[0][1] - windows[0][0])
        assert step_ms is not None
        found = self._read(market, symbol, step_ms, windows[0][0], windows[-1][1])
        return None if found is None else self._klines(symbol, gap, windows, found, step_ms)

    @staticmethod
    def _klines(
        symbol: str, gap: _Gap, windows: list[tuple[int, int]], found: Sequence[DatedCandle], step_ms: int
    ) -> list[Kline]:
        rolled = ((start, end, rolled_up(found, start, end, step_ms)) for start, end in windows)
        candles = takewhile(lambda window: window[2] is not None, rolled)
        revisions = {gap.next_ms: gap.reissue or 0}
        return [
            _kline(symbol, end - start, candle, revisions.get(start, 0)) for start, end, candle in candles if candle
        ]

    def _take(self, key: tuple[str, str, int], gap: _Gap, found: list[Kline]) -> None:
        market = key[0]
        if found:
            self._publish(market, found)
            self.filled += len(found)
            self._last[key] = found[-1].timestamp
            gap.next_ms, gap.reissue = found[-1].timestamp + found[-1].interval, None
        if not gap.held:
            return
        is_reached = gap.next_ms >= gap.held[0].timestamp
        if not is_reached and self._clock() - self._failing_since_s < HOLD_S:
            return
        if not is_reached:
            self.holes += 1
            log.warning("resumption_hole", symbol=key[1], interval=gap.interval.name, from_ms=gap.next_ms)
        del self._gaps[key]
        self._publish(market, gap.held)


def _kline(symbol: str, interval_ms: int, candle: RolledUp, revision: int) -> Kline:
    """As the exchange has it; how many trades it was, the exchange does not tell."""
    return Kline(
        symbol=symbol,
        interval=interval_ms,
        timestamp=candle.start_ms,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        trade_count=0,
        turnover=candle.turnover,
        complete=True,
        source="exchange",
        revision=revision,
    )


def _end(interval: Interval, start_ms: int) -> int:
    return int(interval.end_of(np.array([start_ms]))[0])


def _windows(interval: Interval, start_ms: int, until_ms: int) -> list[tuple[int, int]]:
    """(start, end) of the windows from `start_ms` on that are over by `until_ms`, oldest first."""
    windows = []
    while (end_ms := _end(interval, start_ms)) <= until_ms:
        windows.append((start_ms, end_ms))
        start_ms = end_ms
    return windows
