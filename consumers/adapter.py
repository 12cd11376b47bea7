"""The calls to one consumer, whose methods may be plain or async: what they raise is returned and logged.

The consumer's thread (`consumer-<name>`), on its event loop; `counters` any thread. Whatever a user's method raises,
sys.exit() too, costs that call alone; being cancelled by the worker passes through.
"""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

import structlog

from consumers.base import BaseConsumer
from model.envelope import Envelope
from model.pacing import LogThrottle

log = structlog.get_logger()

# What a user's consumer may raise: sys.exit() in it, or a cancelled task that it waited for, does not end the thread.
RAISED = (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError)


class ConsumerAdapter:
    """One consumer, called by its worker."""

    def __init__(self, consumer: BaseConsumer, name: str) -> None:
        self._consumer, self._name = consumer, name
        self._takes_batches = consumer.takes_batches()
        self._throttle = LogThrottle()

    @property
    def batch_size(self) -> int:
        """The number of envelopes that one `deliver` takes."""
        return self._consumer.batch_size if self._takes_batches else 1

    @property
    def trouble(self) -> Exception | None:
        """The error that keeps the consumer from working although it raises nothing."""
        return self._consumer.trouble

    async def set_up(self) -> BaseException | None:
        """Call `setup` and `start`; returns what either raised."""
        error = await self._call("consumer_setup_failed", self._consumer.setup)
        return error or await self._call("consumer_setup_failed", self._consumer.start)

    async def deliver(self, batch: list[Envelope]) -> BaseException | None:
        """Hand over `batch_size` envelopes at most; returns what the consumer raised."""
        if self._takes_batches:
            return await self._call("consumer_failed", self._consumer.deliver, batch)
        (envelope,) = batch
        return await self._call("consumer_failed", self._consumer.consume, envelope.to_dict())

    async def tick(self) -> None:
        """Call `tick`."""
        await self._call("consumer_failed", self._consumer.tick)

    async def stop(self) -> None:
        """Call `stop`."""
        await self._call("consumer_failed", self._consumer.stop)

    def counters(self) -> dict[str, float]:
        """Return the consumer's own figures; none where it raises."""
        try:
            return dict(self._consumer.counters())
        except Exception as error:  # noqa: BLE001 - a user's consumer; main asks, and must not end of it
            self._log("consumer_counters_failed", error)
            return {}

    async def _call(self, event: str, method: Callable[..., Any], *args: Any) -> BaseException | None:
        try:
            result = method(*args)
            if inspect.isawaitable(result):
                await result
        except RAISED as error:
            if _is_cancelled():
                raise
            self._log(event, error)
            return error
        return None

    def _log(self, event: str, error: BaseException) -> None:
        held = self._throttle.allow(f"{event} {type(error).__name__}", time.monotonic())
        if held is not None:
            log.error(event, consumer=self._name, held_back=held, exc_info=error)


def _is_cancelled() -> bool:
    """Whether it is this task that is asked to end, not one that it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
