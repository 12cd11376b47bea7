"""The calls to one consumer, whose methods may be plain or async: what they raise is returned and logged.

The consumer's thread (`consumer-<name>`), on its event loop; `counters` any thread. Whatever a user's method raises,
sys.exit() too, costs that call alone; being cancelled by the worker passes through.
"""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import structlog

from consumers.base import BaseConsumer
from model.envelope import Envelope
from model.pacing import ThrottledLogger

log = structlog.get_logger()

# What a user's consumer may raise: sys.exit() in it, or a cancelled task that it waited for, does not end the thread.
RAISED = (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError)


class ConsumerAdapter:
    """One consumer, called by its worker."""

    def __init__(self, consumer: BaseConsumer, name: str) -> None:
        self._consumer, self._name = consumer, name
        self._takes_batches = type(consumer).deliver is not BaseConsumer.deliver
        self._logger = ThrottledLogger(log)

    @property
    def batch_size(self) -> int:
        """The number of envelopes that one `deliver` takes."""
        return self._consumer.batch_size if self._takes_batches else 1

    async def set_up(self) -> BaseException | None:
        """Call `setup` and `start`; returns what either raised."""
        error = await self.call(self._consumer.setup, event="consumer_setup_failed")
        return error or await self.call(self._consumer.start, event="consumer_setup_failed")

    async def deliver(self, batch: list[Envelope]) -> BaseException | None:
        """Hand over `batch_size` envelopes at most; returns what the consumer raised."""
        if self._takes_batches:
            return await self.call(self._consumer.deliver, batch)
        (envelope,) = batch
        return await self.call(self._consumer.consume, envelope.to_dict())

    def counters(self) -> dict[str, float]:
        """Return the consumer's own figures; none where it raises."""
        try:
            return dict(self._consumer.counters())
        except Exception:  # a user's consumer: the thread that reads the figures must not end of it
            self._logger.exception("consumer_counters_failed", consumer=self._name)
            return {}

    async def call(
        self, method: Callable[..., Any], *args: Any, event: str = "consumer_failed"
    ) -> BaseException | None:
        """Call a method of the consumer; returns what it raised, logged as `event`."""
        try:
            result = method(*args)
            if inspect.isawaitable(result):
                await result
        except RAISED as error:
            task = asyncio.current_task()
            if task and task.cancelling():  # this task is asked to end, not one that it waited for
                raise
            self._logger.error(event, type(error).__name__, consumer=self._name, exc_info=error)
            return error
        return None
