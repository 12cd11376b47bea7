"""A disk that refuses: counted, logged once a minute, and logged again when it has taken everything.

The thread of the output that writes.
"""

import structlog

from model.pacing import LogThrottle

log = structlog.get_logger()


class WriteFaults:
    """Of one output; `refused` and `works_again` are the events of its log. Times `_s` are monotonic."""

    def __init__(self, refused: str, works_again: str) -> None:
        self._refused, self._works_again = refused, works_again
        self._since_s = 0.0
        self._throttle = LogThrottle()
        self.error: OSError | None = None  # the last, until `works`
        self.count = 0

    def failed(self, error: OSError, now_s: float, **fields: object) -> None:
        """Note that a write failed; `fields` go to the log."""
        self._since_s = now_s if self.error is None else self._since_s
        self.error = error
        self.count += 1
        held = self._throttle.allow(self._refused, now_s)
        if held is not None:
            log.error(self._refused, error=str(error), **fields, held_back=held)

    def works(self, now_s: float) -> None:
        """Note that nothing is left of what failed."""
        if self.error is None:
            return
        after, self.error = self.error, None
        if self._throttle.allow(self._works_again, now_s) is not None:
            log.info(self._works_again, after=str(after), failed_s=round(now_s - self._since_s, 1))
