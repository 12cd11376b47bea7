"""The allowed lateness: never below its floor, raised by late trades, fading in time."""

from aggregation.klines.lateness import CAP_MS, HALF_LIFE_MS, AllowedLateness


def test_grace_is_its_floor_until_something_is_late():
    """No late trade, nothing added."""
    assert AllowedLateness(300).at(10**12) == 300


def test_grace_covers_what_was_late_with_a_margin_and_forgets_it():
    """Half of it is gone after a half-life; the floor stays."""
    grace = AllowedLateness(300)
    grace.observe(800, 10**12)

    assert grace.at(10**12) == 1000
    assert grace.at(10**12 + HALF_LIFE_MS) == 500
    assert grace.at(10**12 + 3 * HALF_LIFE_MS) == 300


def test_accident_is_not_waited_for_again():
    """A trade half a minute late is revised; the next windows do not wait for its like."""
    grace = AllowedLateness(300)
    grace.observe(CAP_MS, 10**12)

    assert grace.at(10**12) == 300


def test_without_waiter_mode_lateness_changes_nothing():
    """AGGREGATOR_WAITER_MODE_ENABLED=false closes at the end."""
    grace = AllowedLateness(0)
    grace.observe(500, 10**12)

    assert grace.at(10**12) == 0
