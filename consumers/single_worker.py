"""A thread that writes files for another one: a slow disk holds up no message.

One job at a time; the owner skips a job while another runs, and has newer data for its next one anyway.
"""

import threading
from collections.abc import Callable

import structlog

from model.clock import ThreadOwner
from model.pacing import ThrottledLogger

log = structlog.get_logger()


class SingleWorker(ThreadOwner):
    """A daemon thread that runs jobs from `start` on. `is_free`, `do` and `wait` are for one thread, its owner."""

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._wake = threading.Event()
        self._free = threading.Event()
        self._free.set()
        self._job: Callable[[], object] = lambda: None
        self._logger = ThrottledLogger(log)

    @property
    def is_free(self) -> bool:
        """Whether the last job is done."""
        return self._free.is_set()

    def do(self, job: Callable[[], object]) -> None:
        """Run `job` on the thread; only while it is free. What `job` raises is logged."""
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
                self._logger.exception("worker_job_failed", thread=self._thread.name)
            self._free.set()
