"""An hour's end under load: which moment, and what messages waited around it."""

import numpy as np
import pytest

from benchmarks.hour import COUNT, UNIT_S, choose, judge


@pytest.mark.parametrize("now_s", [1_763_634_000.5, 1_763_635_259.0, 1_763_636_001.0])
def test_the_moment_ends_a_window_of_each_interval_and_none_ends_shortly_before(now_s: float) -> None:
    """As a full hour does for the usual ones; it comes within minutes."""
    end_s, lengths = choose(now_s)
    assert now_s < end_s < now_s + 600
    assert len(set(lengths)) == COUNT
    assert all(end_s % length == 0 for length in lengths)
    assert not any(at % length == 0 for length in lengths for at in range(end_s - UNIT_S + 1, end_s))


def test_what_waits_around_the_boundary_is_held_against_the_seconds_before() -> None:
    """The first seconds of the load, and what is after the settling, are in neither."""
    sent_ms = np.array([-7_000, -5_000, -3_000, -500, 100, 3_500], float)
    ages_ms = np.array([99, 1, 2, 3, 12, 99], float)
    found = judge(sent_ms, ages_ms)
    assert (found["before_messages"], found["before_most_ms"], found["before_over_s"]) == (2, 2, 0)
    assert (found["around_messages"], found["around_most_ms"], found["around_over_s"]) == (2, 12, 0.25)
