"""The brake on repeated log lines. Pure: it is given the time."""

LOG_EVERY_S = 60.0  # the same complaint once a minute, with the number of those not written


class RateLimit:
    """Lets one event per key and period through; one thread, or a lost count at worst."""

    def __init__(self, every_s: float = LOG_EVERY_S) -> None:
        self._every_s = every_s
        self._last_s: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def pass_(self, key: str, now_s: float) -> int | None:
        """Return how many were held back since the last one let through, or None if this one is held back."""
        last_s = self._last_s.get(key)
        if last_s is not None and now_s - last_s < self._every_s:
            self._held[key] = self._held.get(key, 0) + 1
            return None
        self._last_s[key] = now_s
        return self._held.pop(key, 0)
