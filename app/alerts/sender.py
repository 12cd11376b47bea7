"""The thread `alerts`: sends what is to be told to each service.

Nobody waits for it. Each service has a bounded queue of its own, and is tried again for a while; what it does not take
then is dropped, counted and logged.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from app.alerts.planner import Alert
from app.alerts.services import AlertSink, SendError
from model.clock import ThreadOwner, join_by
from model.pacing import Backoff, OutageLog, ThrottledLogger

QUEUE_MOST = 100  # alerts waiting for one service; more than ALERT_MAX_PER_HOUR lets through in an hour of outage
KEPT_S = 3_600.0  # so long an alert is tried: later it is no news
FIRST_RETRY_S, RETRY_CAP_S = 2.0, 60.0

log = structlog.get_logger()


@dataclass(eq=False)
class _Channel:
    """One service, and what waits for it."""

    service: AlertSink
    waiting: deque[tuple[float, Alert]] = field(default_factory=deque)
    due_s: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_RETRY_S, RETRY_CAP_S, floor=0.5))
    outage: OutageLog = field(default_factory=OutageLog)
    sent: int = 0
    retries: int = 0
    dropped: int = 0


class Sender(ThreadOwner):
    """Owner of the thread `alerts`."""

    def __init__(self, services: Sequence[AlertSink], clock: Callable[[], float] = time.monotonic) -> None:
        self._channels = [_Channel(service) for service in services]
        self._clock = clock
        self._wake, self._stop = threading.Event(), threading.Event()
        self._logger = ThrottledLogger(log)
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    # -- any thread ------------------------------------------------------------------------------------

    def put(self, alert: Alert) -> None:
        """Queue an alert for each service; never blocks."""
        for channel in self._channels:
            if len(channel.waiting) >= QUEUE_MOST:
                channel.waiting.popleft()
                channel.dropped += 1
            channel.waiting.append((self._clock(), alert))
        self._wake.set()

    def stats(self) -> dict[str, int]:
        """Counts since the start, of all services together, and what waits now."""
        return {
            "sent": sum(each.sent for each in self._channels),
            "retries": sum(each.retries for each in self._channels),
            "dropped": sum(each.dropped for each in self._channels),
            "waiting": sum(len(each.waiting) for each in self._channels),
        }

    def begin_stop(self) -> None:
        """Send what waits, each once, and end; does not wait for that."""
        self._stop.set()
        self._wake.set()

    def join(self, deadline_s: float) -> bool:
        """Wait for the end until `deadline_s` (monotonic); False, and a log line, where something is left."""
        is_over = join_by(self._thread, deadline_s)
        if left := self.stats()["waiting"]:
            log.warning("alerts_unsent", sentence=f"Alerts that were not sent before the end: {left}.", count=left)
        return is_over

    # -- the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self._work()
            except Exception:  # the thread's outermost loop
                self._logger.exception("alerts_failed")
            self._wake.wait(self._pause_s())
        for channel in sorted(self._channels, key=lambda each: each.backoff.attempts):  # those that work first
            self._send_all(channel)  # what waits is tried once more, whenever that was due

    def _work(self) -> None:
        now_s = self._clock()
        for channel in self._channels:
            if channel.waiting and now_s >= channel.due_s and not self._stop.is_set():
                self._send_all(channel)

    def _pause_s(self) -> float | None:
        """How long nothing is due; None: until there is an alert."""
        due_s = min((each.due_s for each in self._channels if each.waiting), default=None)
        return None if due_s is None else max(0.0, due_s - self._clock())

    def _send_all(self, channel: _Channel) -> None:
        """Send what waits for a service until it fails."""
        while channel.waiting:
            at_s, alert = channel.waiting[0]
            try:
                channel.service.send(alert)
            except Exception as error:  # noqa: BLE001 - what is no SendError too is paused after; its text may have the address
                self._failed(channel, at_s, str(error) if isinstance(error, SendError) else type(error).__name__)
                return
            channel.sent += 1
            channel.backoff.reset()
            if channel.outage.up():
                name = channel.service.name
                log.info("alert_service_up", sentence=f"{name} takes alerts again.", service=name)
            self._drop_first(channel, alert)

    def _failed(self, channel: _Channel, at_s: float, problem: str) -> None:
        now_s = self._clock()
        channel.retries += 1
        channel.due_s = now_s + channel.backoff.next_s()
        if (held := channel.outage.down(now_s)) is not None:
            name = channel.service.name
            sentence = f"{name} does not take alerts: {problem}. It is tried again for an hour."
            log.warning("alert_service_down", sentence=sentence, service=name, error=problem, held_back=held)
        if now_s - at_s >= KEPT_S:
            self._drop_first(channel, channel.waiting[0][1])
            channel.dropped += 1

    @staticmethod
    def _drop_first(channel: _Channel, alert: Alert) -> None:
        """Take out what was sent, unless the queue was full meanwhile and has dropped it itself."""
        if channel.waiting and channel.waiting[0][1] is alert:
            channel.waiting.popleft()
