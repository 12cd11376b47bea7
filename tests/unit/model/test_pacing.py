"""The delays between attempts."""

import random
from itertools import pairwise

from model.pacing import Backoff


class _Highest(random.Random):
    """Draws the upper end, so that the ceiling is seen."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_the_ceiling_doubles_from_the_first_delay_to_the_cap() -> None:
    """Exponential, and never beyond the cap."""
    backoff = Backoff(2.0, 30.0, _Highest())
    assert [backoff.next_s() for _ in range(6)] == [2, 4, 8, 16, 30, 30]


def test_reset_begins_at_the_first_delay_again() -> None:
    """A stream that worked is not punished for its past."""
    backoff = Backoff(2.0, 30.0, _Highest())
    delays = [backoff.next_s(), backoff.next_s()]
    backoff.reset()
    assert backoff.next_s() == delays[0] == 2


def test_full_jitter_spreads_the_delays_over_the_whole_range() -> None:
    """A thousand streams must not come back together, nor all late."""
    delays = sorted(Backoff(2.0, 30.0, random.Random(seed)).next_s() for seed in range(1000))
    assert delays[0] < 0.05
    assert delays[-1] > 1.95
    assert max(after - before for before, after in pairwise(delays)) < 0.05


def test_a_first_delay_above_the_cap_is_honoured() -> None:
    """RECONNECT_DELAY=60 means 60, whatever our cap."""
    backoff = Backoff(60.0, 30.0, _Highest())
    assert [backoff.next_s(), backoff.next_s()] == [60, 60]


class _Lowest(random.Random):
    """Draws the lower end, so that the floor is seen."""

    def uniform(self, a: float, b: float) -> float:
        return a


def test_the_floor_is_a_share_of_each_bound() -> None:
    """It doubles with it; without one a pause may be nothing."""
    backoff = Backoff(1.0, 5.0, _Lowest(), floor=0.5)
    assert [backoff.next_s() for _ in range(5)] == [0.5, 1, 2, 2.5, 2.5]
    assert Backoff(1.0, 5.0, _Lowest()).next_s() == 0


def test_pauses_with_a_floor_grow_to_the_cap_and_never_vanish() -> None:
    """A server that is down for a night is tried every few seconds, not in a tight loop."""
    backoff = Backoff(0.1, 5.0, floor=0.1)
    for attempt in range(100):
        backoff.attempts = attempt
        assert 0.01 <= backoff.delay_s() <= min(5.0, 0.1 * 2.0**attempt)
