"""Files that are written beside the way of the messages, on a thread of their own: a slow disk holds up nobody.

One job at a time; who has another asks again later, when it has newer to write anyway.
"""

import threading
import time
from collections.abc import Callable

import structlog

from model.pacing import LogThrottle

log = structlog.get_logger()


class DiskThread:
    """A daemon thread, there from `start` on. `is_free` and `do` are for one thread, which owns it."""

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._wake = threading.Event()
        self._free = threading.Event()
        self._free.set()
        self._job: Callable[[], object] = lambda: None
        self._throttle = LogThrottle()

    def start(self) -> None:
        """Start the thread; once."""
        self._thread.start()

    def threads(self) -> list[threading.Thread]:
        """The threads that must live."""
        return [self._thread]

    @property
    def is_free(self) -> bool:
        """Say whether the last job is done."""
        return self._free.is_set()

    def do(self, job: Callable[[], object]) -> None:
        """Run `job` there; only while it is free. What it raises is logged."""
        self._job = job
        self._free.clear()
        self._wake.set()

    def wait(self, limit_s: float) -> bool:
        """Wait for the last job; False where it is not done within the limit."""
        return self._free.wait(limit_s)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            try:
                self._job()
            except Exception:  # the thread's outermost: the next job may go well
                held = self._throttle.allow("failed", time.monotonic())
                if held is not None:
                    log.exception("disk_job_failed", thread=self._thread.name, held_back=held)
            self._free.set()
