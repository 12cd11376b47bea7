"""A recording of payloads, sent byte for byte in its order, at a rate or as it was recorded.

Event loop thread only. Read as it is sent, whatever its size; every topic of it is listed while the replay is
loaded: on the path of its market where the recording names one, else on every category's.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .hub import Hub, Topic
from .recording import Line, Recording, payload_of, topic_of
from .topics import CATEGORIES, kind_of_any

__all__ = ["Replay", "payload_of", "topic_of"]


class Replay:
    """Lines with a topic in order; the rest is counted and skipped.

    `rate` is in payloads per second, `speed` a factor of the recorded time; 0 and 0 send as fast as clients take it.
    """

    def __init__(self, hub: Hub, path: str, rate: float, category: str, waits_for: int, *, speed: float = 0.0) -> None:
        self._hub, self._rate, self._category, self._waits_for = hub, rate, category, waits_for
        self._speed = speed
        self._recording = Recording(Path(path)) if path else None
        self._listed: set[tuple[str | None, str]] = set()
        self._count = self._position = 0
        self._first_ns = 0
        self._started_s: float | None = None
        self._is_commanded = False
        self.unheard = 0
        self._survey()
        self._skipped = dict(self._recording.skipped) if self._recording else {}
        self._rewind()

    def _survey(self) -> None:
        """Read it once: how many payloads, which topics. OSError where there is no such file."""
        for line in self._recording or ():
            self._first_ns = self._first_ns or line.stamp_ns
            self._listed.add((line.category, line.topic))
            self._count += 1

    def _rewind(self) -> None:
        self._lines: Iterator[Line] = iter(self._recording or ())
        self._next = next(self._lines, None)
        self._position, self._started_s = 0, None

    @property
    def is_loaded(self) -> bool:
        """True where a recording with payloads was given."""
        return self._count > 0

    @property
    def is_running(self) -> bool:
        """True from the start condition to the last payload."""
        if self._next is None:
            return False
        return self._is_commanded or 0 < self._waits_for <= self._hub.subscribed

    @property
    def is_slow(self) -> bool:
        """True where it keeps to the recorded time: nothing is due most of the time."""
        return self._speed > 0

    def start(self) -> None:
        """Begin now, from the first line."""
        self._rewind()
        self._is_commanded = True

    def find(self, category: str, name: str) -> Topic | None:
        """The replayed topic of that name on that path."""
        if self._category not in ("", category) or self._listed.isdisjoint(((category, name), (None, name))):
            return None
        return self._hub.topic(category, name, kind_of_any(name), name.rpartition(".")[2])

    def step(self, now_s: float, at_most: int) -> None:
        """Send what is due."""
        if self._started_s is None:
            self._started_s = now_s
        elapsed_s = now_s - self._started_s
        for _ in range(at_most):
            if self._next is None or not self._is_due(self._next, elapsed_s):
                return
            self._send(self._next)
            self._position += 1
            self._next = next(self._lines, None)

    def _is_due(self, line: Line, elapsed_s: float) -> bool:
        if self._rate > 0 and self._position > elapsed_s * self._rate:
            return False
        return self._speed <= 0 or (line.stamp_ns - self._first_ns) / 1e9 <= elapsed_s * self._speed

    def _send(self, line: Line) -> None:
        categories = (line.category,) if line.category else CATEGORIES
        found = [self._hub.topics.get((category, line.topic)) for category in categories]
        heard = [topic for topic in found if topic is not None and topic.sessions]
        for topic in heard:
            self._hub.publish_bytes(topic, line.body)
        self.unheard += not heard

    def report(self) -> dict[str, Any]:
        """How far it is: `sent` counts payloads of the recording, `unheard` those without a subscriber."""
        return {
            "payloads": self._count,
            "sent": self._position,
            "unheard": self.unheard,
            "skipped": self._skipped,
            "done": self.is_loaded and self._next is None,
        }
