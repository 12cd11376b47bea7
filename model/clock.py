"""The time of day, waiting for the end of a thread, and for a moment without work. Any thread."""

import threading
import time
from datetime import UTC, datetime


def now_ms() -> int:
    """Return the host's wall clock, ms since the epoch."""
    return time.time_ns() // 1_000_000


def iso_ms(time_ms: float) -> str:
    """Return ISO 8601 in UTC with milliseconds and Z."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def join_by(thread: threading.Thread, deadline_s: float) -> bool:
    """Wait for the end of a thread; False if `deadline_s` (monotonic) came first. One never started has none."""
    if thread.ident is not None:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return not thread.is_alive()


class ThreadOwner:
    """The base of what has one thread, `_thread`, that must live from `start` until a stop."""

    _thread: threading.Thread

    def start(self) -> None:
        """Start the thread; once."""
        self._thread.start()

    def threads(self) -> list[threading.Thread]:
        """Return the threads that must live."""
        return [self._thread]


class Deferred:
    """Work deferred to an idle moment, but no longer than `limit_s`; call `is_due` often. One thread."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since_s: float | None = None

    def is_due(self, now_s: float, *, is_wanted: bool, is_idle: bool) -> bool:
        """Return whether to do it now, once."""
        since_s = now_s if self._since_s is None else self._since_s
        is_now = is_wanted and (is_idle or now_s - since_s >= self._limit_s)
        self._since_s = since_s if is_wanted and not is_now else None
        return is_now
