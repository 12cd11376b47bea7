"""The supervisor of one thread per STREAMS entry: starts, revives, stops it.

Has no thread of its own: main calls `tick()` at least every half second. Each thread `stream-<name>` runs
streams/runner.py. Depends on no exchange.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from model.context import RunningCollector, StreamContext, StreamThread
from model.events import NO_EVENTS, Disconnected, EventSink
from model.pacing import CAP_S, Backoff
from model.problems import NO_OUTAGES, OutageSink
from streams.registry import StreamEntry, read_entries
from streams.runner import Runner

log = structlog.get_logger()

REVIVE_LIMIT = 5  # deaths in a row without a success between them: reviving does not help then
CONNECTING_GRACE_S = 0.5  # a thread inside a connect cannot be woken and holds nothing: it is not waited for longer
ABORT_AGAIN_S = 0.1  # an abort between two steps of a connect finds no socket yet: it is repeated


@dataclass(frozen=True)
class StreamStatus:
    """The state of one stream for a log line or a metric. Ages in seconds, None before the first message.

    `market` and `kind` are None of a user's function that has not streamed yet.
    """

    name: str
    state: str
    messages: int
    connects: int
    failures: int
    revivals: int
    last_data_age_s: float | None
    market: str | None = None
    kind: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether it is connected and subscribed."""
        return self.state == "live"


@dataclass
class _Running:
    entry: StreamEntry
    context: StreamContext
    runner: Runner
    thread: threading.Thread | None = None
    revivals: int = 0
    deaths_in_a_row: int = 0

    @property
    def is_alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def status(self, now_s: float) -> StreamStatus:
        context, stats = self.context, self.context.stats
        age_s = None if stats.last_message_s is None else now_s - stats.last_message_s
        counts = stats.messages, stats.connects, context.failures, self.revivals
        return StreamStatus(context.name, context.state, *counts, age_s, *(context.streamed or (None, None)))


