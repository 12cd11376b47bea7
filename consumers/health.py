"""The health and the figures of one output: `SinkDown` when it fails, `SinkUp` when it works again; its failed writes.

One thread at a time, the output's own; figures are read from any, a moment old. A single refused envelope is no outage:
failures must last, with no success between them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from model.clock import now_ms
from model.events import NO_EVENTS, REASON_CHARACTERS, EventSink, SinkDown, SinkUp
from model.pacing import LogThrottle, OutageLog

log = structlog.get_logger()

LASTING_S = 10.0  # every envelope failed for so long: the output is down, it is not one odd envelope


@dataclass(frozen=True)
class ConsumerStats:
    """Counts since the start, in envelopes (redis: in messages). `lag_s` is the age of the oldest waiting."""

    queued: int = 0
    delivered: int = 0
    dropped: int = 0
    errors: int = 0
    lag_s: float = 0.0
    extra: dict[str, float] = field(default_factory=dict)


class SinkOutage(NamedTuple):
    """An output that does not work, why, and since when (wall clock)."""

    sink: str
    reason: str
    since_ms: int


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
        remedy_of: Callable[[BaseException], str] = lambda _error: "see the error",
    ) -> None:
        """`remedy_of(error)` returns what to do about a failure, for the log."""
        self._sink, self._events, self._lasting_s = sink, events, lasting_s
        self._down, self._up = f"{sink}_down", f"{sink}_up"
        self._log, self._remedy_of = (OutageLog() if is_logged else None), remedy_of
        self._failing_since: tuple[float, int] | None = None  # monotonic seconds, wall ms: the first failure in a row
        self._lost_before = 0
        self._reason = ""
        self.is_down = False
        self.outages = 0

    @property
    def outage(self) -> SinkOutage | None:
        """What is wrong now; any thread, a moment old."""
        since, reason = self._failing_since, self._reason
        return SinkOutage(self._sink, reason, since[1]) if self.is_down and since else None

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
            self._log_down(error, round(now_s - since_s, 1), held)
        if not self.is_down:
            self._reason = f"{type(error).__name__}: {error}"[:REASON_CHARACTERS]
            self.is_down = True
            self.outages += 1
            self._events.emit(SinkDown(sink=self._sink, reason=self._reason, from_ms=since_ms))

    def works(self, lost: int, now_s: float = 0.0, *, klines_waiting: int | None = None) -> bool:
        """Record a success, such as an envelope that was taken; returns whether it ends an outage.

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
                sentence = f"The output {self._sink} works again after {now_s - since_s:,.1f} s"
                log.info(
                    self._up,
                    sentence=f"{sentence} ({_counted(figures)}).",
                    outage_s=round(now_s - since_s, 1),
                    **figures,
                )
            self._events.emit(SinkUp(sink=self._sink, from_ms=since_ms, until_ms=now_ms(), **figures))
        return was_down

    def _log_down(self, error: BaseException, down_s: float, held_back: int) -> None:
        remedy = self._remedy_of(error)
        since = f" for {down_s:,.0f} s" if down_s >= 1 else ""
        problem = str(error).rstrip(".")
        sentence = f"The output {self._sink} does not work{since}: {problem}. What to do: {remedy}."
        fields = {"error": str(error), "error_type": type(error).__name__, "down_s": down_s, "remedy": remedy}
        log.warning(self._down, sentence=sentence, **fields, held_back=held_back)


class FailureLog:
    """Failed writes of the output `sink`: logged as `<sink>_down` once a minute, as `<sink>_up` when all is written.

    Every failure counts, at once; times `_s` are monotonic.
    """

    def __init__(self, sink: str) -> None:
        self._down, self._up = f"{sink}_down", f"{sink}_up"
        self._since_s = 0.0
        self._throttle = LogThrottle()
        self.error: Exception | None = None  # the last, until `recovered`
        self.count = 0

    def failed(self, error: Exception, now_s: float, **fields: object) -> None:
        """Record a failed write; `fields` go to the log."""
        self._since_s = now_s if self.error is None else self._since_s
        self.error = error
        self.count += 1
        held = self._throttle.allow(str(error).split(" ", 1)[0], now_s)  # of Redis the code of its refusal
        if held is not None:
            log.error(self._down, error=str(error), **fields, held_back=held)

    def recovered(self, now_s: float) -> None:
        """Record that everything is written."""
        if self.error is None:
            return
        after, self.error = self.error, None
        if self._throttle.allow(self._up, now_s) is not None:
            log.info(self._up, after=str(after), failed_s=round(now_s - self._since_s, 1))


def _counted(figures: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in figures.items())
