"""The thread `reader`, which waits for many sockets at once and reads those that are ready.

A thread of its own for each socket costs a wake-up and a switch of the GIL per message when messages come one by one:
28 us each on 16 sockets, half of that here. Refuses receivers that may block: their streams read on their own threads.
"""

import contextlib
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from model.ports import ReadRoundListener
from model.wake import ReadRound

READ_BYTES = 256 * 1024  # several hundred messages per system call under load
FEW_SOCKETS = 2  # are read within FLUSH_AFTER_S, without a look at the clock between them
BUSY_SOCKETS = 6  # so many ready at once: more follow at once, and a round for all costs little more than for one
ROUND_S = 0.0013  # how far apart the rounds begin then; 1.9 ms takes 0 to 10 % less CPU, and p99 is 1 ms more
TICK_S = 0.5  # how often deadlines are checked; every connection has its own, longer tick
FLUSH_AFTER_S = 0.005  # a long round is finished in parts of so long: 1,000 full sockets are 256 MiB and a second
END_S = 0.5  # a reader that was asked to end does so at once; a callback that hangs must not use up the stop's time

log = structlog.get_logger()


class Readable(Protocol):
    """The reader's port to a connection: everything but `sock` is called on the reader's thread."""

    sock: socket.socket

    def read(self) -> bool:
        """Read what has arrived, without waiting; False where the connection is over."""

    def keep(self, now_s: float) -> bool:
        """Keep deadlines (monotonic seconds); False where the connection is over."""


class SocketPoll:
    """Waits until some of many sockets can be read, each with what reads it; by epoll, elsewhere than on Linux by poll.

    `selectors` takes three times as long: it makes a key of every socket that is ready.
    """

    def __init__(self) -> None:
        epoll = getattr(select, "epoll", None)
        self._poll: Any = epoll() if epoll else select.poll()
        self._second = 1 if epoll else 1000  # in the unit of its timeouts
        self._works: dict[int, Readable | None] = {}

    def __enter__(self) -> "SocketPoll":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def register(self, sock: socket.socket, work: Readable | None) -> None:
        """Wait for `sock`, too; OSError or ValueError where it is closed, or the kernel takes no more."""
        descriptor = sock.fileno()
        with contextlib.suppress(OSError, KeyError):  # a socket that was closed without leaving had this number
            self._poll.unregister(descriptor)
        self._poll.register(descriptor, select.POLLIN)
        self._works[descriptor] = work

    def forget(self, work: Readable) -> None:
        """Do not wait any more for the socket that `work` reads, whether it is open or closed."""
        for descriptor in [descriptor for descriptor, each in self._works.items() if each is work]:
            del self._works[descriptor]
            with contextlib.suppress(OSError, KeyError):  # closed: the kernel has forgotten it
                self._poll.unregister(descriptor)

    def wait(self, timeout_s: float) -> list[Readable | None]:
        """Return what reads the sockets that can be read now, or are over; none where `timeout_s` passed before."""
        works, ready = self._works, self._poll.poll(timeout_s * self._second)
        return [works[descriptor] for descriptor, _ in ready if descriptor in works]  # a copy of one may live on

    def close(self) -> None:
        """Give up epoll's own descriptor; the sockets stay open."""
        with contextlib.suppress(AttributeError):  # poll has none
            self._poll.close()


