"""Changes of state: one JSON object each, for the status channel.

Called on any thread, a few times an hour when all is well: never once per message. Never blocks, never raises,
logs nothing.
"""

import json
import time
from collections.abc import Callable
from typing import Any

from model.events import StatusEvent


class StatusTeller:
    """`tell(event, **fields)`: gives `{"exchange", "event", "ts", ...fields}` to `publish`.

    `ts` is the local clock in milliseconds since the epoch. Fields without a value are left out; what JSON does not
    know is written as its text.
    """

    def __init__(self, exchange: str, publish: Callable[[bytes], Any]) -> None:
        self._exchange = exchange
        self._publish = publish

    def __call__(self, event: str, **fields: Any) -> None:
        """Tell one change of state."""
        message = {"exchange": self._exchange, "event": event, "ts": time.time_ns() // 1_000_000}
        message |= {name: value for name, value in fields.items() if value is not None}
        self._publish(json.dumps(message, separators=(",", ":"), default=str).encode())

    def emit(self, event: StatusEvent) -> None:
        """Publish one change of state."""
        self(event.event, **event.as_fields())
