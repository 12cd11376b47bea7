"""Exchange time from answers."""

from exchanges.bybit.client.server_time import ServerTime

WALL_MS = 1_700_000_000_000


class Mono:
    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def made() -> tuple[ServerTime, Mono]:
    mono = Mono()
    return ServerTime(lambda: WALL_MS, mono), mono


def test_the_hosts_clock_until_an_answer_comes() -> None:
    """And no offset is claimed."""
    time, _ = made()
    assert (time.now_ms(), time.offset_ms, time.uncertainty_ms) == (WALL_MS, 0, None)


def test_an_answer_bounds_the_time() -> None:
    """It left between sending and receiving: the middle is at most half a round trip off."""
    time, mono = made()
    time.observe(WALL_MS + 7_000, 49.9, 50.0)
    assert abs(time.offset_ms - 7_050) <= 1
    assert 50 <= (time.uncertainty_ms or 0) <= 51
    mono.now_s += 10
    assert abs(time.now_ms() - (WALL_MS + 17_050)) <= 1


def test_a_quicker_answer_narrows_it() -> None:
    """What all answers allow."""
    time, _ = made()
    time.observe(WALL_MS, 49.0, 50.0)
    time.observe(WALL_MS, 49.998, 50.0)
    assert (time.uncertainty_ms or 99) < 3


def test_a_clock_that_was_set_is_followed() -> None:
    """Bounds that contradict what was known replace it."""
    time, _ = made()
    time.observe(WALL_MS, 49.99, 50.0)
    time.observe(WALL_MS - 60_000, 49.9, 50.0)
    assert abs(time.offset_ms + 60_000) < 60


def test_forgetting_begins_anew() -> None:
    """After 10002."""
    time, _ = made()
    time.observe(WALL_MS + 5, 49.9, 50.0)
    time.forget()
    assert not time.is_known
