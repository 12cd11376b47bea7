"""The connections of one stream, one after another: each is replaced before the exchange ends it.

The first is read by the stream's thread, which then waits for those after it. A replacement takes two threads more: one
opens and reads the new connection, for as long as that lives; the other hands over and ends. Where it does not succeed,
the old connection stays as it is, and another is tried later.
"""

import functools
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from model.context import StreamContext, StreamThread, current, set_current
from model.pacing import Backoff
from model.ports import Callback, Link
from streams.handover import Handover, HandoverTimes
from streams.session import Session

POLL_S = 0.05  # how often a handover is looked at
RETRY_CAP_S = 300.0  # the longest pause before another attempt
RETRY_FLOOR = 0.5  # of the pause is not drawn

log = structlog.get_logger()

Noticed = Callable[[str], object]


@dataclass(frozen=True)
class Opened:
    """A connection that was opened, and its session. `read` blocks until it ends, `close` closes it."""

    link: Link
    session: Session
    read: Callable[[], None]
    close: Callable[[], None]


Open = Callable[[Callback, Noticed], Opened | None]
"""`open(callback, noticed)` within the connect budget, on the calling thread; None where the stream was stopped."""


class _FailedError(Exception):
    """The new connection cannot take over."""


class _OldEndedError(Exception):
    """The old connection ended before the handover was complete."""


class _Connection:
    """One connection of the stream. `over` is set when all of it is done; `successor` has taken over then."""

    def __init__(self, opened: Opened | None = None) -> None:
        self.opened = opened
        self.is_open, self.may_begin, self.over = threading.Event(), threading.Event(), threading.Event()
        self.opened_s = time.monotonic()
        self.error: Exception | None = None
        self.successor: _Connection | None = None
        self.handover: Handover | None = None  # while it is being replaced, by `next`
        self.next: _Connection | None = None
        self.reason = ""  # why it is to be replaced
        self.is_settled = False  # not itself a connection that is taking over
        self.lock = threading.Lock()

    @property
    def parts(self) -> Opened:
        assert self.opened is not None
        return self.opened

    def run(self) -> None:
        """Subscribe and read until the connection ends; raises ConnectionError."""
        try:
            self.parts.session.begin()
            self.parts.read()
        finally:
            with self.lock:
                handover, successor, self.handover, self.next = self.handover, self.next, None, None
            if handover is not None and handover.take_over():
                self.successor = successor
            self.parts.close()


