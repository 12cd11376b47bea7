"""A recorded file of payloads, sent byte for byte in file order.

Event loop thread only. Every topic of the file is listed while the replay is loaded, on every category's path.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from .hub import Hub, Topic
from .topics import kind_of_any


class Replay:
    """Lines with a topic in file order; the rest is counted and skipped."""

    def __init__(self, hub: Hub, path: str, rate: float, category: str, waits_for: int) -> None:
        self._hub, self._rate, self._category, self._waits_for = hub, rate, category, waits_for
        self._lines: list[tuple[str, bytes]] = []
        self.skipped: Counter[str] = Counter()
        self._position = 0
        self._started_s: float | None = None
        self._is_commanded = False
        self.unheard = 0
        if path:
            self._load(Path(path))
        self._names = {name for name, _ in self._lines}

    def _load(self, path: Path) -> None:
        for line in path.read_bytes().splitlines():
            body = payload_of(line)
            topic = topic_of(body)
            if topic is None:
                self.skipped["no_topic" if body else "empty"] += 1
            else:
                self._lines.append((topic, body))

    @property
    def is_loaded(self) -> bool:
        """True where a file with payloads was given."""
        return bool(self._lines)

    @property
    def is_running(self) -> bool:
        """True from the start condition to the last payload."""
        if self._position >= len(self._lines):
            return False
        return self._is_commanded or 0 < self._waits_for <= self._hub.subscribed

    def start(self) -> None:
        """Begin now, from the first line."""
        self._position, self._started_s, self._is_commanded = 0, None, True

    def find(self, category: str, name: str) -> Topic | None:
        """The replayed topic of that name on that path."""
        if name not in self._names or self._category not in ("", category):
            return None
        return self._hub.topic(category, name, kind_of_any(name), name.rpartition(".")[2])

    def step(self, now_s: float, at_most: int) -> None:
        """Send what is due."""
        if self._started_s is None:
            self._started_s = now_s
        due = len(self._lines)
        if self._rate > 0:
            due = min(due, int((now_s - self._started_s) * self._rate) + 1)
        for name, body in self._lines[self._position : min(due, self._position + at_most)]:
            self._send(name, body)
            self._position += 1

    def _send(self, name: str, body: bytes) -> None:
        topics = [topic for topic in self._hub.topics.values() if topic.name == name and topic.sessions]
        for topic in topics:
            self._hub.publish_bytes(topic, body)
        self.unheard += not topics

    def report(self) -> dict[str, Any]:
        """How far it is: `sent` counts payloads of the file, `unheard` those without a subscriber."""
        return {
            "payloads": len(self._lines),
            "sent": self._position,
            "unheard": self.unheard,
            "skipped": dict(self.skipped),
            "done": self.is_loaded and self._position >= len(self._lines),
        }


def payload_of(line: bytes) -> bytes:
    """The payload of a line: all of it, or what follows a `local_ns ` stamp."""
    head, space, rest = line.partition(b" ")
    return rest if space and head.isdigit() else line


def topic_of(body: bytes) -> str | None:
    """The topic of a payload, None for control frames, REST answers and what is no JSON."""
    try:
        message = json.loads(body)
    except ValueError:
        return None
    topic = message.get("topic") if isinstance(message, dict) else None
    return topic if isinstance(topic, str) else None
