"""Pacing: pauses between attempts, and how often a repeated log line is written.

Pure: time is an argument, but for ThrottledLogger.
"""

import random
import time
from collections import deque
from typing import Any

CAP_S = 30.0  # an exchange that is back must not wait longer than this for its streams
LOG_EVERY_S = 60.0  # the same complaint once a minute, with the number of lines not written
OUTAGE_LINES_S = (60.0, 300.0, 900.0, 3600.0)  # ages of an outage at which it is logged again; then every hour
KEYS_MOST = 200  # keys are written in the code; one made from input must not grow the table
OTHER = "other"


class Backoff:
    """Exponential backoff with jitter: each pause is drawn evenly from `floor` of its bound up to the bound.

    The bound doubles from `first_s` to `cap_s`. Full jitter, because hundreds of streams that lost the same exchange in
    the same second must not return in the same second. `attempts` counts the failures in a row. One thread.
    """

    def __init__(
        self, first_s: float, cap_s: float = CAP_S, rng: random.Random | None = None, *, floor: float = 0.0
    ) -> None:
        self._first_s, self._cap_s, self._floor = first_s, max(cap_s, first_s), floor
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not cryptography
        self.attempts = 0

    def delay_s(self) -> float:
        """Draw the pause before the next attempt, seconds."""
        bound_s = min(self._cap_s, self._first_s * 2.0 ** min(self.attempts, 20))
        return self._rng.uniform(self._floor * bound_s, bound_s)

    def next_s(self) -> float:
        """Draw the pause after one more failure, which doubles the bound of the next."""
        pause_s = self.delay_s()
        self.attempts += 1
        return pause_s

    def reset(self) -> None:
        """Begin at `first_s` again: an attempt succeeded."""
        self.attempts = 0


class LogThrottle:
    """Allows one log line per key and period. One thread; of several, a count may be lost."""

    def __init__(self, every_s: float = LOG_EVERY_S) -> None:
        self._every_s = every_s
        self._last_s: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def allow(self, key: str, now_s: float) -> int | None:
        """Return how many were held back since the last one let through, or None if this one is held back."""
        if key not in self._last_s and len(self._last_s) >= KEYS_MOST:
            key = OTHER
        last_s = self._last_s.get(key)
        if last_s is not None and now_s - last_s < self._every_s:
            self._held[key] = self._held.get(key, 0) + 1
            return None
        self._last_s[key] = now_s
        return self._held.pop(key, 0)

    def take_due(self, now_s: float) -> dict[str, int]:
        """Let through the keys that have lines held back and whose period is over; returns how many each has."""
        due = {key: held for key, held in self._held.items() if now_s - self._last_s[key] >= self._every_s}
        for key in due:
            del self._held[key]
            self._last_s[key] = now_s
        return due


class ThrottledLogger:
    """A logger that writes one line per event and `key` in a minute, with `held_back`: how many it did not write."""

    def __init__(self, logger: Any) -> None:
        self._logger, self._throttle = logger, LogThrottle()

    def warning(self, event: str, key: str = "", **fields: object) -> None:
        """Write a warning."""
        self._write("warning", event, key, fields)

    def error(self, event: str, key: str = "", **fields: object) -> None:
        """Write an error."""
        self._write("error", event, key, fields)

    def exception(self, event: str, key: str = "", **fields: object) -> None:
        """Write an error with the traceback of the exception that is being handled."""
        self._write("exception", event, key, fields)

    def _write(self, level: str, event: str, key: str, fields: dict[str, object]) -> None:
        if (held := self._throttle.allow(f"{event} {key}", time.monotonic())) is not None:
            getattr(self._logger, level)(event, **fields, held_back=held)


def outage_line_due_s(lines: int) -> float:
    """Return at which age, in seconds, an outage is logged again that was logged `lines` times since its first line."""
    last = len(OUTAGE_LINES_S) - 1
    return OUTAGE_LINES_S[lines] if lines <= last else OUTAGE_LINES_S[last] * (lines - last + 1)


class OutageLog:
    """Chooses which outages of a flapping peer are logged: one with its end per period, and every one that lasts.

    One thread. What is down when its line was held back is logged at a later failure of the same outage; one that goes
    on, again at growing distances.
    """

    def __init__(self) -> None:
        self._is_down = self._is_logged = False
        self._logged_s = float("-inf")
        self._count = self._lines = 0  # outages since then; lines of this one, since its first

    def down(self, now_s: float) -> int | None:
        """Record a failure; how many outages were held back where this one is to be logged now, else None."""
        if self._is_logged:
            lines = self._lines
            while now_s - self._logged_s >= outage_line_due_s(self._lines):
                self._lines += 1
            return 0 if self._lines > lines else None
        self._count += not self._is_down
        self._is_down = True
        if now_s - self._logged_s < LOG_EVERY_S:
            return None
        self._is_logged, self._logged_s, self._lines = True, now_s, 0
        held, self._count = self._count - 1, 0
        return held

    def up(self) -> bool:
        """Record that it works; whether that is to be logged, which it is after an outage that was."""
        was_logged, self._is_down, self._is_logged = self._is_logged, False, False
        return was_logged


class SlidingWindow:
    """Allows `most` actions in any `per_s` seconds. One thread; time is an argument."""

    def __init__(self, most: float, per_s: float) -> None:
        self._per_s = per_s
        self._taken_s: deque[float] = deque(maxlen=max(1, int(most)))  # when the newest were counted

    def take(self, now_s: float, *, must: bool = False) -> bool:
        """Return whether one more action is allowed now, and count it; `must`: count it whatever came before."""
        taken_s = self._taken_s
        is_allowed = len(taken_s) < (taken_s.maxlen or 0) or now_s - taken_s[0] >= self._per_s
        if is_allowed or must:
            taken_s.append(now_s)
        return is_allowed or must
