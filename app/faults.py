"""Faults of the input: counted by cause, and logged once per cause and minute.

Any thread may report; a report costs a lock and an addition, and never raises.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

SAMPLE_CHARS = 200  # enough to recognise a message, too little to flood a log with a 5 MB one
SAMPLE_BYTES = SAMPLE_CHARS * 4  # a UTF-8 character is at most 4 bytes: never decode more than that
CAUSES_MAX = 200  # causes are written in the code, a few dozen; a cause made from input must not grow the table
OTHER_CAUSE = "other"  # what is counted there once the table is full

log = structlog.get_logger()


@dataclass(slots=True)
class _Cause:
    """The counts of one cause; guarded by the FaultLog's lock."""

    count: int = 0
    logged_count: int = 0
    logged_s: float | None = None
    sample: bytes | str = b""


class FaultLog:
    """Counts faults, and logs at most one line per cause and window.

    The first report of a cause is logged at once, the next one after `window_s` with the count since.
    Thread-safe. `clock` gives monotonic seconds.
    """

    def __init__(self, window_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._window_s = window_s
        self._clock = clock
        self._lock = threading.Lock()
        self._causes: dict[str, _Cause] = {}

    def report(self, cause: str, sample: bytes | str = b"") -> None:
        """Count one fault of `cause` and log it if its window has passed; blocks on nothing but the log."""
        now_s = self._clock()
        with self._lock:
            if cause not in self._causes and len(self._causes) >= CAUSES_MAX:
                cause = OTHER_CAUSE
            entry = self._causes.setdefault(cause, _Cause())
            entry.count += 1
            entry.sample = sample[:SAMPLE_BYTES]
            due = self._take_due(cause, entry, now_s)
        if due:
            log.warning("fault", **due)

    def flush(self) -> None:
        """Log what was counted but not yet logged, where the window has passed; for the status tick."""
        now_s = self._clock()
        with self._lock:
            pending = [self._take_due(cause, entry, now_s) for cause, entry in self._causes.items()]
        for due in filter(None, pending):
            log.warning("fault", **due)

    def counts(self) -> dict[str, int]:
        """All faults since the start, by cause: a copy."""
        with self._lock:
            return {cause: entry.count for cause, entry in self._causes.items()}

    def _take_due(self, cause: str, entry: _Cause, now_s: float) -> dict[str, object] | None:
        """Return the fields of the line that is due, marked as logged; None inside the window or where none is new."""
        if entry.count == entry.logged_count:
            return None
        if entry.logged_s is not None and now_s - entry.logged_s < self._window_s:
            return None
        since = entry.count - entry.logged_count
        entry.logged_count, entry.logged_s = entry.count, now_s
        return {"cause": cause, "count": since, "total": entry.count, "sample": _readable(entry.sample)}


def _readable(sample: bytes | str) -> str:
    text = sample if isinstance(sample, str) else bytes(sample).decode("utf-8", errors="replace")
    return text[:SAMPLE_CHARS]
