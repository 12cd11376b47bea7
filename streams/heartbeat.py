"""The heartbeat of a connection: when to ping, and when it is dead. Pure: time is an argument (monotonic seconds).

Any frame proves that the connection is alive: a pong is missed only while nothing else arrives.
"""

from enum import Enum


class Beat(Enum):
    """The action that is due on a connection."""

    NOTHING = "nothing"
    PING = "ping"
    DEAD = "dead"


class Heartbeat:
    """One connection's pings: one every `interval_s`, each to be followed by any frame within `timeout_s`."""

    def __init__(self, interval_s: float, timeout_s: float, now_s: float) -> None:
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._ping_due_s = now_s + interval_s
        self._unanswered_since_s: float | None = None

    def beat(self, now_s: float, last_frame_s: float) -> Beat:
        """The action that is due at `now_s`. PING is returned once per ping and counts as sent."""
        since_s = self._unanswered_since_s
        if since_s is not None and last_frame_s >= since_s:
            self._unanswered_since_s = since_s = None
        if since_s is not None and now_s >= since_s + self._timeout_s:
            return Beat.DEAD
        if now_s < self._ping_due_s:
            return Beat.NOTHING
        self._ping_due_s = now_s + self._interval_s
        if since_s is None:
            self._unanswered_since_s = now_s
        return Beat.PING
