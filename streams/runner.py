"""The body of a stream's thread `stream-<name>`: calls its function again and again, with a backoff between.

An expected connection error is one log line, any other a traceback. Ends when it is stopped, or after
RECONNECT_MAX_ATTEMPTS failures in a row.
"""

import time
from collections.abc import Callable

import structlog

from model.context import StreamContext, set_current
from model.events import Disconnected, EventSink
from model.pacing import Backoff
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
    ) -> None:
        self.finished = False
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
                reason = self._call()
                if self._context.stop.is_set() or self._is_out_of_attempts(reason):
                    break
                self._wait(reason)
            self.finished = True
        finally:
            set_current(None)
            if self._context.state != "gave_up":
                self._context.state = "ended"

    def take_success(self) -> bool:
        """Whether the stream has succeeded since the last call."""
        success, self._success = self._success, False
        return success

    def _succeeded(self) -> None:
        self._success = True
        self._backoff.reset()

    def _call(self) -> str:
        """Call the entry's function once; returns why it ended, in a few words."""
        self._context.state = "running"
        started_s = self._clock()
        try:
            self._entry.func(*self._entry.args, **self._entry.kwargs)
            reason = "returned"
        except (ConnectionError, TimeoutError) as error:
            reason = f"{type(error).__name__}: {error}"
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if not self._context.stop.is_set():
                log.exception("stream_failed", stream=self._context.name)
        if self._clock() - started_s >= STABLE_S:
            self._context.failures = 0
            self._succeeded()
        self._context.failures += 1
        return reason[:REASON_CHARACTERS]

    def _is_out_of_attempts(self, reason: str) -> bool:
        if not self._max_attempts or self._context.failures <= self._max_attempts:
            return False
        self._context.state = "gave_up"
        log.error("stream_gave_up", stream=self._context.name, attempts=self._max_attempts, reason=reason)
        self._events.emit(Disconnected(stream=self._context.name, reason=reason, final=True))
        return True

    def _wait(self, reason: str) -> None:
        context = self._context
        delay_s = self._backoff.next_s()
        context.state = "backoff"
        log.warning(
            "stream_ended", stream=context.name, reason=reason, failures=context.failures, retry_in_s=round(delay_s, 2)
        )
        context.stop.wait(delay_s)
