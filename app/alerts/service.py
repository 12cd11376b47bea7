"""The alerts of a collector: events and klines in on any thread, a look each second on main, messages out by threads.

Owner of the threads `alerts` and `heartbeat`. Costs a message nothing: what happens seldom is handed over in queues.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from app.alerts.disks import Disks
from app.alerts.heartbeat import Heartbeat
from app.alerts.outages import Key, Problem
from app.alerts.planner import Alert, AlertPlanner, PlannerOptions
from app.alerts.sender import Sender
from app.alerts.services import ServiceOptions, build_services
from app.alerts.words import listed
from model.clock import now_ms
from model.events import StatusEvent
from model.records import Kline

LOOK_S = 1.0  # between two looks, at most a tenth of ALERT_AFTER
DISKS_S = 5.0  # between two looks at the disks
EVENTS_MOST = 20_000  # waiting for main; it takes them four times a second
STOP_S = 2.0  # so long a stop waits for messages at most
LASTED_S = 600.0  # a process that ended sooner was restarted by what will restart it again and again
STATES = {  # reasons of app/health.py that no event tells
    "aggregator_behind": "klines behind",
    "clock_unknown": "exchange's time not known",
}

Reasons = Sequence[Mapping[str, Any]]
"""Why a collector is not ready, as app/health.py has it: reason, what, since (ms)."""

log = structlog.get_logger()


@dataclass(frozen=True)
class AlertOptions:
    """What is told, where to, and which `folders` are watched, by the settings that name them."""

    planner: PlannerOptions
    services: ServiceOptions
    heartbeat_url: str | None = field(default=None, repr=False)
    folders: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Sources:
    """What main asks the collector for.

    `streams()`: those that are wanted, and why each is down, or nothing; `audit()`: figures by interval; `reasons()`:
    why it is not ready, any thread.
    """

    streams: Callable[[], Mapping[str, str]] = dict
    audit: Callable[[], Mapping[str, Mapping[str, Any]]] = dict
    reasons: Callable[[], Reasons] = tuple


class AlertService:
    """An EventSink and a KlineSink. Raises ValueError for services that cannot be; starts nothing before `start`."""

    def __init__(self, options: AlertOptions, sources: Sources, clock: Callable[[], float] = time.monotonic) -> None:
        self._sources, self._clock = sources, clock
        self._abort = threading.Event()
        services = build_services(options.services, self._abort)
        self._services = [service.name for service in services]
        self._disks, self._full = Disks(options.folders), dict[str, str]()
        self._planner = AlertPlanner(options.planner)
        self._disk_look: threading.Thread | None = None  # the newest
        self._disks_looked_s = float("-inf")
        self._sender = Sender(services) if services else None
        url = options.heartbeat_url
        self._heartbeat = Heartbeat(url, lambda: not self._sources.reasons()) if url else None
        self._events: deque[tuple[float, int, StatusEvent]] = deque(maxlen=EVENTS_MOST)
        self._klines: deque[tuple[float, str, list[Kline]]] = deque(maxlen=EVENTS_MOST)
        self._audited: dict[str, int] = {}
        self._look_s = min(LOOK_S, options.planner.after_s / 10)
        self._looked_s = float("-inf")
        self._begun_s = clock()
        self._is_stopping = False

    # -- any thread ------------------------------------------------------------------------------------

    def emit(self, event: StatusEvent) -> None:
        """Take one event; never blocks."""
        if self._sender and not self._is_stopping:
            self._events.append((self._clock(), now_ms(), event))

    def put(self, market: str, klines: Sequence[Kline]) -> None:
        """Take a batch of closed klines: those that are incomplete, and revisions; never blocks."""
        if self._sender and (odd := [kline for kline in klines if kline.revision or not kline.complete]):
            self._klines.append((self._clock(), market, odd))

    def stats(self) -> dict[str, int]:
        """Counts since the start, as a field of a log line."""
        beats = {"heartbeats": self._heartbeat.sent, "failed": self._heartbeat.failed} if self._heartbeat else {}
        return (self._sender.stats() if self._sender else {}) | beats

    # -- main ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads."""
        for owner in (self._sender, self._heartbeat):
            if owner:
                owner.start()
        heartbeats = [self._heartbeat.name] if self._heartbeat else []
        told = [*self._services, *(f"{name} once a minute while ready" for name in heartbeats)]
        log.info("alerts_on", sentence=f"Alerts go to {listed(told)}.", services=self._services, heartbeats=heartbeats)

    def threads(self) -> list[threading.Thread]:
        """Return the threads that must live."""
        return [thread for owner in (self._sender, self._heartbeat) if owner for thread in owner.threads()]

    def tick(self) -> None:
        """Look, about once a second, what is to be told."""
        now_s = self._clock()
        if self._sender is None or now_s - self._looked_s < self._look_s:
            return
        self._looked_s = now_s
        self._take_waiting()
        self._begin_disk_look(now_s)
        self._planner.look("disk", {name: Problem(text) for name, text in self._full.items()}, now_s)
        reasons, at_ms = self._sources.reasons(), now_ms()
        self._planner.look("state", self._states(reasons, now_s, at_ms), now_s)
        self._planner.look("silence", self._silences(reasons, now_s, at_ms), now_s)
        self._look_at_audit(now_s)
        self._send(self._planner.step(now_s, now_ms(), self._sources.streams))

    def begin_stop(self, problem: str | None) -> None:
        """Tell that what is open will have no end, and have everything sent; does not wait.

        `problem`: why the collector ends without being asked to, which is told too, unless it has only just begun.
        """
        self._is_stopping, now_s = True, self._clock()
        if self._sender:
            self._take_waiting()
            told = problem if now_s - self._begun_s >= LASTED_S else None
            self._send(self._planner.stop(now_s, now_ms(), told))
            self._sender.begin_stop()

    def join(self, deadline_s: float) -> None:
        """Wait a moment for what is sent, until `deadline_s` (monotonic) at most."""
        deadline_s = min(deadline_s, time.monotonic() + STOP_S)
        if self._sender:
            self._sender.join(deadline_s)
        self._abort.set()
        if self._heartbeat:
            self._heartbeat.stop(deadline_s)

    def _take_waiting(self) -> None:
        while self._events:
            at_s, at_ms, event = self._events.popleft()
            self._planner.take(event, at_s, at_ms)
        while self._klines:
            at_s, market, klines = self._klines.popleft()
            self._planner.take_klines(market, klines, at_s)

    def _send(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            sentence = f"Alert, {alert.title}: {' '.join(alert.text.splitlines())}"
            fields = {"about": alert.event, "incident": alert.incident, "title": alert.title, "text": alert.text}
            log.warning("alert", sentence=sentence, **fields)
            if self._sender:
                self._sender.put(alert)

    def _states(self, reasons: Reasons, now_s: float, at_ms: int) -> dict[str, Problem]:
        """What is wrong that no event tells, but for silence."""
        return {
            STATES[each["reason"]]: Problem(str(each["what"]), now_s - (at_ms - each["since"]) / 1000)
            for each in reasons
            if each["reason"] in STATES
        }

    def _silences(self, reasons: Reasons, now_s: float, at_ms: int) -> dict[str, Problem]:
        """The classes that are silent. One whose connection is opened anew for that is silent still."""
        known, found = self._planner.outages.subjects, {}
        for each in reasons:
            name, _, text = str(each["what"]).partition(": ")
            is_silent = (subject := known.get(Key("silence", name))) is not None and subject.is_down
            if each["reason"] == "stream_silent" or (each["reason"] == "stream_down" and is_silent):
                market, _, kind = name.partition(" ")
                found[name] = Problem(text, now_s - (at_ms - each["since"]) / 1000, (market, kind))
        return found

    def _look_at_audit(self, now_s: float) -> None:
        for interval, figures in self._sources.audit().items():
            different = int(figures["different"]) + int(figures.get("unknown", 0))
            if new := different - self._audited.get(interval, 0):
                self._audited[interval] = different
                self._planner.audited(interval, new, now_s)

    def _begin_disk_look(self, now_s: float) -> None:
        """Have a thread look at the disks, for one may hang: then no other look begins, and alerts go out."""
        if now_s - self._disks_looked_s >= DISKS_S and not (self._disk_look and self._disk_look.is_alive()):
            self._disks_looked_s = now_s
            self._disk_look = threading.Thread(target=self._look_at_disks, name="alerts-disks", daemon=True)
            self._disk_look.start()

    def _look_at_disks(self) -> None:
        self._full = self._disks.look()
