"""What a running stream function knows about itself: its name, whether it must stop, its counters.

Set by the supervisor's thread, found with `current()`. Outside a supervised thread a context of its own is made, so
that a feed can be run from a script or a shell.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

log = structlog.get_logger()

_of_thread = threading.local()


@dataclass
class StreamStats:
    """Counters of one stream. Written by its thread only; read by anybody, each value on its own."""

    connects: int = 0
    messages: int = 0
    last_message_s: float | None = None  # monotonic
    last_success_s: float | None = None  # monotonic


class StreamContext:
    """One stream's life as seen from inside. `stop` and `abort` are for any thread, the rest for the stream's own."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.market: str | None = None  # of the exchange's stream that runs here now
        self.stop = threading.Event()
        self.state = "starting"
        self.stats = StreamStats()
        self.failures = 0  # calls in a row that ended without success
        self._clock = clock
        self._lock = threading.Lock()
        self._on_abort: list[Callable[[], object]] = []
        self._on_success: Callable[[], object] | None = None

    def succeeded(self) -> None:
        """The stream works (first data or acknowledgement): its backoff begins anew with the next failure."""
        self.failures = 0
        self.stats.last_success_s = self._clock()
        self.state = "live"
        if self._on_success is not None:
            self._on_success()

    def when_succeeded(self, action: Callable[[], object]) -> None:
        """Have `action` called on every `succeeded()`; the supervisor's own."""
        self._on_success = action

    @contextmanager
    def on_abort(self, action: Callable[[], object]) -> Iterator[None]:
        """While the block runs, have `action` called from outside when the stream must end at once.

        It must be thread safe and must not block, such as shutting a socket down. Called immediately where the
        stream was stopped before.
        """
        with self._lock:
            self._on_abort.append(action)
        try:
            if self.stop.is_set():
                action()
            yield
        finally:
            with self._lock:
                self._on_abort.remove(action)

    def abort(self) -> None:
        """Ask the stream to end now: sets `stop` and wakes what blocks. Any thread; never blocks."""
        self.stop.set()
        with self._lock:
            actions = list(self._on_abort)
        for action in actions:
            try:
                action()
            except Exception:
                log.exception("abort_failed", stream=self.name)


def current() -> StreamContext:
    """The context of the calling thread; made on first use where no supervisor has set one."""
    context: StreamContext | None = getattr(_of_thread, "context", None)
    if context is None:
        context = StreamContext(threading.current_thread().name)
        _of_thread.context = context
    return context


def set_current(context: StreamContext | None) -> None:
    """Make `context` that of the calling thread."""
    _of_thread.context = context
