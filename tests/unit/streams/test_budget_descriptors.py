"""The budget of descriptors."""

import errno
import os
import sys
import threading

from structlog.testing import capture_logs

from streams.budget import DescriptorBudget, lowest_free


class Open:
    """The lowest free descriptor, set by the test."""

    def __init__(self, number):
        self.number = number

    def __call__(self):
        return self.number


def stopped():
    event = threading.Event()
    event.set()
    return event


def test_connects_begin_below_the_bound_alone():
    """Connects without a socket yet count too: two hundred threads may begin at the same moment."""
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


def test_a_waiting_connect_goes_on_when_there_is_room():
    """A file was closed."""
    is_open = Open(20)
    budget = DescriptorBudget(lambda: 13, is_open, wait_s=0.0)

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


def test_a_closed_stdin_stops_no_connect(monkeypatch):
    """Programs that leave their terminal close it."""

    def dup(_number):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(os, "dup", dup)
    assert lowest_free() == 0
