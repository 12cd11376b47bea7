"""The delays between attempts."""

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from model.pacing import Backoff, SlidingWindow


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


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=40), st.integers(1, 5))
def test_no_window_has_more_than_are_allowed(steps: list[tuple[float, bool]], most: int) -> None:
    """Wherever it begins; what must be counts all the same, and what is refused does not."""
    window, now_s = SlidingWindow(most, 2.0), 0.0
    taken: list[float] = []
    for pause_s, must in steps:
        now_s += pause_s
        recent = [at_s for at_s in taken if now_s - at_s < 2.0]
        assert window.take(now_s, must=must) is (must or len(recent) < most)
        taken += [now_s] if must or len(recent) < most else []


def test_what_is_allowed_comes_at_once_and_again_after_the_window() -> None:
    """A fresh window is empty."""
    window = SlidingWindow(4.0, 1.0)
    assert [window.take(100.0) for _ in range(6)] == [True] * 4 + [False] * 2
    assert [window.take(100.9), window.take(101.0)] == [False, True]
