"""A stream's loop, on the test's own thread and without waiting."""

import random
from collections.abc import Callable

import pytest

from model.context import StreamContext, current
from model.pacing import Backoff
from streams.registry import StreamEntry
from streams.runner import STABLE_S, Runner
from tests.support.clock import FakeClock
from tests.support.events import RecordedEvents


def make(
    func: Callable[[], object],
    *,
    attempts: int = 0,
    clock: FakeClock | None = None,
    events: RecordedEvents | None = None,
) -> tuple[Runner, StreamContext, Backoff]:
    context, backoff = StreamContext("T"), Backoff(0.0, 0.0, random.Random(0))
    entry = StreamEntry("T", func, (), {}, {})
    return Runner(entry, context, backoff, attempts, events or RecordedEvents(), clock or FakeClock()), context, backoff


def test_a_function_that_returns_or_raises_is_called_again() -> None:
    """Both ends of a call mean the same: once more, after the backoff."""
    calls: list[int] = []

    def func() -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            raise ConnectionResetError
        if len(calls) == 2:
            raise KeyError("unexpected")
        if len(calls) == 4:
            current().abort()

    runner, context, _ = make(func)
    runner.run()
    assert len(calls) == 4
    assert runner.finished
    assert context.state == "ended"


@pytest.mark.parametrize("error", [ConnectionRefusedError("no"), ValueError("wrong")])
def test_attempts_are_counted_and_then_it_gives_up(error: Exception) -> None:
    """RECONNECT_MAX_ATTEMPTS=2: the first call and two more."""
    calls: list[int] = []

    def func() -> None:
        calls.append(1)
        raise error

    events = RecordedEvents()
    runner, context, _ = make(func, attempts=2, events=events)
    runner.run()
    assert len(calls) == 3
    assert (context.state, runner.finished) == ("gave_up", True)
    reason = f"{type(error).__name__}: {error}"
    assert events.emitted == [("disconnected", {"stream": "T", "reason": reason, "final": True})]


def test_success_clears_the_count() -> None:
    """Only failures in a row lead to giving up."""
    calls: list[int] = []

    def func() -> None:
        calls.append(1)
        if len(calls) < 10:
            current().succeeded()

    runner, _, _ = make(func, attempts=2)
    runner.run()
    assert len(calls) == 9 + 2


def test_a_long_call_counts_as_success() -> None:
    """A user's plain function reports no success; that it lasted is one."""
    clock = FakeClock()
    calls: list[int] = []

    def func() -> None:
        calls.append(1)
        clock.now_s += STABLE_S if len(calls) < 10 else 0.0

    runner, _, _ = make(func, attempts=2, clock=clock)
    runner.run()
    assert len(calls) == 9 + 2


def test_a_system_exit_ends_the_thread_but_not_the_stream() -> None:
    """The supervisor finds it dead and unfinished, and revives it."""

    def func() -> None:
        raise SystemExit(3)

    runner, context, _ = make(func)
    with pytest.raises(SystemExit):
        runner.run()
    assert not runner.finished
    assert context.state == "ended"


def test_success_resets_the_backoff() -> None:
    """The next failure waits as the first one did."""
    runner, context, backoff = make(lambda: None)
    resets: list[int] = []
    backoff.reset = lambda: resets.append(1)  # type: ignore[method-assign]
    context.succeeded()
    assert resets == [1]
    assert runner.take_success()
    assert not runner.take_success()
