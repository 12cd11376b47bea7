"""Windows that have left the slots of their rows are kept up to a bound, and what was dropped is known."""

import numpy as np

from aggregation.klines.retired import NEVER, RetiredWindows


def window(value):
    return np.array([value])


def test_first_that_left_is_dropped_first_whatever_its_row():
    """The latest start that a row has lost is known: nothing before it is made again as if it had been complete."""
    retired = RetiredWindows(most=3)
    for row, start in ((0, 1_000), (1, 1_000), (0, 2_000), (0, 3_000)):
        retired.add(row, start, window(start))

    assert (list(retired.of(0)), list(retired.of(1))) == ([2_000, 3_000], [1_000])
    assert (retired.dropped_until(0), retired.dropped_until(1)) == (1_000, NEVER)


def test_window_that_is_kept_again_is_one():
    """Its last state counts."""
    retired = RetiredWindows(most=2)
    for value in (5, 6, 7):
        retired.add(0, 1_000, window(value))
    retired.add(0, 2_000, window(8))

    assert {start: each.tolist() for start, each in retired.of(0).items()} == {1_000: [7], 2_000: [8]}


def test_forgotten_row_keeps_nothing_and_the_others_all():
    """The symbol begins like one never seen."""
    retired = RetiredWindows(most=2)
    for row, start in ((0, 1_000), (1, 1_000), (0, 2_000)):
        retired.add(row, start, window(start))
    retired.forget(0)
    retired.add(1, 2_000, window(2))

    assert (list(retired.of(0)), list(retired.of(1)), retired.dropped_until(0)) == ([], [1_000, 2_000], NEVER)
