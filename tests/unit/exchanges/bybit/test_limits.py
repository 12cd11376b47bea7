"""The one budget that all askers of the process share."""

import threading

import pytest

from exchanges.bybit import limits
from exchanges.bybit.limits import NoTurnError, RestLimiter
from tests.unit.exchanges.bybit.rest_stub import Time


def test_a_burst_is_free_and_then_the_rate_holds() -> None:
    """Ten at once, then one every tenth of a second."""
    time = Time()
    limiter = RestLimiter(10, 10, clock=time)
    for _ in range(10):
        limiter.acquire(time)  # type: ignore[arg-type]
    assert time.waits == []
    limiter.acquire(time)  # type: ignore[arg-type]
    assert sum(time.waits) == pytest.approx(0.1)


def test_no_five_seconds_come_near_bybits_limit() -> None:
    """A greedy asker, resting now and then to gather a burst: 600 in 5 s would ban the address."""
    time = Time()
    limiter = RestLimiter(clock=time)
    asked = []
    for number in range(3_000):
        if number % 700 == 0:
            time.now_s += 10
        limiter.acquire(time)  # type: ignore[arg-type]
        asked.append(time.now_s)
    most = max(sum(1 for other in asked[i : i + 700] if other < asked[i] + 5) for i in range(0, 3_000, 7))
    assert 300 < most <= 360


def test_everybody_gets_exactly_the_burst_together() -> None:
    """Threads share the bucket: at one moment no turn is given twice."""
    limiter = RestLimiter(1, 500, clock=lambda: 0.0)
    turns: list[float] = []
    threads = [
        threading.Thread(target=lambda: turns.extend(limiter.try_acquire() for _ in range(200)), name=f"asker-{n}")
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert turns.count(0.0) == 500
    assert len(turns) == 800


def test_a_ban_refuses_at_once_and_ends_by_itself() -> None:
    """Ten minutes of silence, then the exchange is asked again."""
    time = Time()
    limiter = RestLimiter(clock=time)
    limiter.ban()
    with pytest.raises(NoTurnError, match="600 s"):
        limiter.acquire(time)  # type: ignore[arg-type]
    assert (limiter.banned_s, limiter.bans, time.waits) == (600.0, 1, [])
    time.now_s += limits.BAN_S
    limiter.acquire(time)  # type: ignore[arg-type]
    assert limiter.banned_s == 0


def test_a_ban_ends_the_waiting_of_others() -> None:
    """Who waits for a turn while another is banned must not ask afterwards."""
    time = Time()
    limiter = RestLimiter(0.01, 1, clock=time)
    limiter.acquire(time)  # type: ignore[arg-type]
    time.while_waiting = limiter.ban
    with pytest.raises(NoTurnError, match="breaker"):
        limiter.acquire(time)  # type: ignore[arg-type]
    assert len(time.waits) == 1


def test_after_a_pause_nobody_storms() -> None:
    """All wait until its end, then go one by one at the rate."""
    time = Time()
    limiter = RestLimiter(10, 100, clock=time)
    for _ in range(100):
        limiter.try_acquire()
    time.now_s += 2  # what was gathered in quiet does not shorten the pause
    limiter.pause(3)
    limiter.pause(1)  # a shorter one shortens nothing
    times = []
    for _ in range(5):
        limiter.acquire(time)  # type: ignore[arg-type]
        times.append(round(time.now_s - 102, 3))
    assert times == pytest.approx([3.0, 3.1, 3.2, 3.3, 3.4])
    assert limiter.pauses == 2


def test_stopping_ends_a_wait_without_a_turn() -> None:
    """Within one slice, however long the pause is."""
    time = Time()
    limiter = RestLimiter(clock=time)
    limiter.pause(50)

    def stop() -> None:
        time.stopped = True

    time.while_waiting = stop
    with pytest.raises(NoTurnError, match="stopped"):
        limiter.acquire(time)  # type: ignore[arg-type]
    assert time.waits == [limits.SLICE_S]


def test_no_wait_is_longer_than_its_limit() -> None:
    """Whoever cannot be served in time is told, instead of hanging."""
    time = Time()
    limiter = RestLimiter(clock=time, wait_limit_s=5)
    limiter.pause(60)
    with pytest.raises(NoTurnError, match="within 5 s"):
        limiter.acquire(time)  # type: ignore[arg-type]
    assert sum(time.waits) == pytest.approx(5)
