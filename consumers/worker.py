"""One consumer's queue and thread.

The thread `consumer-<name>` runs an event loop, for plain and async consumers alike. Whatever the consumer does, raise,
block or never return, costs its own envelopes alone; sys.exit() too costs its call alone. Depends on no output by name.
"""

import asyncio
import contextlib
import inspect
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

from consumers.base import BaseConsumer
from consumers.envelope_queue import EnvelopeQueue, check_policy
from consumers.health import LASTING_S, ConsumerStats, SinkHealth
from model.clock import ThreadOwner, join_by
from model.envelope import Envelope
from model.events import NO_EVENTS, EventSink
from model.pacing import Backoff, ThrottledLogger
from model.wake import stand_back

log = structlog.get_logger()

TICK_S = 1.0  # a consumer's `tick` is called so often at least
SETUP_FIRST_S, SETUP_CAP_S = 0.5, 30.0  # pauses between attempts to set up
STOP_LOOK_S = 0.1  # between two checks for a stop, while a start waits for a set-up
CUT_RESERVE_S = 0.3  # before the stop deadline: what hangs in an await is cancelled, so that stop() still runs

# What a user's consumer may raise: sys.exit() in it, or a cancelled task that it waited for, does not end the thread.
RAISED = (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError)


class Worker(ThreadOwner):
    """Runs one consumer. `offer` may be called by any thread, also before `start` and after the end."""

    def __init__(
        self,
        consumer: BaseConsumer,
        name: str,
        events: EventSink = NO_EVENTS,
        lasting_s: float = LASTING_S,
        tick_s: float | None = None,
    ) -> None:
        """`events` gets SinkDown where set-up fails, or every envelope failed for `lasting_s`, and SinkUp.

        `tick_s` is how often the consumer's `tick` is called; None: as it says, and every second at least.
        """
        self._tick_s = tick_s
        self.name = name
        self.consumer = consumer
        check_policy(consumer.overflow, consumer.queue_size, type(consumer).__name__)
        self._takes_batches = type(consumer).deliver is not BaseConsumer.deliver
        self._queue = EnvelopeQueue(consumer.queue_size, consumer.overflow)
        self._delivered = self._errors = 0
        self._in_hand_s: float | None = None
        self._asleep = False
        self._settled = threading.Event()  # set up, or failed for the first time
        self._failure: str | None = None
        self._stopping = False
        self._stop_at_s = float("inf")
        self._was_cut = False
        self._logger = ThrottledLogger(log)
        self.health = SinkHealth(name, events, lasting_s=lasting_s)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=f"consumer-{name}", daemon=True)

    # -- any thread ------------------------------------------------------------------------------------

    def offer(self, envelope: Envelope) -> None:
        """Queue one envelope; never blocks, drops over the bound."""
        queue = self._queue
        if not queue.put(envelope):
            self._logger.warning("consumer_overflow", consumer=self.name, dropped=queue.dropped, limit=queue.limit)
        if self._asleep:
            self._wake_up()

    def wait_settled(self, deadline_s: float, stop: threading.Event | None = None) -> str | None:
        """Wait for the first set-up to end, or for `stop`; returns why it failed, or None. Failed ones go on trying."""
        while not self._settled.wait(max(0.0, min(STOP_LOOK_S, deadline_s - time.monotonic()))):
            if time.monotonic() >= deadline_s or (stop and stop.is_set()):
                return "not set up in time"
        return self._failure

    def begin_stop(self, deadline_s: float) -> None:
        """Deliver what is queued, and end, before `deadline_s` (monotonic); returns at once."""
        self._stop_at_s = deadline_s - CUT_RESERVE_S
        self._stopping = True
        self._wake_up()

    def join(self, deadline_s: float) -> bool:
        """Wait for the end of the thread; False if it did not come, or came with envelopes left over.

        Envelopes offered to one that was never started do not count.
        """
        has_ended = join_by(self._thread, deadline_s)
        return has_ended and not self._was_cut and not (len(self._queue) and self._thread.ident is not None)

    def stats(self) -> ConsumerStats:
        """Return counts of envelopes; those at which the consumer raised are `errors`."""
        oldest_s = self._in_hand_s or self._queue.oldest_s()
        lag_s = 0.0 if oldest_s is None else time.monotonic() - oldest_s
        try:
            figures = dict(self.consumer.counters())
        except Exception:  # a user's consumer: the thread that reads the figures must not end by it
            self._logger.exception("consumer_counters_failed", consumer=self.name)
            figures = {}
        return ConsumerStats(len(self._queue), self._delivered, self._queue.dropped, self._errors, lag_s, figures)

    def _wake_up(self) -> None:
        self._asleep = False
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._on_wake)

    # -- the consumer's thread -------------------------------------------------------------------------

    def _run(self) -> None:
        stand_back(type(self.consumer).niceness)
        try:
            asyncio.run(self._main())
        except BaseException:  # the thread's outermost level; main sees that it has ended
            log.critical("consumer_thread_failed", consumer=self.name, exc_info=True)
        finally:
            self._settled.set()

    async def _main(self) -> None:
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._on_wake()
        is_set_up = False
        try:
            is_set_up = await self._set_up()
            if is_set_up:
                await self._serve()
        except asyncio.CancelledError:
            self._was_cut = True
            assert self._task is not None
            self._task.uncancel()
        finally:
            if is_set_up:
                await self._end()

    def _on_wake(self) -> None:
        self._wake.set()
        if self._stopping:
            left_s = max(0.0, self._stop_at_s - time.monotonic())
            assert self._loop is not None
            self._loop.call_later(left_s, self._cut)

    def _cut(self) -> None:
        if self._task is not None and not self._was_cut:
            self._task.cancel()

    async def _set_up(self) -> bool:
        backoff = Backoff(SETUP_FIRST_S, SETUP_CAP_S, floor=0.1)
        while not self._stopping:
            error = await self._call(self.consumer.setup, event="consumer_setup_failed")
            error = error or await self._call(self.consumer.start, event="consumer_setup_failed")
            self._failure = f"{type(error).__name__}: {error}" if error else None
            if error is None:
                self.health.works(self._lost())
                self._settled.set()
                return True
            self.health.failed(error, self._lost(), time.monotonic(), is_lasting=True)
            self._settled.set()
            backoff.attempts += 1
            await self._sleep(backoff.delay_s())
        return False

    async def _serve(self) -> None:
        every_s = min(TICK_S, self.consumer.tick_s) if self._tick_s is None else self._tick_s
        tick_at_s = time.monotonic() + every_s
        while not (self._stopping and (not len(self._queue) or time.monotonic() >= self._stop_at_s)):
            if len(self._queue):
                await self._deliver()
                await asyncio.sleep(0)  # for the consumer's own tasks
            else:
                await self._sleep(max(0.0, tick_at_s - time.monotonic()))
            if time.monotonic() >= tick_at_s:
                tick_at_s = time.monotonic() + every_s
                await self._tick()

    async def _tick(self) -> None:
        was_in_trouble = self.consumer.trouble is not None
        await self._call(self.consumer.tick)
        if was_in_trouble or self.consumer.trouble:
            self._record_health(self.consumer.trouble, self._lost())

    async def _deliver(self) -> None:
        self._in_hand_s, batch = self._queue.take(self.consumer.batch_size if self._takes_batches else 1)
        if batch:
            lost_before = self._lost()
            if self._takes_batches:
                error = await self._call(self.consumer.deliver, batch)
            else:
                error = await self._call(self.consumer.consume, batch[0].to_dict())
            if error is None:
                self._delivered += len(batch)
            else:
                self._errors += len(batch)
            self._record_health(error or self.consumer.trouble, lost_before)
        self._in_hand_s = None

    async def _call(
        self, method: Callable[..., Any], *args: Any, event: str = "consumer_failed"
    ) -> BaseException | None:
        """Call a method of the consumer, plain or async; returns what it raised, logged as `event`."""
        try:
            result = method(*args)
            if inspect.isawaitable(result):
                await result
        except RAISED as error:
            task = asyncio.current_task()
            if task and task.cancelling():  # this task is asked to end, not one that it waited for
                raise
            # What the system refuses at a set-up says itself what it is: a port that is taken, a folder without rights.
            is_plain = event == "consumer_setup_failed" and isinstance(error, OSError)
            trace = {"error": str(error)} if is_plain else {"exc_info": error}
            self._logger.error(event, type(error).__name__, consumer=self.name, **trace)
            return error
        return None

    def _record_health(self, error: BaseException | None, lost: int) -> None:
        if error is None:
            self.health.works(lost)
        else:
            self.health.failed(error, lost, time.monotonic())

    def _lost(self) -> int:
        return self._errors + self._queue.dropped

    async def _end(self) -> None:
        limit_s = max(CUT_RESERVE_S / 2, self._stop_at_s - time.monotonic())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._call(self.consumer.stop), limit_s)

    async def _sleep(self, limit_s: float) -> None:
        self._wake.clear()
        self._asleep = True
        if not len(self._queue) and not self._stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), limit_s)
        self._asleep = False
