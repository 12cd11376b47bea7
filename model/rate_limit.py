"""The brake on repeated log lines. Pure: it is given the time."""

LOG_EVERY_S = 60.0  # the same complaint once a minute, with the number of those not written
KEYS_MOST = 200  # keys are written in the code; one made from input must not grow the table
OTHER = "other"


class RateLimit:
    """Lets one event per key and period through; one thread, or a lost count at worst."""

    def __init__(self, every_s: float = LOG_EVERY_S) -> None:
        self._every_s = every_s
        self._last_s: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def pass_(self, key: str, now_s: float) -> int | None:
        """Return how many were held back since the last one let through, or None if this one is held back."""
        if key not in self._last_s and len(self._last_s) >= KEYS_MOST:
            key = OTHER
        last_s = self._last_s.get(key)
        if last_s is not None and now_s - last_s < self._every_s:
            self._held[key] = self._held.get(key, 0) + 1
            return None
        self._last_s[key] = now_s
        return self._held.pop(key, 0)

    def retry(self, key: str, now_s: float) -> int | None:
        """Like `pass_` for an event that was held back already, and is counted as such."""
        if now_s - self._last_s.get(key, float("-inf")) < self._every_s:
            return None
        self._last_s[key] = now_s
        return max(0, self._held.pop(key, 0) - 1)


class OutageLog:
    """Which outages of something that flaps are logged: one with its end per period, and every one that lasts.

    One thread. What is down when its line was held back is logged at a later failure of the same outage.
    """

    def __init__(self, every_s: float = LOG_EVERY_S) -> None:
        self._brake = RateLimit(every_s)
        self._is_down = self._is_logged = False

    def down(self, now_s: float) -> int | None:
        """Note a failure; how many outages were held back where this one is to be logged now, else None."""
        if self._is_logged:
            return None
        is_first, self._is_down = not self._is_down, True
        held = self._brake.pass_("down", now_s) if is_first else self._brake.retry("down", now_s)
        self._is_logged = held is not None
        return held

    def up(self) -> bool:
        """Note that it works; whether that is to be logged, which it is after an outage that was."""
        was_logged, self._is_down, self._is_logged = self._is_logged, False, False
        return was_logged
