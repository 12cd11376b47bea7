"""streams.descriptors."""

import errno
import os
import sys
import threading

from structlog.testing import capture_logs

from streams import descriptors
from streams.descriptors import DescriptorBudget, lowest_free


class Open:
    """How many descriptors are open: what is the lowest free one."""

    def __init__(self, number):
        self.number = number

    def __call__(self):
        return self.number


def stopped():
    event = threading.Event()
    event.set()
    return event


def test_connects_begin_below_the_bound_alone():
    """Those that have no socket yet count too: two hundred threads ask at the same moment."""
    is_open = Open(10)
    budget = DescriptorBudget(lambda: 13, is_open)
    with capture_logs():
        assert [budget.acquire(stopped()) for _ in range(5)] == [True, True, True, False, False]
        budget.release()
        assert budget.acquire(stopped())
        for _ in range(3):
            budget.release()
        is_open.number = 13
        assert not budget.acquire(stopped())


def test_who_waits_goes_on_when_there_is_room(monkeypatch):
    """Somebody closed a file."""
    monkeypatch.setattr(descriptors, "WAIT_S", 0.0)
    is_open = Open(20)
    budget = DescriptorBudget(lambda: 13, is_open)

    class Stop(threading.Event):
        def wait(self, timeout=None):
            is_open.number -= 4
            return False

    with capture_logs() as logs:
        assert budget.acquire(Stop())
        assert not budget.acquire(stopped())
    assert [entry["event"] for entry in logs] == ["connect_waits_for_descriptor"]  # of all that wait, one a minute


def test_none_left_is_no_room(monkeypatch):
    """The system refuses."""

    def refuse(_number):
        raise OSError(24, "Too many open files")

    assert lowest_free() > 2
    monkeypatch.setattr(os, "dup", refuse)
    assert lowest_free() == sys.maxsize
    with capture_logs():
        assert not DescriptorBudget(lambda: 100).acquire(stopped())


def test_a_stdin_that_somebody_closed_stops_no_connect(monkeypatch):
    """As programs do that leave their terminal."""

    def dup(_number):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(os, "dup", dup)
    assert lowest_free() == 0
