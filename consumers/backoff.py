"""Growing pauses between attempts. Pure; one thread."""

import random


class Backoff:
    """Doubles from `first_s` to `cap_s` with full jitter; the owner counts `attempts` up and sets it to 0."""

    def __init__(self, first_s: float, cap_s: float) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self.attempts = 0

    def delay_s(self) -> float:
        """Return the pause before the next attempt: at least a tenth of its bound, so that it is one."""
        bound_s = min(self._cap_s, self._first_s * 2.0 ** min(self.attempts, 20))
        return bound_s * random.uniform(0.1, 1.0)  # noqa: S311 - spreads collectors, guards nothing
