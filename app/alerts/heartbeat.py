"""The thread `heartbeat`: requests ALERT_HEARTBEAT_URL once a minute while the collector is ready.

A dead man's switch: the service at that address tells a person when the requests cease.
"""

import threading
from collections.abc import Callable

import structlog

from app.alerts.services import Address, SendError
from model.clock import ThreadOwner, join_by
from model.pacing import ThrottledLogger

EVERY_S = 60.0
RETRY_S = 10.0  # after one that failed, and while it is not ready

log = structlog.get_logger()


class Heartbeat(ThreadOwner):
    """Owner of the thread. `is_ready` is called on it and must not block."""

    def __init__(self, url: str, is_ready: Callable[[], bool], every_s: float = EVERY_S) -> None:
        self._is_ready, self._every_s = is_ready, every_s
        self._stop = threading.Event()
        self._address = Address(url, "ALERT_HEARTBEAT_URL", self._stop)
        self.name = self._address.name
        self._logger = ThrottledLogger(log)
        self.sent = self.failed = 0
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def stop(self, deadline_s: float) -> bool:
        """End the thread, and a request on its way; False where it lives at `deadline_s` (monotonic)."""
        self._stop.set()
        return join_by(self._thread, deadline_s)

    def beat(self) -> bool:
        """Request the address once where the collector is ready; whether that was answered."""
        if not self._is_ready():
            return False
        try:
            self._address.request("GET")
        except SendError as error:
            self.failed += 1
            if not self._stop.is_set():
                sentence = f"{self.name} does not answer as it should: {error}. It is tried again."
                self._logger.warning("heartbeat_failed", sentence=sentence, service=self.name, error=str(error))
            return False
        self.sent += 1
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                is_sent = self.beat()
            except Exception:  # the thread's outermost loop
                self._logger.exception("heartbeat_failed")
                is_sent = False
            self._stop.wait(self._every_s if is_sent else min(RETRY_S, self._every_s))
