"""One consumer, its queue and its thread.

The thread `consumer-<name>` runs an event loop, so that plain and async consumers live alike. Whatever the
consumer does - raise, block, never return - costs its own envelopes alone. Knows no output by name.
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
from consumers.health import LASTING_S, SinkHealth
from consumers.stats import ConsumerStats
from model.clock import join_by
from model.envelope import Envelope
from model.events import NO_EVENTS, EventSink
from model.pacing import Backoff, LogThrottle

log = structlog.get_logger()

TICK_S = 1.0  # how often a consumer's clock work is looked at, at least
SETUP_FIRST_S, SETUP_CAP_S = 0.5, 30.0  # pauses between attempts to set up
# What a user's consumer may raise: sys.exit() in it, or a cancelled task that it waited for, does not end our thread.
RAISED = (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError)
STOP_LOOK_S = 0.1  # how often a start that waits for a set-up looks whether it was asked to stop
CUT_RESERVE_S = 0.3  # before the stop deadline: what hangs in an await is cancelled, so that stop() still runs


async def _call(method: Callable[..., Any], *args: Any) -> Any:
    result = method(*args)
    return await result if inspect.isawaitable(result) else result


def _is_cancelled() -> bool:
    """Whether it is this task that is asked to end, not one that it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Worker:
    """Runs one consumer. `offer` may be called by any thread, also before `start` and after the end."""

    def __init__(
        self,
        consumer: BaseConsumer,
        name: str,
        events: EventSink = NO_EVENTS,
        lasting_s: float = LASTING_S,
    ) -> None:
        """`events` gets SinkDown where set-up fails, or every envelope failed for `lasting_s`, and SinkUp."""
        self.name = name
        self.consumer = consumer
        check_policy(consumer.overflow, consumer.queue_size, type(consumer).__name__)
        self._queue = EnvelopeQueue(consumer.queue_size, consumer.overflow)
        self._delivered = self._errors = 0
        self._in_hand_s: float | None = None
        self._asleep = False
        self._settled = threading.Event()  # set up, or failed for the first time
        self._failure: str | None = None
        self._stopping = False
        self._stop_at_s = float("inf")
        self._was_cut = False
        self._throttle = LogThrottle()
        self._health = SinkHealth(name, events, lasting_s=lasting_s)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=f"consumer-{name}", daemon=True)

    # -- any thread ------------------------------------------------------------------------------------

    def offer(self, envelope: Envelope) -> None:
        """Queue one envelope; never blocks, drops over the bound."""
        if not self._queue.put(envelope):
            self._tell_drop()
        if self._asleep:
            self._wake_up()

    def start(self) -> None:
        """Start the thread, which sets the consumer up."""
        self._thread.start()

    def wait_settled(self, deadline_s: float, stop: threading.Event | None = None) -> str | None:
        """Wait for the first set-up to end, or for `stop`; returns why it failed, or None. Failed ones go on trying."""
        while not self._settled.wait(max(0.0, min(STOP_LOOK_S, deadline_s - time.monotonic()))):
            if time.monotonic() >= deadline_s or (stop and stop.is_set()):
                return "not set up in time"
        return self._failure

    def threads(self) -> list[threading.Thread]:
        """The threads that must live."""
        return [self._thread]

    def begin_stop(self, deadline_s: float) -> None:
        """Ask for what is queued to be delivered, and for the end, before `deadline_s` (monotonic)."""
        self._stop_at_s = deadline_s - CUT_RESERVE_S
        self._stopping = True
        self._wake_up()

    def join(self, deadline_s: float) -> bool:
        """Wait for the end of the thread; False if it did not come, or came with envelopes left over.

        What was offered to one that never started nobody was to have.
        """
        has_ended = join_by(self._thread, deadline_s)
        return has_ended and not self._was_cut and not (len(self._queue) and self._thread.ident is not None)

    def stats(self) -> ConsumerStats:
        """Count envelopes; those the consumer refused are `errors`."""
        oldest_s = self._in_hand_s
        if oldest_s is None:
            oldest_s = self._queue.oldest_s()
        lag_s = 0.0 if oldest_s is None else time.monotonic() - oldest_s
        try:
            extra = dict(self.consumer.counters())
        except Exception as error:  # noqa: BLE001 - a user's consumer; main asks, and must not end of it
            self._complain("consumer_counters_failed", error)
            extra = {}
        return ConsumerStats(len(self._queue), self._delivered, self._queue.dropped, self._errors, lag_s, extra)

    def _tell_drop(self) -> None:
        held = self._throttle.allow("overflow", time.monotonic())
        if held is not None:
            queue = self._queue
            log.warning("consumer_overflow", consumer=self.name, dropped=queue.dropped, limit=queue.limit)

    def _wake_up(self) -> None:
        self._asleep = False
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._on_wake)

    # -- the consumer's thread -------------------------------------------------------------------------

    def _run(self) -> None:
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
            try:
                await _call(self.consumer.setup)
                await _call(self.consumer.start)
            except RAISED as error:
                if _is_cancelled():
                    raise
                self._failure = f"{type(error).__name__}: {error}"
                self._complain("consumer_setup_failed", error)
                self._health.failed(error, self._lost(), time.monotonic(), is_lasting=True)
                self._settled.set()
                backoff.attempts += 1
                await self._sleep(backoff.delay_s())
            else:
                self._failure = None
                self._health.works(self._lost())
                self._settled.set()
                return True
        return False

    async def _serve(self) -> None:
        every_s = min(TICK_S, self.consumer.tick_s)
        tick_at_s = time.monotonic() + every_s
        while not (self._stopping and (not len(self._queue) or time.monotonic() >= self._stop_at_s)):
            if len(self._queue):
                await self._deliver()
                await asyncio.sleep(0)  # the consumer's own tasks have their turn
            else:
                await self._sleep(max(0.0, tick_at_s - time.monotonic()))
            if time.monotonic() >= tick_at_s:
                tick_at_s = time.monotonic() + every_s
                await self._tick()

    async def _tick(self) -> None:
        was_in_trouble = self.consumer.trouble is not None
        await self._guarded(self.consumer.tick)
        if was_in_trouble or self.consumer.trouble:
            self._judge(self.consumer.trouble, self._lost())

    async def _deliver(self) -> None:
        if self.consumer.takes_batches():
            batch = self._take(self.consumer.batch_size)
            self._count(len(batch), await self._guarded(self.consumer.deliver, batch))
        else:
            for envelope in self._take(1):
                self._count(1, await self._guarded(self.consumer.consume, envelope.to_dict()))
        self._in_hand_s = None

    def _take(self, limit: int) -> list[Envelope]:
        self._in_hand_s, batch = self._queue.take(limit)
        return batch

    def _count(self, offered: int, error: BaseException | None) -> None:
        lost_before = self._lost()
        if error is None:
            self._delivered += offered
        else:
            self._errors += offered
        self._judge(error or self.consumer.trouble, lost_before)

    def _judge(self, error: BaseException | None, lost: int) -> None:
        if error is None:
            self._health.works(lost)
        else:
            self._health.failed(error, lost, time.monotonic())

    def _lost(self) -> int:
        return self._errors + self._queue.dropped

    async def _guarded(self, method: Callable[..., Any], *args: Any) -> BaseException | None:
        """Return what it raised."""
        try:
            await _call(method, *args)
        except RAISED as error:
            if _is_cancelled():
                raise
            self._complain("consumer_failed", error)
            return error
        return None

    async def _end(self) -> None:
        limit_s = max(CUT_RESERVE_S / 2, self._stop_at_s - time.monotonic())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._guarded(self.consumer.stop), limit_s)

    async def _sleep(self, limit_s: float) -> None:
        self._wake.clear()
        self._asleep = True
        if not len(self._queue) and not self._stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), limit_s)
        self._asleep = False

    def _complain(self, event: str, error: BaseException) -> None:
        held = self._throttle.allow(f"{event} {type(error).__name__}", time.monotonic())
        if held is not None:
            log.error(event, consumer=self.name, held_back=held, exc_info=error)
