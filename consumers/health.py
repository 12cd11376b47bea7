"""The health of one output: a `SinkDown` event when it fails, a `SinkUp` event when it works again.

One thread at a time, the output's own. A single refused envelope is no outage: failures must last, with no success
between them.
"""

import structlog

from model.clock import now_ms
from model.events import NO_EVENTS, REASON_CHARACTERS, EventSink, SinkDown, SinkUp
from model.pacing import OutageLog

log = structlog.get_logger()

LASTING_S = 10.0  # every envelope failed for so long: the output is down, not the envelope odd


class SinkHealth:
    """The state of the output `sink`. Times `_s` are monotonic.

    `is_logged`: `<sink>_down` and `<sink>_up` are logged too, once a minute where the output flaps.
    """

    def __init__(
        self,
        sink: str,
        events: EventSink = NO_EVENTS,
        *,
        lasting_s: float = LASTING_S,
        is_logged: bool = False,
    ) -> None:
        self._sink, self._events, self._lasting_s = sink, events, lasting_s
        self._down, self._up = f"{sink}_down", f"{sink}_up"
        self._log = OutageLog() if is_logged else None
        self._failing_since: tuple[float, int] | None = None  # monotonic seconds, wall ms: the first failure in a row
        self._lost_before = 0
        self.is_down = False
        self.outages = 0

    def failed(self, error: BaseException, lost: int, now_s: float, *, is_lasting: bool = False) -> None:
        """Record a failure; `lost` counts what was refused or dropped so far.

        Down once failures have lasted, or where `is_lasting`: nothing can be delivered before this one is over.
        """
        if self._failing_since is None:
            self._failing_since = now_s, now_ms()
            self._lost_before = lost
        since_s, since_ms = self._failing_since
        if not (self.is_down or is_lasting or now_s - since_s >= self._lasting_s):
            return
        if self._log and (held := self._log.down(now_s)) is not None:
            log.warning(self._down, error=str(error), error_type=type(error).__name__, held_back=held)
        if not self.is_down:
            self.is_down = True
            self.outages += 1
            reason = f"{type(error).__name__}: {error}"[:REASON_CHARACTERS]
            self._events.emit(SinkDown(sink=self._sink, reason=reason, from_ms=since_ms))

    def works(self, lost: int, now_s: float = 0.0, *, klines_waiting: int | None = None) -> bool:
        """Record a success, on the way of every envelope; whether it ends an outage.

        With `klines_waiting` the events have Redis's figures, `raw_dropped` in place of `lost`.
        """
        if self._failing_since is None:
            return False
        (since_s, since_ms), self._failing_since = self._failing_since, None
        was_down, self.is_down = self.is_down, False
        if was_down:
            lost -= self._lost_before
            figures = (
                {"lost": lost} if klines_waiting is None else {"raw_dropped": lost, "klines_waiting": klines_waiting}
            )
            if self._log and self._log.up():
                log.info(self._up, outage_s=round(now_s - since_s, 1), **figures)
            self._events.emit(SinkUp(sink=self._sink, from_ms=since_ms, until_ms=now_ms(), **figures))
        return was_down
