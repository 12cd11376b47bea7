"""The exchange's time, estimated from the times in its answers on the monotonic clock.

A host clock set meanwhile changes nothing. Thread safe; sends no request. The arithmetic of bounds is that of
exchanges/clock.py.
"""

import threading
import time
from collections.abc import Callable

from exchanges.clock_evidence import Measured, agreed

SAMPLES = 3  # requests of the time at the first signed call and after 10002; the first opens the connection
STEP_MS = 50.0  # bounds that miss each other by more mean that a clock was set


class ServerTime:
    """Exchange time; the host's clock until the first answer."""

    def __init__(
        self,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall_ms, self._monotonic = wall_ms, monotonic
        self._lock = threading.Lock()
        self._measured: Measured | None = None

    @property
    def is_known(self) -> bool:
        """Whether an answer had the time."""
        return self._measured is not None

    def now_ms(self) -> int:
        """Exchange time, ms since the epoch."""
        measured = self._measured
        if measured is None:
            return self._wall_ms()
        mono_ms = self._monotonic() * 1000
        return int(mono_ms + (measured.low_at(mono_ms) + measured.high_at(mono_ms)) / 2)

    @property
    def offset_ms(self) -> int:
        """Exchange time minus the host's clock; 0 while it is unknown."""
        return self.now_ms() - self._wall_ms() if self.is_known else 0

    @property
    def uncertainty_ms(self) -> float | None:
        """How far `now_ms` may be off; None while it is unknown."""
        measured, mono_ms = self._measured, self._monotonic() * 1000
        return None if measured is None else (measured.high_at(mono_ms) - measured.low_at(mono_ms)) / 2

    def observe(self, server_ms: int, sent_s: float, back_s: float) -> None:
        """Record exchange time `server_ms` of an answer that left between two monotonic times."""
        new = Measured(server_ms - back_s * 1000, server_ms + 1 - sent_s * 1000, back_s * 1000)
        with self._lock:
            self._measured = new if self._measured is None else _joined(self._measured, new)

    def forget(self) -> None:
        """Drop the estimate: the exchange refused a request for its time."""
        with self._lock:
            self._measured = None


def _joined(old: Measured, new: Measured) -> Measured:
    now_ms = new.at_ms
    aged = Measured(old.low_at(now_ms), old.high_at(now_ms), now_ms)
    if aged.low_ms > new.high_ms + STEP_MS or new.low_ms > aged.high_ms + STEP_MS:
        return new
    return agreed([aged, new])
