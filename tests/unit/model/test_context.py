"""The context of a stream as its function sees it."""

import threading

from model.context import StreamContext, current, set_current


def test_a_thread_without_a_supervisor_has_a_context_of_its_own() -> None:
    """A feed can be called from a script."""
    seen: list[StreamContext] = []
    thread = threading.Thread(target=lambda: seen.extend([current(), current()]), name="a-script")
    thread.start()
    thread.join(5)
    assert seen[0] is seen[1]
    assert seen[0].name == "a-script"
    assert seen[0] is not current()


def test_the_set_context_is_the_current_one() -> None:
    """The supervisor's thread decides."""
    context = StreamContext("T")
    set_current(context)
    try:
        assert current() is context
    finally:
        set_current(None)


def test_abort_calls_what_is_registered_and_nothing_else() -> None:
    """A hook lives as long as its block."""
    calls: list[str] = []
    context = StreamContext("T")
    with context.on_abort(lambda: calls.append("past")):
        pass
    with context.on_abort(lambda: calls.append("present")):
        context.abort()
    assert calls == ["present"]
    assert context.stop.is_set()


def test_a_hook_registered_after_the_abort_is_called_at_once() -> None:
    """The race between opening a socket and being stopped has no loser."""
    calls: list[str] = []
    context = StreamContext("T")
    context.abort()
    with context.on_abort(lambda: calls.append("late")):
        assert calls == ["late"]


def test_a_failing_hook_does_not_keep_the_others_from_being_called() -> None:
    """Every socket is shut, whatever one of them raises."""
    calls: list[str] = []
    context = StreamContext("T")
    with context.on_abort(lambda: 1 / 0), context.on_abort(lambda: calls.append("second")):
        context.abort()
    assert calls == ["second"]


def test_success_clears_the_failures() -> None:
    """A stream that works starts counting anew."""
    context = StreamContext("T")
    context.failures = 3
    context.succeeded()
    assert (context.failures, context.state) == (0, "live")
