"""Faults of the input: counted by cause, and logged once per cause and minute.

Any thread may report; a report costs a lock and an addition, and never raises.
"""

import threading
import time
from collections.abc import Callable

import structlog

from model.pacing import KEYS_MOST, LOG_EVERY_S, OTHER, LogThrottle

SAMPLE_CHARS = 200  # enough to recognise a message, too little to flood a log with a 5 MB one
SAMPLE_BYTES = SAMPLE_CHARS * 4  # a UTF-8 character is at most 4 bytes: never decode more than that

log = structlog.get_logger()


class FaultLog:
    """Counts faults, and logs at most one line per cause and window.

    The first report of a cause is logged at once, the next one after `window_s` with the count since. Causes beyond
    KEYS_MOST are counted as OTHER. Thread-safe. `clock` gives monotonic seconds.
    """

    def __init__(self, window_s: float = LOG_EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._throttle = clock, LogThrottle(window_s)
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._samples: dict[str, bytes | str] = {}  # of the newest fault of each cause

    def report(self, cause: str, sample: bytes | str = b"") -> None:
        """Count one fault of `cause` and log it if its window has passed; blocks on nothing but the log."""
        with self._lock:
            if cause not in self._counts and len(self._counts) >= KEYS_MOST:
                cause = OTHER
            self._counts[cause] = total = self._counts.get(cause, 0) + 1
            self._samples[cause] = sample = sample[:SAMPLE_BYTES]
            held = self._throttle.allow(cause, self._clock())
        if held is not None:
            _log(cause, held + 1, total, sample)

    def flush(self) -> None:
        """Log what was counted but not yet logged, where the window has passed; for the status tick."""
        with self._lock:
            due = self._throttle.take_due(self._clock())
            lines = [(cause, count, self._counts[cause], self._samples[cause]) for cause, count in due.items()]
        for line in lines:
            _log(*line)

    def counts(self) -> dict[str, int]:
        """All faults since the start, by cause: a copy."""
        with self._lock:
            return dict(self._counts)


def _log(cause: str, count: int, total: int, sample: bytes | str) -> None:
    text = sample if isinstance(sample, str) else bytes(sample).decode("utf-8", errors="replace")
    log.warning("fault", cause=cause, count=count, total=total, sample=text[:SAMPLE_CHARS])
