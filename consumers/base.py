"""The base class of outputs, built-in ones and the user's own.

Every method may be plain or async; all but `__init__` and `validate` run on the consumer's own thread
(`consumer-<name>`), async ones on that thread's event loop. Nothing here depends on queues or exchanges.
"""

from typing import Any, ClassVar

import structlog

from consumers.envelope_queue import Overflow
from model.envelope import Envelope

QUEUE_SIZE = 10_000  # envelopes: more than a minute of 7,200 klines


class BaseConsumer:
    """The base of one output. Override `consume`, and where necessary `setup`, `start`, `stop` and `validate`.

    What a method raises is counted and logged, and costs the envelope in hand, nothing else. A method that
    never returns costs this consumer's own envelopes.
    """

    queue_size: ClassVar[int] = QUEUE_SIZE
    """Envelopes that may wait, klines and others counted apart; `overflow` is the policy beyond."""

    overflow: ClassVar[Overflow] = "drop_oldest"
    """`drop_oldest` and `drop_newest` count and drop; `never` keeps all, as long as memory lasts."""

    batch_size: ClassVar[int] = 500
    """Envelopes handed to `deliver` at once, at most."""

    niceness: ClassVar[int] = 0
    """How far its thread stands back where cores are short: 0 to 19, as nice(1) has it; on Linux alone."""

    trouble: Exception | None = None
    """The error that keeps it from working, of an output that raises nothing and tries again by itself."""

    tick_s: float = 1.0
    """Seconds between two calls of `tick`, about; at most a second."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.logger = structlog.get_logger().bind(consumer=name)
        self._is_running = False

    @property
    def is_running(self) -> bool:
        """Whether `start` has succeeded and `stop` was not called yet."""
        return self._is_running

    def validate(self) -> Any:
        """Raise ValueError, naming the setting, where the consumer cannot work as configured."""

    def setup(self) -> Any:
        """Open, connect, bind. Called again after a pause when it raises."""

    def start(self) -> Any:
        """Start; called once after `setup`."""
        self._is_running = True

    def consume(self, data: dict[str, Any]) -> Any:
        """Take one envelope: `{"exchange", "channel", "data_type", "data": [...]}`, a dict of the consumer's own."""
        raise NotImplementedError(f"{type(self).__name__} needs a consume(data) method")

    def stop(self) -> Any:
        """Stop; called after the last envelope, within the stop deadline."""
        self._is_running = False

    def deliver(self, envelopes: list[Envelope]) -> Any:
        """Take a batch instead of one dict at a time; overridden by outputs that write batches."""
        raise NotImplementedError

    def tick(self) -> Any:
        """Do periodic work; called every `tick_s`."""

    def counters(self) -> dict[str, float]:
        """Return the consumer's own figures, shown beside the common ones; called from any thread."""
        return {}
