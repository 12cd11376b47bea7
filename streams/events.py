"""The status events of one stream: connected, disconnected, stale, quarantined, gap, repaired; each change once.

Runs on the stream's thread and outlives its connections, so that a stream that stays away is reported once.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from model.clock import now_ms
from model.events import (
    NOT_WANTED,
    REASON_CHARACTERS,
    Connected,
    Disconnected,
    EventSink,
    Gap,
    Quarantined,
    Repaired,
    Stale,
    StreamEvent,
)


class StreamEvents:
    """Emits the events of one stream to `events`, with its market and kind, and the symbols of the topics concerned."""

    def __init__(
        self, events: EventSink, market: str, kind: str, topics: Iterable[str], symbol_of: Callable[[str], str]
    ) -> None:
        """`symbol_of` returns the symbol of a topic."""
        self.market, self.kind, self._symbol_of = market, kind, symbol_of
        self.topics = tuple(topics)
        self.symbols: Callable[[], Iterable[str]] | None = None
        """What returns the symbols that a topic of all symbols is narrowed to; None where topics have their own."""
        self._events = events
        self._up: dict[str, None] = {}
        self._is_down = False  # whether that was emitted

    def set_topics(self, topics: Iterable[str]) -> None:
        """Replace the topics that a disconnect without any connected topic is about."""
        self.topics = tuple(topics)

    def connected(self, topics: Iterable[str]) -> None:
        """Emit that data of these topics comes from now on; topics emitted already are left out."""
        new = [topic for topic in topics if topic not in self._up]
        self._up |= dict.fromkeys(new)
        self._is_down = False
        if new:
            self._emit(new, Connected())

    def disconnected(self, reason: str) -> None:
        """Emit that the connection ended; once, until it is connected again."""
        topics = tuple(self._up) or self.topics
        self._up.clear()
        if not self._is_down:
            self._is_down = True
            self._emit(topics, Disconnected(reason=reason[:REASON_CHARACTERS]))

    def unsubscribed(self, topics: Iterable[str]) -> None:
        """Emit that these topics are not desired any more; the connection stays."""
        known = [topic for topic in topics if topic in self._up]
        for topic in known:
            del self._up[topic]
        if known:
            self._emit(known, Disconnected(reason=NOT_WANTED))

    def quarantined(self, topic: str, message: str) -> None:
        """Emit that the exchange refused a topic."""
        self._up.pop(topic, None)
        self._emit([topic], Quarantined(topic=topic, message=message[:REASON_CHARACTERS]))

    def gap(self, topic: str, reason: str, from_ms: int) -> None:
        """Emit that messages of a topic are missing."""
        self._emit([topic], Gap(topic=topic, reason=reason, from_ms=from_ms))

    def repaired(self, topic: str, from_ms: int, *, how: str = "snapshot") -> None:
        """Emit that the gap of a topic has ended: by a snapshot, or (stream) by going on without one."""
        self._emit([topic], Repaired(topic=topic, how=how, from_ms=from_ms, until_ms=now_ms()))

    def stale(self, topics: Iterable[str], *, topic: str | None = None, silent_s: float | None = None) -> None:
        """Emit that topics are silent although data was due; `topic` where it is one that is resubscribed."""
        self._emit(topics, Stale(topic=topic, silent_s=silent_s))

    def _emit(self, topics: Iterable[str], event: StreamEvent) -> None:
        symbols = tuple(map(self._symbol_of, topics) if self.symbols is None else self.symbols())
        self._events.emit(replace(event, market=self.market, kind=self.kind, symbols=symbols))
