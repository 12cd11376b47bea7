"""Which threads have ended that must not."""

import threading

from model.threads import dead_of


def test_only_what_was_started_and_has_ended_is_dead() -> None:
    """What is still to be started is not missed."""
    asked = threading.Event()
    alive, dead, unborn = (threading.Thread(target=asked.wait, name=name) for name in ("alive", "dead", "unborn"))
    dead.run = lambda: None  # type: ignore[method-assign]
    for thread in (alive, dead):
        thread.start()
    dead.join()
    assert dead_of([alive, dead, unborn]) == ["dead"]
    asked.set()
    alive.join()
