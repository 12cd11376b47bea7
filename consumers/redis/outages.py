"""What went wrong between the publisher and Redis, counted, and logged once per outage.

Who has the publisher's turn.
"""

from collections.abc import Callable

import structlog

from consumers.health import REASON_CHARACTERS, tell_nobody
from consumers.redis.protocol import Replies
from model.clock import now_ms
from model.pacing import LogThrottle, OutageLog

log = structlog.get_logger()


class Outages:
    """One line when Redis goes away, one when it is back: of a Redis that flaps once a minute. Refusals likewise."""

    def __init__(self) -> None:
        self.count = 0
        self.refused = 0
        self.tell: Callable[..., object] = tell_nobody
        self._down_since_s: float | None = None
        self._down_since_ms = 0
        self._dropped_before = 0
        self._throttle, self._log = LogThrottle(), OutageLog()

    @property
    def is_down(self) -> bool:
        """Say whether an outage is under way."""
        return self._down_since_s is not None

    def down(self, error: Exception, dropped: int, now_s: float) -> None:
        """Note a failure; `dropped` is the count of raw messages dropped until now."""
        held = self._log.down(now_s)
        if held is not None:
            log.warning("redis_down", error=str(error), error_type=type(error).__name__, held_back=held)
        if self._down_since_s is not None:
            return
        self._down_since_s = now_s
        self._dropped_before = dropped
        self.count += 1
        self._down_since_ms = now_ms()
        self.tell("sink_down", sink="redis", reason=f"{type(error).__name__}: {error}"[:REASON_CHARACTERS])

    def up(self, dropped: int, klines_waiting: int, now_s: float) -> None:
        """Note a connection."""
        is_logged = self._log.up()
        if self._down_since_s is None:
            if self._throttle.allow("redis_connected", now_s) is not None:
                log.info("redis_connected")
            return
        outage_s = round(now_s - self._down_since_s, 1)
        self._down_since_s = None
        raw_dropped = dropped - self._dropped_before
        if is_logged:
            log.info("redis_up", outage_s=outage_s, raw_dropped=raw_dropped, klines_waiting=klines_waiting)
        span = {"from": self._down_since_ms, "until": now_ms()}
        self.tell("sink_up", sink="redis", raw_dropped=raw_dropped, klines_waiting=klines_waiting, **span)

    def refuse(self, replies: Replies, now_s: float) -> None:
        """Note that Redis answered commands with errors."""
        self.refused += len(replies.refused)
        reason = replies.refused[0][1]
        held = self._throttle.allow(reason.split(" ", 1)[0], now_s)
        if held is not None:
            log.error("redis_refused", reply=reason, messages=len(replies.refused), held_back=held)
