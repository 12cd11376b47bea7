"""The context of a stream's thread: its name and counters, whether it must stop, and the collector it runs for.

Set by the supervisor's thread, found with `current()`. Elsewhere a context is made on first use, so that a feed can be
run from a script or a shell.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from model.ports import Callback, Depth, PayloadSink, Symbols
from model.records import Kind

log = structlog.get_logger()

_of_thread = threading.local()  # `context`: each thread sees its own alone


@dataclass
class StreamStats:
    """Counters of one stream. Written by its thread only; read by anybody, each value on its own."""

    connects: int = 0
    messages: int = 0
    last_message_s: float | None = None  # monotonic


class RunningCollector(Protocol):
    """The port of a stream's thread to the collector that it runs for; `app.collector.Collector` is one. Any thread."""

    is_running: bool
    """Whether messages have somewhere to go: from the construction to the end of the stop."""

    def subscribe(self, kind: Kind, symbols: Symbols, callback: Callback, market: str | None, depth: Depth) -> None:
        """Stream a kind of some symbols to `callback` on the calling thread, until the connection ends."""

    def pipeline(self, market: str | None, kind: str) -> PayloadSink:
        """Return what takes payloads of a market (None: CHANNEL_TYPE) and kind."""

    def report(self, cause: str, sample: bytes, /) -> object:
        """Count a fault."""


class StreamContext:
    """One stream as seen from inside. `stop` and `abort` are for any thread, the rest for the stream's own."""

    def __init__(self, name: str, collector: RunningCollector | None = None) -> None:
        """`collector` None: a thread that no supervisor started."""
        self.name = name
        self.collector = collector
        self.market: str | None = None  # of the exchange's stream that runs here now
        self.streamed: tuple[str, str] | None = None  # market and kind of what runs here, or ran last
        self.stop = threading.Event()
        self.state = "starting"
        self.stats = StreamStats()
        self.failures = 0  # calls in a row that ended without success
        self._lock = threading.Lock()
        self._on_abort: list[Callable[[], object]] = []
        self.on_success: Callable[[], object] | None = None  # called on every `succeeded()`; the supervisor's own

    def subscribe(
        self, kind: Kind, symbols: Symbols, callback: Callback, market: str | None = None, depth: Depth = None
    ) -> None:
        """Stream a kind of some symbols to `callback` until the connection ends; the body of main.subscribe_<kind>.

        RuntimeError on a thread that no collector started.
        """
        if self.collector is None:
            raise RuntimeError(f"subscribe_{kind} needs a running collector: put it in a STREAMS entry and call run()")
        self.collector.subscribe(kind, symbols, callback, market, depth)

    def succeeded(self) -> None:
        """The stream works (first data or acknowledgement): its backoff begins anew with the next failure."""
        self.failures = 0
        self.state = "live"
        if self.on_success is not None:
            self.on_success()

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


class StreamThread(threading.Thread):
    """The thread of one stream, by which other threads find its collector."""

    def __init__(self, context: StreamContext, target: Callable[[], object]) -> None:
        super().__init__(target=target, name=f"stream-{context.name}", daemon=True)
        self.context = context


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


def running_collector() -> RunningCollector | None:
    """Return the collector that the calling thread's stream belongs to, elsewhere the one that streams in this process.

    None where none runs; RuntimeError where several do and the thread belongs to none. A thread keeps the collector
    that it found until that ends: a message costs no list of all threads.
    """
    context = current()
    if context.collector is not None and context.collector.is_running:
        return context.collector
    threads = [thread for thread in threading.enumerate() if isinstance(thread, StreamThread)]
    found = {id(each): each for each in (thread.context.collector for thread in threads) if each and each.is_running}
    if len(found) > 1:
        raise RuntimeError("several collectors run in this process: call it on the thread of one of their streams")
    context.collector = next(iter(found.values()), context.collector)
    return next(iter(found.values()), None)
