"""Waking one sleeping thread from many. Any thread sets the signal; one thread waits for it."""

import contextlib
import threading


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
