"""Whether one output works, told when it changes: `sink_down` and `sink_up`, in the manner of the redis publisher.

The output's own thread only. One refused envelope is no outage: envelopes must fail for a while, and none succeed.
"""

from collections.abc import Callable
from typing import Any

from model.clock import now_ms

REASON_CHARACTERS = 200
LASTING_S = 10.0  # every envelope failed for so long: the output is down, not the envelope odd


def tell_nobody(_event: str, **_fields: Any) -> None:
    """Stand in for a `tell` that nobody gave."""


class SinkNews:
    """The state of one output. Times `_s` are monotonic."""

    def __init__(self, sink: str) -> None:
        self._sink = sink
        self.tell: Callable[..., object] = tell_nobody
        self._failing_since: tuple[float, int] | None = None  # monotonic seconds, wall ms: the first failure in a row
        self._is_down = False
        self._lost_before = 0

    def failed(self, error: BaseException, lost: int, now_s: float, *, lasting_s: float = LASTING_S) -> None:
        """Note a failure; `lost` counts envelopes refused or dropped so far. Down once it has lasted."""
        if self._failing_since is None:
            self._failing_since = now_s, now_ms()
            self._lost_before = lost
        since_s, since_ms = self._failing_since
        if self._is_down or now_s - since_s < lasting_s:
            return
        self._is_down = True
        reason = f"{type(error).__name__}: {error}"[:REASON_CHARACTERS]
        self.tell("sink_down", sink=self._sink, reason=reason, **{"from": since_ms})

    def works(self, lost: int) -> bool:
        """Note a success, on the way of every envelope; whether it ends an outage that was told."""
        if self._failing_since is None:
            return False
        since_ms, self._failing_since = self._failing_since[1], None
        was_down, self._is_down = self._is_down, False
        if was_down:
            span = {"from": since_ms, "until": now_ms()}
            self.tell("sink_up", sink=self._sink, lost=lost - self._lost_before, **span)
        return was_down
