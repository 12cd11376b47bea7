"""The body of a stream's thread `stream-<name>`: calls its function again and again, with a backoff between.

How a call ended goes to an OutageSink; an unexpected exception is a traceback as well, the first in a row. Ends when it
is stopped, or after RECONNECT_MAX_ATTEMPTS failures in a row.
"""

import time
from collections.abc import Callable

import structlog

from model.context import StreamContext, set_current
from model.events import Disconnected, EventSink
from model.pacing import Backoff
from model.problems import NO_OUTAGES, OutageSink, Problem
from network.problems import problem_of
from streams.registry import StreamEntry

log = structlog.get_logger()

REASON_CHARACTERS = 300  # a proxy's error page does not belong in a log line
STABLE_S = 60.0  # a call that lasted this long counts as a success: a user's function does not report one


class Runner:
    """The body of a stream's thread. May be run again on a new thread after the old one died."""

    def __init__(
        self,
        entry: StreamEntry,
        context: StreamContext,
        backoff: Backoff,
        max_attempts: int,
        events: EventSink,
        clock: Callable[[], float] = time.monotonic,
        outages: OutageSink = NO_OUTAGES,
    ) -> None:
        """`outages` takes each end of a call, and each success, by the stream's name."""
        self.finished = False
        self._outages = outages
        self._traced: type[Exception] | None = None  # of the last traceback, until a success
        self._entry = entry
        self._context = context
        self._backoff = backoff
        self._max_attempts = max_attempts
        self._events = events
        self._clock = clock
        self._success = False
        context.on_success = self._succeeded

    def run(self) -> None:
        """Run until stopped or out of attempts. Only a SystemExit of the user's function ends the thread otherwise."""
        set_current(self._context)
        try:
            while not self._context.stop.is_set():
                reason, problem = self._call()
                if self._context.stop.is_set() or self._is_out_of_attempts(reason):
                    break
                self._wait(reason, problem)
            self.finished = True
        finally:
            set_current(None)
            if self._context.state != "gave_up":
                self._context.state = "ended"

    def take_success(self) -> bool:
        """Whether the stream has succeeded since the last call."""
        if not self._success:  # a success between reading and writing would be lost
            return False
        self._success = False
        return True

    def _succeeded(self) -> None:
        self._success = True
        self._traced = None
        self._backoff.reset()
        self._outages.works(self._context.name)

    def _call(self) -> tuple[str, Problem]:
        """Call the entry's function once; returns why it ended, in a few words and as a problem."""
        self._context.state = "running"
        started_s = self._clock()
        reason, problem = "returned", Problem("returned")
        try:
            self._entry.func(*self._entry.args, **self._entry.kwargs)
        except (ConnectionError, TimeoutError) as error:
            reason, problem = f"{type(error).__name__}: {error}", problem_of(error)
            if not (problem.peer or problem.is_of_stream):  # of a user's own connection
                problem = Problem("closed", detail=reason)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            problem = Problem("function", detail=reason[:REASON_CHARACTERS])
            if not self._context.stop.is_set() and self._traced is not type(error):
                self._traced = type(error)
                log.exception("stream_failed", stream=self._context.name)
        if self._clock() - started_s >= STABLE_S:
            self._context.failures = 0
            self._succeeded()
        self._context.failures += 1
        return reason[:REASON_CHARACTERS], problem

    def _is_out_of_attempts(self, reason: str) -> bool:
        if not self._max_attempts or self._context.failures <= self._max_attempts:
            return False
        self._context.state = "gave_up"
        log.error("stream_gave_up", stream=self._context.name, attempts=self._max_attempts, reason=reason)
        self._events.emit(Disconnected(stream=self._context.name, reason=reason, final=True))
        return True

    def _wait(self, reason: str, problem: Problem) -> None:
        context = self._context
        delay_s = self._backoff.next_s()
        context.state = "backoff"
        self._outages.failed(context.name, problem)
        log.debug(
            "stream_ended", stream=context.name, reason=reason, failures=context.failures, retry_in_s=round(delay_s, 2)
        )
        context.stop.wait(delay_s)
