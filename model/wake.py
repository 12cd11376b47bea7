"""Waking one sleeping thread from many, and letting the thread that reads the sockets go first."""

import contextlib
import os
import sys
import threading
import time

YIELD_S = 0.00002  # long enough for a thread that waits for the GIL to take it
LOOK_S = 0.0001


class WakeSignal:
    """Wakes one sleeping thread; costs the waking one an attribute look-up while the other is awake.

    The order is the promise: a putter leaves something and then looks at `is_armed`; the sleeper arms the signal and
    then looks once more at what was left. A bare lock, because threading.Event costs the sleeper three times as much
    per wake-up, and a pipe makes the waking thread give up the interpreter lock.
    """

    def __init__(self) -> None:
        self.is_armed = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the sleeper; where it is awake, its next wait may end at once. Any thread."""
        self.is_armed = False
        with contextlib.suppress(RuntimeError):  # set by two at once: the lock is open already
            self._lock.release()

    def arm(self) -> None:
        """Announce sleep; look at what is waiting once more between this and `wait`."""
        self.is_armed = True

    def wait(self, timeout_s: float) -> bool:
        """Sleep until the signal is set; False after `timeout_s` without that."""
        was_set = self._lock.acquire(timeout=timeout_s)
        self.is_armed = False
        return was_set


def stand_back(niceness: int) -> None:
    """Raise the niceness of the calling thread, not of its process: on Linux each has its own. Never lowers it."""
    if niceness and sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, max(niceness, os.getpriority(os.PRIO_PROCESS, thread)))


class ReadRound:
    """Whether a round of reads goes on; long work on another thread gives way to it.

    A thread that wants the GIL gets it after 5 ms only, and a reader gives it away again with each of its system calls:
    beside a thread that computes, a round of sixteen reads would take as long as that does.
    """

    def __init__(self) -> None:
        self.goes_on = False
        self.over = WakeSignal()  # set by the reader at the end of a round, where it is armed

    def wait_until_over(self, limit_s: float) -> bool:
        """Wait for the end of the next round that ends; False where `limit_s` passed before."""
        self.over.arm()
        return self.over.wait(limit_s)

    def give_way(self, limit_s: float) -> None:
        """Give up the GIL, and wait for the end of a round that goes on then; for `limit_s` at most."""
        time.sleep(YIELD_S)
        until_s = time.monotonic() + limit_s
        while self.goes_on and time.monotonic() < until_s:
            time.sleep(LOOK_S)
