"""What changed with one stream, told once each: connected, disconnected, stale, quarantined, gap, repaired.

Runs on the stream's thread and outlives its connections, so that a stream that stays away is told of once.
"""

from collections.abc import Callable, Iterable
from typing import Any

from exchanges.bybit.topics import symbol_of

Tell = Callable[..., object]
"""`tell(event, **fields)`: makes a change of state known. Any thread; never blocks, never raises."""

REASON_CHARACTERS = 200


def tell_nobody(_event: str, **_fields: Any) -> None:
    """Stand in where nobody wants to know."""


class StreamNews:
    """Tells of the topics of one stream. `market` and `kind` are in every event, `symbols` are those it is about."""

    def __init__(self, tell: Tell, market: str, kind: str, topics: Iterable[str]) -> None:
        self.about = (market, kind)
        self.topics = tuple(topics)
        self._tell = tell
        self._up: dict[str, None] = {}
        self._is_known_down = False

    def follow(self, topics: Iterable[str]) -> None:
        """Be about these from now on."""
        self.topics = tuple(topics)

    def connected(self, topics: Iterable[str]) -> None:
        """Tell that data of these topics comes from now on; those told already are left out."""
        new = [topic for topic in topics if topic not in self._up]
        self._up |= dict.fromkeys(new)
        self._is_known_down = False
        if new:
            self.tell("connected", new)

    def disconnected(self, reason: str) -> None:
        """Tell that nothing comes; once, until it is connected again."""
        topics = tuple(self._up) or self.topics
        self._up.clear()
        if not self._is_known_down:
            self._is_known_down = True
            self.tell("disconnected", topics, reason=reason[:REASON_CHARACTERS])

    def left(self, topics: Iterable[str]) -> None:
        """Tell that these are not wanted any more; the connection stays."""
        known = [topic for topic in topics if topic in self._up]
        for topic in known:
            del self._up[topic]
        if known:
            self.tell("disconnected", known, reason="not wanted any more")

    def quarantined(self, topic: str, message: str) -> None:
        """Tell that the exchange refuses a topic."""
        self._up.pop(topic, None)
        self.tell("quarantined", [topic], topic=topic, message=message[:REASON_CHARACTERS])

    def tell(self, event: str, topics: Iterable[str], **fields: Any) -> None:
        """Tell any other event about some topics."""
        market, kind = self.about
        self._tell(event, market=market, kind=kind, symbols=[symbol_of(topic) for topic in topics], **fields)
