"""Growing pauses and the brake on log lines."""

from consumers.backoff import Backoff
from consumers.stats import RateLimit


def test_pauses_grow_to_the_cap_and_never_vanish():
    """A server that is down for a night is asked every few seconds, not in a tight loop."""
    backoff = Backoff(0.1, 5.0)
    for attempt in range(100):
        backoff.attempts = attempt
        assert 0.01 <= backoff.delay_s() <= min(5.0, 0.1 * 2.0**attempt)


def test_same_complaint_once_per_period_with_the_number_held_back():
    """A log line per failure would fill a disk."""
    brake = RateLimit(every_s=60)
    assert brake.pass_("a", 0) == 0
    assert brake.pass_("a", 1) is None
    assert brake.pass_("b", 1) == 0
    assert brake.pass_("a", 59) is None
    assert brake.pass_("a", 60) == 2
