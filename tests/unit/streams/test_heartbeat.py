"""Pings and deadlines: time is an argument."""

from streams.heartbeat import Beat, Heartbeat


def test_a_ping_is_due_once_per_interval() -> None:
    """Not at once, not twice."""
    heart = Heartbeat(20, 10, 0)
    assert heart.beat(19.9, 19) is Beat.NOTHING
    assert heart.beat(20, 19) is Beat.PING
    assert heart.beat(20.1, 20.05) is Beat.NOTHING
    assert heart.beat(40, 39) is Beat.PING


def test_a_ping_without_any_frame_behind_it_is_death() -> None:
    """A half-open connection is found by its silence."""
    heart = Heartbeat(20, 10, 0)
    assert heart.beat(20, 5) is Beat.PING
    assert heart.beat(29.9, 5) is Beat.NOTHING
    assert heart.beat(30, 5) is Beat.DEAD


def test_any_frame_after_the_ping_is_life() -> None:
    """Data is as good as a pong."""
    heart = Heartbeat(20, 10, 0)
    heart.beat(20, 5)
    assert heart.beat(35, 21) is Beat.NOTHING
    assert heart.beat(40, 21) is Beat.PING


def test_a_second_ping_does_not_prolong_the_first_ones_deadline() -> None:
    """With a timeout longer than the interval the oldest unanswered ping counts."""
    heart = Heartbeat(10, 25, 0)
    assert heart.beat(10, 5) is Beat.PING
    assert heart.beat(20, 5) is Beat.PING
    assert heart.beat(30, 5) is Beat.PING
    assert heart.beat(35, 5) is Beat.DEAD