class Supervisor:
    """The threads of a STREAMS list, which stays the user's: it is read again at every tick.

    `start`, `tick` and `stop` belong to one thread (main); `status`, `gave_up` and `unrevivable` to any.
    """

    def __init__(
        self,
        streams: list[dict[str, object]],
        *,
        reconnect_delay_s: float = 2.0,
        reconnect_cap_s: float = CAP_S,
        reconnect_max_attempts: int = 0,
        collector: RunningCollector | None = None,
        events: EventSink = NO_EVENTS,
        outages: OutageSink = NO_OUTAGES,
        owns: Callable[[StreamEntry], bool] = lambda _entry: True,
        refusal: Callable[[StreamEntry], str | None] = lambda _entry: None,
        streamed: Callable[[StreamEntry], tuple[str, str] | None] = lambda _entry: None,
    ) -> None:
        """`events` takes the streams that ended for good, on their threads or on main; `outages` each end of a call.

        Entries that `owns` refuses are another process's to run. `refusal` returns why an entry cannot be run at all:
        it is logged like a malformed one, and checked again at every tick. `streamed` returns the market and kind of an
        entry, where they are known before it runs.
        """
        self._streams = streams
        self._delay_s = reconnect_delay_s
        self._cap_s = reconnect_cap_s
        self._max_attempts = reconnect_max_attempts
        self._collector = collector  # what the threads of streams find in their context
        self._events, self._outages = events, outages
        self._owns = owns
        self._refusal, self._streamed = refusal, streamed
        self._running: dict[str, _Running] = {}
        self._ending: list[_Running] = []
        self._reported: dict[int, str] = {}
        self._unrevivable: list[str] = []
        self._stopping = False

    def start(self) -> None:
        """Start every entry's thread, or raise ValueError with every wrong entry at once and start none."""
        self.check()
        self.tick()

    def check(self) -> list[StreamEntry]:
        """The entries that this process would run; ValueError with every wrong entry at once."""
        good, bad = read_entries(list(self._streams))
        owned = [entry for entry in good if self._owns(entry)]
        bad += self._refused(owned)
        if bad:
            raise ValueError("\n".join(text for _, text in bad))
        return owned

    def tick(self) -> None:
        """Reconcile the threads with the list and revive dead ones. Does not block; call at least every half second."""
        if self._stopping:
            return
        desired = self._desired()
        for name, running in list(self._running.items()):
            if name not in desired or desired[name].source is not running.entry.source:
                self._remove(name)
        for running in self._ending:
            running.context.abort()
            if not running.is_alive:  # reports nothing any more
                self._outages.removed(running.entry.name)
        self._ending = [running for running in self._ending if running.is_alive]
        ending = {running.entry.name for running in self._ending}
        for name, entry in desired.items():
            if name not in self._running and name not in ending:
                self._running[name] = self._add(entry)
        for running in self._running.values():
            self._keep_alive(running)

    def stop(self, deadline_s: float) -> list[str]:
        """Stop every stream, wait at most `deadline_s` seconds for all together; the names still alive.

        A thread that does not end (a user's function that ignores its stop event) is left behind as a daemon. One
        that is still connecting is left behind too, but not named: it has nothing to lose.
        """
        self._stopping = True
        threads = [*self._running.values(), *self._ending]
        for running in threads:
            running.context.abort()
        now_s = time.monotonic()
        for running in threads:
            _join(running, now_s + deadline_s, now_s + min(deadline_s, CONNECTING_GRACE_S))
        alive = [running for running in threads if running.is_alive]
        connecting = [running.entry.name for running in alive if running.context.state == "connecting"]
        if connecting:
            log.info("streams_left_connecting", streams=connecting)
        return [running.entry.name for running in alive if running.context.state != "connecting"]

    @property
    def gave_up(self) -> list[str]:
        """Streams of the list that ended for good: the process should end (exit code 6)."""
        return [name for name, running in list(self._running.items()) if running.context.state == "gave_up"]

    @property
    def unrevivable(self) -> list[str]:
        """Streams whose thread cannot be kept alive: the process should end (exit code 4)."""
        return list(self._unrevivable)

    def status(self) -> list[StreamStatus]:
        """The state of every stream, in the list's order. Any thread."""
        now_s = time.monotonic()
        return [running.status(now_s) for running in list(self._running.values())]

    def _desired(self) -> dict[str, StreamEntry]:
        """The entries that this process runs now, by name; wrong and refused ones are logged."""
        good, bad = read_entries(list(self._streams))
        owned = {entry.name: entry for entry in good if self._owns(entry)}
        running = {name: each.entry.source for name, each in self._running.items()}
        refused = self._refused(entry for name, entry in owned.items() if running.get(name) is not entry.source)
        self._report([*bad, *refused])
        sources = {id(source) for source, _ in refused}
        return {name: entry for name, entry in owned.items() if id(entry.source) not in sources}

    def _refused(self, entries: Iterable[StreamEntry]) -> list[tuple[object, str]]:
        found = [(entry, self._refusal(entry)) for entry in entries]
        return [(entry.source, problem) for entry, problem in found if problem]

    def _report(self, bad: list[tuple[object, str]]) -> None:
        """Log each wrong entry once, for as long as it stays as it is."""
        for entry, text in bad:
            if self._reported.get(id(entry)) != text:
                log.error("stream_entry_wrong", problem=text, remedy="corrected or removed, it is read again")
        self._reported = {id(entry): text for entry, text in bad}

    def _add(self, entry: StreamEntry) -> _Running:
        context = StreamContext(entry.name, collector=self._collector)
        context.streamed = self._streamed(entry)
        backoff = Backoff(self._delay_s, self._cap_s)
        runner = Runner(entry, context, backoff, self._max_attempts, self._events, outages=self._outages)
        return _Running(entry, context, runner)

    def _remove(self, name: str) -> None:
        running = self._running.pop(name)
        running.context.abort()
        self._ending.append(running)
        log.info("stream_removed", stream=name)

    def _keep_alive(self, running: _Running) -> None:
        if running.is_alive or running.runner.finished or running.entry.name in self._unrevivable:
            return
        if running.thread is not None:
            self._count_death(running)
        if running.deaths_in_a_row >= REVIVE_LIMIT:
            self._give_up_reviving(running)
            return
        thread = StreamThread(running.context, running.runner.run)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads: perhaps at the next tick
            running.deaths_in_a_row += 1
            log.error("stream_thread_not_started", stream=running.entry.name, error=str(error))
        else:
            running.thread = thread

    def _count_death(self, running: _Running) -> None:
        running.thread = None
        running.revivals += 1
        running.deaths_in_a_row = 1 if running.runner.take_success() else running.deaths_in_a_row + 1
        log.error("stream_thread_died", stream=running.entry.name, revivals=running.revivals)

    def _give_up_reviving(self, running: _Running) -> None:
        name = running.entry.name
        self._unrevivable.append(name)
        log.critical("stream_unrevivable", stream=name, deaths=running.deaths_in_a_row)
        self._events.emit(Disconnected(stream=name, reason="its thread died again and again", final=True))


def _join(running: _Running, deadline_s: float, connecting_deadline_s: float) -> None:
    """Wait for one thread; for one that is connecting only until the earlier deadline."""
    thread = running.thread
    while thread is not None and thread.is_alive():
        limit_s = connecting_deadline_s if running.context.state == "connecting" else deadline_s
        left_s = limit_s - time.monotonic()
        if left_s <= 0:
            return
        thread.join(min(left_s, ABORT_AGAIN_S))
        running.context.abort()
