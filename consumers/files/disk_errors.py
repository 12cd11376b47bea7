"""Write errors of one output: counted, logged as `<sink>_down` once a minute, and as `<sink>_up` when all is written.

The thread of the output that writes.
"""

import structlog

from model.pacing import LogThrottle

log = structlog.get_logger()


class DiskErrorTracker:
    """The disk errors of the output `sink`. Times `_s` are monotonic."""

    def __init__(self, sink: str) -> None:
        self._down, self._up = f"{sink}_down", f"{sink}_up"
        self._since_s = 0.0
        self._throttle = LogThrottle()
        self.error: OSError | None = None  # the last, until `recovered`
        self.count = 0

    def failed(self, error: OSError, now_s: float, **fields: object) -> None:
        """Record a failed write; `fields` go to the log."""
        self._since_s = now_s if self.error is None else self._since_s
        self.error = error
        self.count += 1
        held = self._throttle.allow(self._down, now_s)
        if held is not None:
            log.error(self._down, error=str(error), **fields, held_back=held)

    def recovered(self, now_s: float) -> None:
        """Record that everything is written."""
        if self.error is None:
            return
        after, self.error = self.error, None
        if self._throttle.allow(self._up, now_s) is not None:
            log.info(self._up, after=str(after), failed_s=round(now_s - self._since_s, 1))
