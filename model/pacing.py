"""How long to wait before the next attempt. Pure: draws from the generator it is given, looks at no clock.

Exponential with full jitter: hundreds of streams that lost the same exchange in the same second must not return to
it in the same second.
"""

import random

CAP_S = 30.0  # an exchange that is back must not wait longer than this for its streams


class Backoff:
    """The delays of one stream: at most `first_s`, then doubling up to `cap_s`, each drawn evenly from zero up."""

    def __init__(self, first_s: float, cap_s: float = CAP_S, rng: random.Random | None = None) -> None:
        self._first_s = first_s
        self._cap_s = max(cap_s, first_s)
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not cryptography
        self._ceiling_s = first_s

    def next_s(self) -> float:
        """Seconds to wait now; the ceiling of the next wait doubles."""
        delay_s = self._rng.uniform(0.0, self._ceiling_s)
        self._ceiling_s = min(self._cap_s, self._ceiling_s * 2)
        return delay_s

    def reset(self) -> None:
        """Begin at `first_s` again: the stream has proven that it works."""
        self._ceiling_s = self._first_s
