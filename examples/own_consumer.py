"""An output of one's own: it gets every envelope, on a thread of its own.

ENABLED_CONSUMERS=redis,examples.own_consumer:Closes python main.py
"""

from typing import Any

from consumers.base import BaseConsumer


class Closes(BaseConsumer):
    """Prints closes."""

    def __init__(self) -> None:
        super().__init__("closes")

    def consume(self, data: dict[str, Any]) -> None:
        """Take one envelope."""
        for kline in data["data"]:
            print("closed", kline["symbol"], kline["close"], flush=True)
