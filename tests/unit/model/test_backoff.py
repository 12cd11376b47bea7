"""Growing pauses."""

from consumers.backoff import Backoff


def test_pauses_grow_to_the_cap_and_never_vanish():
    """A server that is down for a night is asked every few seconds, not in a tight loop."""
    backoff = Backoff(0.1, 5.0)
    for attempt in range(100):
        backoff.attempts = attempt
        assert 0.01 <= backoff.delay_s() <= min(5.0, 0.1 * 2.0**attempt)
