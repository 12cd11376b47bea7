"""The connect budget, by a clock of the test's own."""

import threading

from streams.budget import ConnectBudget
from tests.support.clock import FakeClock


def test_the_window_holds_no_more_than_the_limit() -> None:
    """The fourth connect waits until the first has left the window."""
    clock = FakeClock()
    budget = ConnectBudget(3, 300.0, clock)
    assert [budget.try_acquire("a") for _ in range(3)] == [0, 0, 0]
    clock.now_s += 100
    assert budget.try_acquire("a") == 200
    clock.now_s += 200
    assert budget.try_acquire("a") == 0


def test_hosts_have_budgets_of_their_own() -> None:
    """Testnet's storm does not silence mainnet."""
    budget = ConnectBudget(1, 300.0, FakeClock())
    assert budget.try_acquire("a") == 0
    assert budget.try_acquire("b") == 0
    assert budget.try_acquire("a") > 0


def test_a_tripped_host_is_closed_for_the_time_given() -> None:
    """After 403 no stream connects, whatever is left of the budget; a shorter trip does not shorten a longer one."""
    clock = FakeClock()
    budget = ConnectBudget(10, 300.0, clock)
    budget.trip("a", 600)
    budget.trip("a", 5)
    assert budget.try_acquire("a") == 600
    assert budget.try_acquire("b") == 0
    clock.now_s += 600
    assert budget.try_acquire("a") == 0


def test_a_stopped_waiter_gets_no_connect() -> None:
    """Stopping wins over waiting, and over a budget that would allow it."""
    budget = ConnectBudget(1, 300.0, FakeClock())
    stop = threading.Event()
    assert budget.acquire("a", stop)
    stop.set()
    assert not budget.acquire("a", stop)
    assert not budget.acquire("b", stop)


def test_the_breaker_takes_no_connect_and_old_ones_are_forgotten() -> None:
    """The breaker first, then the connects of the window."""
    clock = FakeClock()
    budget = ConnectBudget(1, 300.0, clock)
    budget.try_acquire("a")
    budget.trip("a", 60)
    assert budget.try_acquire("a") == 60
    clock.now_s += 60
    assert budget.try_acquire("a") == 240
    clock.now_s += 241
    assert budget.try_acquire("a") == 0
