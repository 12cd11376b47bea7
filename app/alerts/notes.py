"""Notes: what is told without an end, collected for a while so that much of it is one message. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

BATCH_S = 60.0  # from the first on, until they are told
PAUSE_S = 600.0  # between two messages of one topic
ITEMS_MOST = 1_000  # of one topic; the newest are left out


@dataclass
class _Topic:
    first_s: float = 0.0
    told_s: float = float("-inf")
    items: list[Any] = field(default_factory=list)


class Notes:
    """Items by topic, until they are due."""

    def __init__(self, batch_s: float = BATCH_S) -> None:
        self._batch_s = batch_s
        self._topics: dict[str, _Topic] = {}

    def add(self, topic: str, item: object, now_s: float) -> None:
        """Add one item."""
        found = self._topics.setdefault(topic, _Topic())
        if not found.items:
            found.first_s = now_s
        if len(found.items) < ITEMS_MOST:
            found.items.append(item)

    def take_due(self, now_s: float, allows: Callable[[], bool]) -> Iterator[tuple[str, list[Any]]]:
        """Take out the topics that are due, one by one; where `allows()` is False at its turn a topic waits."""
        for name, topic in self._topics.items():
            is_due = topic.items and now_s - topic.first_s >= self._batch_s and now_s - topic.told_s >= PAUSE_S
            if is_due and allows():
                items, topic.items, topic.told_s = topic.items, [], now_s
                yield name, items