class _Waiter:
    """A thread that waits for the end of its connection; `problem` is why it is released before that."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.problem: str | None = None

    def release(self, problem: str | None = None) -> None:
        self.problem = problem
        self.over.set()


class Reader:
    """Reads for threads that wait in `read` meanwhile. Starts its thread with the first of them.

    The listeners are called around every round of reads, and within long ones, in their order: what a round brought is
    sent on this thread at once. `reads` is kept for a thread that computes.
    """

    def __init__(
        self,
        listeners: Sequence[ReadRoundListener] = (),
        *,
        reads: ReadRound | None = None,
        tick_s: float = TICK_S,
        flush_after_s: float = FLUSH_AFTER_S,
    ) -> None:
        # One buffer for all connections, and kept: recv() of this size maps and unmaps memory each time (35 us).
        self.buffer = bytearray(READ_BYTES)
        self._on_started = [listener.round_started for listener in listeners]
        self._on_finished = [listener.round_finished for listener in listeners]
        self._reads = reads or ReadRound()
        self._tick_s, self._flush_after_s = tick_s, flush_after_s
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._new: deque[tuple[Readable, _Waiter]] = deque()
        self._waiting: dict[Readable, _Waiter] = {}
        self._woken: deque[Readable] = deque()
        self._stopping = False
        self._tick_due_s = self._wait_s = 0.0

    @property
    def connections(self) -> int:
        """How many connections are read. Any thread."""
        return len(self._waiting)

    def read(self, work: Readable) -> None:
        """Block until `work` is over. Any thread; ConnectionError where it cannot be read, or the reader has died."""
        waiter = _Waiter()
        try:
            with self._lock:  # a reader that ends meanwhile releases this one too
                self._start()
                self._new.append((work, waiter))
        except (OSError, RuntimeError) as error:
            raise ConnectionError(f"no reader thread: {error}") from error
        self._wake()
        waiter.over.wait()
        if waiter.problem is not None:
            raise ConnectionError(waiter.problem)

    def wake(self, work: Readable) -> None:
        """Have `work.keep` called soon. Any thread."""
        self._woken.append(work)
        if self._thread is not None:
            self._wake()

    def stop(self) -> None:
        """End the thread; threads that still wait are released."""
        self._stopping = True
        thread = self._thread
        if thread is not None:
            self._wake()
            thread.join(END_S)

    def _start(self) -> None:
        """Start the thread where there is none; under the lock. OSError or RuntimeError leave nothing open."""
        if self._thread is not None:
            return
        with contextlib.ExitStack() as undo:
            self._poll = undo.enter_context(SocketPoll())
            self._wake_rx, self._wake_tx = map(undo.enter_context, socket.socketpair())
            self._wake_rx.setblocking(False)
            self._wake_tx.setblocking(False)
            self._poll.register(self._wake_rx, None)
            thread = threading.Thread(target=self._run, name="reader", daemon=True)
            thread.start()
            self._thread = thread
            undo.pop_all()

    def _wake(self) -> None:
        try:
            self._wake_tx.send(b"\0")
        except BlockingIOError:  # full: the thread will wake up
            pass
        except OSError:  # the thread has ended: `read` detects that
            pass

    # -- reader thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._round()
        except Exception:  # the thread's outermost: a new thread is started by the next connection
            log.exception("reader_failed")
        finally:
            self._end()

    def _round(self) -> None:
        ready = self._poll.wait(self._wait_s)
        begin_s = now_s = time.monotonic()
        if ready:
            self._read(ready, begin_s + self._flush_after_s)
            now_s = time.monotonic()
        if now_s >= self._tick_due_s:
            self._tick_due_s = now_s + self._tick_s
            for work in [work for work in self._waiting if not work.keep(now_s)]:
                self._release(work)
        elif len(ready) >= BUSY_SOCKETS and now_s - begin_s < ROUND_S:
            time.sleep(begin_s + ROUND_S - now_s)
        self._wait_s = max(0.0, self._tick_due_s - now_s)

    def _read(self, ready: list[Readable | None], due_s: float) -> None:
        self._reads.goes_on = True
        for started in self._on_started:
            started()
        try:
            is_woken, are_many = False, len(ready) > FEW_SOCKETS
            for work in ready:
                if work is None:
                    is_woken = True  # looked at last: what ends a connection must not come before its read in this loop
                elif not work.read():
                    self._release(work)
                if are_many and (now_s := time.monotonic()) >= due_s:
                    for listener in (*self._on_finished, *self._on_started):
                        listener()
                    due_s = now_s + self._flush_after_s
            if is_woken:
                self._look_at_woken()
        finally:
            for finished in self._on_finished:
                finished()
            self._reads.goes_on = False
            if self._reads.over.is_armed:
                self._reads.over.set()

    def _look_at_woken(self) -> None:
        try:
            while self._wake_rx.recv(4096):
                pass
        except BlockingIOError:
            pass
        while self._new:
            work, waiter = self._new.popleft()
            try:
                work.sock.setblocking(False)
                self._poll.register(work.sock, work)
            except (OSError, ValueError) as error:  # closed meanwhile, or too many for the kernel
                waiter.release(f"cannot be waited for: {error}")
                continue
            self._waiting[work] = waiter
            if not work.read():  # TLS may hold data that came with the handshake
                self._release(work)
        while self._woken:
            work = self._woken.popleft()
            if work in self._waiting and not work.keep(time.monotonic()):
                self._release(work)

    def _release(self, work: Readable) -> None:
        self._poll.forget(work)
        self._waiting.pop(work).release()

    def _end(self) -> None:
        with self._lock:
            self._thread = None
            waiters = [waiter for _, waiter in self._new] + list(self._waiting.values())
            self._new.clear()
            self._waiting.clear()
            self._poll.close()
            self._wake_rx.close()
            self._wake_tx.close()
        for waiter in waiters:
            waiter.release("the reader thread has ended")
