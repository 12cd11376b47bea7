"""What a consumer of one's own derives from.

Every method may be plain or async; all but `__init__` and `validate` run on the consumer's own thread
(`consumer-<name>`), async ones on that thread's event loop. Nothing here knows queues or exchanges.
"""

from typing import Any, ClassVar

import structlog

from consumers.envelope_queue import Overflow
from model.envelope import Envelope

QUEUE_SIZE = 10_000  # envelopes: a minute of 7,200 klines and room to spare


class BaseConsumer:
    """One output. Override `consume`, and `setup`, `start`, `stop`, `validate` where there is need.

    What a method raises is counted and logged, and costs the envelope in hand, nothing else. A method that
    never returns costs this consumer's own envelopes.
    """

    queue_size: ClassVar[int] = QUEUE_SIZE
    """Envelopes that may wait, klines and others counted apart; `overflow` says what happens to more."""

    overflow: ClassVar[Overflow] = "drop_oldest"
    """`drop_oldest` and `drop_newest` count and drop; `never` keeps all, as long as memory lasts."""

    batch_size: ClassVar[int] = 500
    """Envelopes handed to `deliver` at once, at most."""

    trouble: Exception | None = None
    """What keeps it from working although it raises nothing, because it tries again by itself; told downstream."""

    tick_s: float = 1.0
    """Seconds between two calls of `tick`, about; at most a second."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.logger = structlog.get_logger().bind(consumer=name)
        self._is_running = False

    @property
    def is_running(self) -> bool:
        """Say whether `start` has succeeded and `stop` was not called yet."""
        return self._is_running

    def validate(self) -> Any:
        """Raise ValueError, naming the setting, where this consumer cannot work as configured."""

    def setup(self) -> Any:
        """Get what is needed: open, connect, bind. Tried again after a pause when it raises."""

    def start(self) -> Any:
        """Begin; called once after `setup`."""
        self._is_running = True

    def consume(self, data: dict[str, Any]) -> Any:
        """Take one envelope: `{"exchange", "channel", "data_type", "data": [...]}`, yours to change."""
        raise NotImplementedError(f"{type(self).__name__} needs a consume(data) method")

    def stop(self) -> Any:
        """End; called after the last envelope, within the stop deadline."""
        self._is_running = False

    def deliver(self, envelopes: list[Envelope]) -> Any:
        """Take a batch instead of one dict at a time; overridden by outputs that write batches."""
        raise NotImplementedError

    def tick(self) -> Any:
        """Do what is due by the clock; called every `tick_s`."""

    def counters(self) -> dict[str, float]:
        """Return figures of its own, shown beside the common ones; called from any thread."""
        return {}

    @classmethod
    def takes_batches(cls) -> bool:
        """Say whether this class overrides `deliver`."""
        return cls.deliver is not BaseConsumer.deliver
