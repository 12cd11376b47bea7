"""The time of day, and waiting for the end of a thread. Any thread."""

import threading
import time


def now_ms() -> int:
    """Wall time in milliseconds."""
    return time.time_ns() // 1_000_000


def join_by(thread: threading.Thread, deadline_s: float) -> bool:
    """Wait for the end of a thread; False if `deadline_s` (monotonic) came first. One never started has none."""
    if thread.ident is not None:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return not thread.is_alive()
