"""The common base of the outputs in Redis: queues, a backlog, and a thread of their own that runs until a stop.

The thread `consumer-<name>` takes one step after another; while Redis is away klines wait, on disk where they are many.
"""

import threading
import time
from contextlib import AbstractContextManager, nullcontext

import structlog

from consumers.health import ConsumerStats, SinkHealth
from consumers.redis.backlog import BacklogLimits, KlineBacklog
from consumers.redis.connection import LOST, remedy_of
from consumers.redis.kline_queue import KlineQueue
from consumers.redis.options import QueueOptions
from consumers.redis.raw_queue import RawQueue
from model.clock import ThreadOwner, join_by, now_ms
from model.envelope import Envelope
from model.events import EventSink
from model.pacing import Backoff, ThrottledLogger
from model.wake import WakeSignal

log = structlog.get_logger()

AWAY_STEP_S = 0.2  # while Redis is away: how often envelopes are moved to the backlog
SAVE_RESERVE_S = 0.5  # of the stop's time: kept for writing unsent klines to disk


class RedisOutput(ThreadOwner):
    """The base of an output of the manager; a subclass sets `_klines`, and defines what a step is."""

    name = ""
    _klines: KlineQueue

    def __init__(self, options: QueueOptions, events: EventSink) -> None:
        """`events` gets SinkDown and SinkUp when Redis goes or refuses, and takes again."""
        self.wake = WakeSignal()
        self.raw = RawQueue(options.raw_limit, options.raw_limit_bytes, self.wake)
        self._backlog = KlineBacklog(options.spill_path, BacklogLimits(options.klines_in_memory))
        self._backoff = Backoff(options.backoff_first_s, options.backoff_cap_s, floor=0.1)
        self.health = SinkHealth(self.name, events, lasting_s=0.0, is_logged=True, remedy_of=remedy_of)
        self._logger = ThrottledLogger(log)
        self._lost = 0  # raw messages that left the queue, and got no reply that they arrived
        self._thread = threading.Thread(target=self._run, name=f"consumer-{self.name}", daemon=True)
        self._stopping = threading.Event()
        self._stop_at_s = float("inf")

    # -- any thread ------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        raise NotImplementedError

    def begin_stop(self, deadline_s: float) -> None:
        """Have the thread send what waits, save what it cannot send, and end before `deadline_s` (monotonic)."""
        self._stop_at_s = deadline_s - SAVE_RESERVE_S
        self._stopping.set()
        self.wake.set()

    def join(self, deadline_s: float) -> bool:
        """Wait for the end of the thread; False if `deadline_s` (monotonic) came first."""
        return join_by(self._thread, deadline_s)

    def _offer_klines(self, envelope: Envelope) -> None:
        self._klines.offer(envelope)
        if self.wake.is_armed:
            self.wake.set()

    @property
    def _has_new(self) -> bool:
        """Whether something came since the thread looked last."""
        return bool(self.raw.waiting or self._klines.new)

    def _dropped(self) -> int:
        """Raw messages dropped so far: over the queue's bounds, or without a reply that they arrived."""
        return self.raw.dropped + self._lost

    def _stats(
        self, *, delivered: int, klines_delivered: int, errors: int, lag_s: float = 0.0, **extra: float
    ) -> ConsumerStats:
        """Count messages; `errors` are those that Redis refused."""
        waiting, backlog = len(self._klines), self._backlog
        figures = {
            "connected": float(self.is_connected),
            "outages": self.health.outages,
            "klines_delivered": klines_delivered,
            "klines_waiting": waiting,
            "klines_on_disk": backlog.on_disk,
            "klines_expired": backlog.expired,
            "klines_dropped": backlog.dropped,
            "spill_errors": backlog.spill_errors,
        }
        queued = len(self.raw) + waiting
        return ConsumerStats(queued, delivered, self._dropped(), errors, lag_s if queued else 0.0, figures | extra)

    # -- the output's thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        self._begin()
        while not self._is_over():
            try:
                if not self._step():
                    break
            except LOST as error:
                self._lose(error)
            except Exception as error:  # the thread's outermost loop: it goes on
                log.error(f"{self.name}_failed", exc_info=True)
                self._lose(error)
        self._finish()

    def _begin(self) -> None:
        """Do what comes first, once."""
        self._backlog.load()

    def _is_over(self) -> bool:
        if not self._stopping.is_set():
            return False
        # A stop while Redis is away gets no more attempts than the one under way.
        return time.monotonic() >= self._stop_at_s or (not self.is_connected and self._backoff.attempts > 0)

    def _step(self) -> bool:
        """Connect, send, read, or wait, whichever is due; False when stopping and nothing is left to be done."""
        raise NotImplementedError

    def _close(self) -> int:
        """Close the connection; returns how many raw messages that leaves without a reply."""
        raise NotImplementedError

    def _lose(self, error: Exception) -> None:
        """Close the connection that failed, and pause."""
        self._record_down(error)  # first: what is in flight counts as dropped by this outage
        self._close()
        self._pause()

    def _record_down(self, error: Exception) -> None:
        self.health.failed(error, self._dropped(), time.monotonic())

    def _finish(self) -> None:
        """Close the connection; save what is unsent."""
        raw = self._close()
        self._lost += len(self.raw)
        self._klines.move_to_backlog(now_ms())
        self._save_unsent(raw)

    def _save_unsent(self, raw_in_flight: int) -> None:
        """Save the klines that are unsent for the next start; log what was not delivered."""
        kept = len(self._backlog)
        lost = self._backlog.save()
        if kept or raw_in_flight:
            event = f"{self.name}_stopped_unsent"
            figures = {"kline_messages_kept": kept, "klines_lost": lost, "raw_in_flight": raw_in_flight}
            kept_text = f"messages with klines kept on disk for the next start: {kept:,}"
            sentence = f"The output {self.name} ends with unsent data; {kept_text}; klines lost: {lost:,}."
            log.warning(event, sentence=sentence, **figures)

    def _asleep(self) -> AbstractContextManager[None]:
        """Release what other threads may use while this thread waits; here nothing."""
        return nullcontext()

    def _pause(self) -> None:
        """Wait until the next attempt, or a stop; klines that come are moved to where they may wait."""
        until_s = min(time.monotonic() + self._backoff.delay_s(), self._stop_at_s)
        self._klines.move_to_backlog(now_ms())
        while (left_s := until_s - time.monotonic()) > 0 and not self._stopping.is_set():
            with self._asleep():
                self._stopping.wait(min(left_s, AWAY_STEP_S))
            self._klines.move_to_backlog(now_ms())
