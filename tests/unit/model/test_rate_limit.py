"""The brake on log lines."""

from model.rate_limit import RateLimit


def test_same_complaint_once_per_period_with_the_number_held_back():
    """A log line per failure would fill a disk."""
    brake = RateLimit(every_s=60)
    assert brake.pass_("a", 0) == 0
    assert brake.pass_("a", 1) is None
    assert brake.pass_("b", 1) == 0
    assert brake.pass_("a", 59) is None
    assert brake.pass_("a", 60) == 2