class Succession:
    """Runs the connections of one call of a feed. `run` belongs to the stream's thread."""

    def __init__(
        self,
        open_connection: Open,
        callback: Callback,
        handover_of: Callable[[], Handover],
        times: HandoverTimes,
        **names: str,
    ) -> None:
        """`names` go into log lines."""
        self._open, self._callback, self._handover_of, self._times = open_connection, callback, handover_of, times
        self._names, self._root = names, current()

    def run(self) -> None:
        """Stream until stopped (returns), or until a connection ends that none replaces (raises ConnectionError)."""
        connection = _Connection()
        connection.opened = self._open(self._callback, functools.partial(self._ask, connection))
        if connection.opened is None:
            return
        connection.is_settled = True
        try:
            connection.run()
        except Exception:
            if connection.successor is None:
                raise
        finally:
            connection.over.set()
        while connection.successor is not None:
            connection = connection.successor
            connection.over.wait()
        if connection.error is not None:
            raise connection.error

    # -- the thread that reads a connection ------------------------------------------------------------

    def _ask(self, connection: _Connection, reason: str) -> None:
        """Replace a connection; once it is the stream's, where it is taking over from another."""
        with connection.lock:
            if connection.reason:
                return
            connection.reason = reason
            if not connection.is_settled:
                return
        self._begin(connection)

    def _begin(self, connection: _Connection) -> None:
        try:
            StreamThread(twin := self._twin(), functools.partial(self._replace, connection, twin)).start()
        except RuntimeError as error:  # no more threads: perhaps when it asks again
            log.error("connection_not_replaced", **self._names, problem=str(error))
            connection.reason = ""

    def _twin(self) -> StreamContext:
        """A context of the same stream for another thread, with a stop and a state of its own."""
        root = self._root
        twin = StreamContext(root.name, root.collector)
        twin.market, twin.stats, twin.on_success = root.market, root.stats, root.on_success
        return twin

    # -- the thread that reads the new connection ------------------------------------------------------

    def _run_new(self, new: _Connection, context: StreamContext, callback: Callback) -> None:
        set_current(context)
        try:
            with self._root.on_abort(context.abort):
                new.opened = self._open(callback, functools.partial(self._ask, new))
                if new.opened is not None:
                    self._run_opened(new, context)
        except Exception as error:  # noqa: BLE001 - raised again on the stream's thread, where it has taken over
            error.__traceback__ = None  # it would keep the connection until a full gc
            new.error = error
        finally:
            new.over.set()

    @staticmethod
    def _run_opened(new: _Connection, context: StreamContext) -> None:
        new.is_open.set()
        with context.on_abort(new.may_begin.set):
            new.may_begin.wait()
        if context.stop.is_set():
            new.parts.close()
        else:
            new.run()

    # -- the thread that replaces ----------------------------------------------------------------------

    def _replace(self, old: _Connection, context: StreamContext) -> None:
        """Try to replace a connection until that succeeds or it has ended."""
        set_current(context)
        spread_s = random.uniform(0.0, self._times.spread_s)  # noqa: S311 - no cryptography
        old.over.wait(max(spread_s, old.opened_s + self._times.least_age_s - time.monotonic()))
        backoff = Backoff(self._times.retry_s, RETRY_CAP_S, floor=RETRY_FLOOR)
        while not old.over.is_set():
            if not (problem := self._attempt(old)):
                return
            pause_s = backoff.next_s()
            if not old.over.is_set():
                log.warning("connection_not_replaced", **self._names, problem=problem, retry_in_s=round(pause_s, 1))
            old.over.wait(pause_s)

    def _attempt(self, old: _Connection) -> str:
        """Open a new connection and hand over to it; why that failed, "" where it did not."""
        began_s, handover, new, twin = time.monotonic(), self._handover_of(), _Connection(), self._twin()
        try:
            StreamThread(twin, functools.partial(self._run_new, new, twin, handover.new)).start()
        except RuntimeError as error:
            return str(error)
        problem = ""
        try:
            self._hand_over(old, new, handover)
        except _FailedError as error:
            problem = str(error)
        except _OldEndedError:
            problem = "the old connection ended"
        if handover.cancel():
            twin.abort()
            self._restore(old, handover)
            return problem or "the new connection has no topics"
        took_s = round(time.monotonic() - began_s, 1)
        log.info("connection_replaced", **self._names, reason=old.reason[:200], took_s=took_s)
        self._settle(new, handover)
        return ""

    def _hand_over(self, old: _Connection, new: _Connection, handover: Handover) -> None:
        """Raises _OldEndedError once it is complete, or where that ended by itself; else _FailedError."""

        def wait_until(condition: Callable[[], bool], limit_s: float = math.inf) -> None:
            deadline_s = time.monotonic() + limit_s
            while not condition():
                if old.over.wait(POLL_S):
                    raise _OldEndedError
                if new.over.is_set():
                    raise _FailedError(f"{type(new.error).__name__}: {new.error}" if new.error else "it was not opened")
                if handover.problem:
                    raise _FailedError(handover.problem)
                if time.monotonic() > deadline_s:
                    raise _FailedError(f"the new connection did not take over within {limit_s:g} s")

        times, session, diverted = self._times, old.parts.session, threading.Event()

        def divert() -> None:
            handover.begin(session.last_sent_ms)
            session.send_to(handover.old)
            diverted.set()

        def take_over() -> None:
            if not new.over.is_set() and handover.take_over():
                session.leave()

        wait_until(new.is_open.is_set)  # it may wait for the connect budget
        handover.old.failed, handover.new.failed = session.failed, new.parts.session.failed
        with old.lock:
            old.handover, old.next = handover, new
        old.parts.link.call_soon(divert)
        wait_until(diverted.is_set)
        begin_s = time.monotonic() + times.head_start_s
        wait_until(lambda: time.monotonic() >= begin_s)
        new.may_begin.set()
        wait_until(lambda: new.parts.session.is_up and session.keys <= new.parts.session.keys, times.limit_s)
        handover.subscribed(new.parts.session.keys)
        wait_until(handover.tick, times.limit_s)
        old.parts.link.call_soon(take_over)
        wait_until(lambda: False)

    def _restore(self, old: _Connection, handover: Handover) -> None:
        """Have the old connection deliver by itself again, once all is repeated that the new one brought first."""
        if handover.has_begun:
            old.over.wait(self._times.linger_s)
        with old.lock:
            old.handover = old.next = None
        old.parts.link.call_soon(functools.partial(self._direct, old, handover))
        if old.over.is_set():
            handover.end()

    def _settle(self, new: _Connection, handover: Handover) -> None:
        """Have the new connection deliver by itself, once it has repeated all that the old one brought first."""
        new.over.wait(self._times.linger_s)
        new.parts.link.call_soon(functools.partial(self._direct, new, handover))
        if new.over.is_set():
            handover.end()
        with new.lock:
            new.is_settled = True
            reason = new.reason
        if reason:
            self._begin(new)

    def _direct(self, connection: _Connection, handover: Handover) -> None:
        connection.parts.session.send_to(self._callback)
        handover.end()
