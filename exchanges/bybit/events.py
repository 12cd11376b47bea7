"""What changed with one stream, told once each: connected, disconnected, stale, quarantined, gap, repaired.

Runs on the stream's thread and outlives its connections, so that a stream that stays away is told of once.
"""

from collections.abc import Callable, Iterable
from typing import Any

from exchanges.bybit.protocol import symbol_of

Tell = Callable[..., object]
"""`emit(event, **fields)`: makes a change of state known. Any thread; never blocks, never raises."""

REASON_CHARACTERS = 200


def tell_nobody(_event: str, **_fields: Any) -> None:
    """Stand in where nobody wants to know."""


class StreamEvents:
    """Tells of the topics of one stream. `market` and `kind` are in every event, `symbols` are those it is about."""

    def __init__(self, emit: Tell, market: str, kind: str, topics: Iterable[str]) -> None:
        self.about = (market, kind)
        self.topics = tuple(topics)
        self._emit = emit
        self._up: dict[str, None] = {}
        self._is_down_emitted = False

    def set_topics(self, topics: Iterable[str]) -> None:
        """Be about these from now on."""
        self.topics = tuple(topics)

    def connected(self, topics: Iterable[str]) -> None:
        """Tell that data of these topics comes from now on; those told already are unsubscribed out."""
        new = [topic for topic in topics if topic not in self._up]
        self._up |= dict.fromkeys(new)
        self._is_down_emitted = False
        if new:
            self.emit("connected", new)

    def disconnected(self, reason: str) -> None:
        """Tell that nothing comes; once, until it is connected again."""
        topics = tuple(self._up) or self.topics
        self._up.clear()
        if not self._is_down_emitted:
            self._is_down_emitted = True
            self.emit("disconnected", topics, reason=reason[:REASON_CHARACTERS])

    def unsubscribed(self, topics: Iterable[str]) -> None:
        """Tell that these are not wanted any more; the connection stays."""
        known = [topic for topic in topics if topic in self._up]
        for topic in known:
            del self._up[topic]
        if known:
            self.emit("disconnected", known, reason="not wanted any more")

    def quarantined(self, topic: str, message: str) -> None:
        """Tell that the exchange refuses a topic."""
        self._up.pop(topic, None)
        self.emit("quarantined", [topic], topic=topic, message=message[:REASON_CHARACTERS])

    def emit(self, event: str, topics: Iterable[str], **fields: Any) -> None:
        """Tell any other event about some topics."""
        market, kind = self.about
        self._emit(event, market=market, kind=kind, symbols=[symbol_of(topic) for topic in topics], **fields)
