"""The deadline of a whole step, such as opening a stream or one request, however many reads it takes.

A socket's time-out begins anew with every byte. The thread `deadlines` shuts the watched sockets down when a deadline
passes; it runs from the first deadline on and sleeps while there is none.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterable

GRAIN_S = 0.1  # how exactly deadlines are kept, and how soon a stop is seen


class DeadlineError(TimeoutError):
    """The step was not done in time, or was stopped."""


class Deadline:
    """A context manager around a step of the calling thread; `stop` ends the step early."""

    def __init__(self, limit_s: float, stop: threading.Event | None = None) -> None:
        self.problem: str | None = None
        """Why the step was ended, None where it was not."""
        self._limit_s, self._until_s = limit_s, time.monotonic() + limit_s
        self.stop = stop
        self._lock = threading.Lock()
        self._watched: list[socket.socket] = []

    def __enter__(self) -> "Deadline":
        """Start the deadline; raises OSError where no thread can be started."""
        _KEEPER.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        """End the deadline, and forget its sockets."""
        _KEEPER.discard(self)
        with self._lock:
            self._watched.clear()

    def left_s(self) -> float:
        """The seconds left, more than 0; raises DeadlineError where there are none."""
        self.check()
        if self.problem is not None:
            raise DeadlineError(self.problem)
        return max(self._until_s - time.monotonic(), GRAIN_S / 10)

    def watch(self, sock: socket.socket) -> None:
        """Shut `sock` down when the deadline passes; raises DeadlineError where it has passed."""
        with self._lock:
            self._watched.append(sock)
        self.left_s()

    def check(self) -> None:
        """Shut the sockets down where the deadline has passed. Any thread."""
        if self.problem is None:
            if self.stop is not None and self.stop.is_set():
                self.problem = "stopped"
            elif time.monotonic() >= self._until_s:
                self.problem = f"not done within {self._limit_s:g} s"
        if self.problem is None:
            return
        with self._lock:
            for sock in self._watched:
                with contextlib.suppress(OSError):  # closed, or not connected any more
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)  # SSLSocket's own would forget its encryption


class _Keeper:
    """The thread that checks every deadline ten times a second while there is one."""

    def __init__(self) -> None:
        self._deadlines: set[Deadline] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, deadline: Deadline) -> None:
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    raise OSError(f"no thread for deadlines: {error}") from error
                self._thread = thread
            self._deadlines.add(deadline)
            self._changed.notify()

    def discard(self, deadline: Deadline) -> None:
        with self._changed:
            self._deadlines.discard(deadline)

    def _run(self) -> None:
        while True:
            for deadline in self._wait():
                deadline.check()
            time.sleep(GRAIN_S)

    def _wait(self) -> Iterable[Deadline]:
        with self._changed:
            while not self._deadlines:
                self._changed.wait()
            return tuple(self._deadlines)


_KEEPER = _Keeper()  # one thread for all deadlines of the process; it holds nothing but those of steps under way
