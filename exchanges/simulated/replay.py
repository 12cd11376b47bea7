"""Replay of recorded payloads, byte for byte and in order, at a rate or at the recorded times.

Event loop thread only. A recording is read line by line as it is sent, plain or gzip, one file or a folder. Every
topic of it is listed while the replay is loaded: on the path of its market where the recording names one, else on
every category's. Lines: `payload`, `local_ns payload`, or `local_ns market payload`; # begins a note. A payload that
is not one line of JSON stands in base64 after a =.
"""

import base64
import binascii
import gzip
import heapq
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .dialect import Dialect
from .hub import Hub, Topic

GZIP = ".gz"


class Line(NamedTuple):
    """One payload; `stamp_ns` is 0 where none is written, `category` None where any may have it."""

    stamp_ns: int
    category: str | None
    topic: str
    body: bytes


class Recording:
    """The payloads of a file, or of all files below a folder, in the order of their stamps.

    Files that do not overlap follow each other; lines of one file keep their order whatever their stamps.
    """

    def __init__(self, path: Path, dialect: Dialect) -> None:
        self._paths, self._dialect = files_of(path), dialect
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Line]:
        """From the first line; `skipped` counts anew."""
        self.skipped.clear()
        return heapq.merge(*map(self._lines, self._paths), key=lambda line: line.stamp_ns)

    def _lines(self, path: Path) -> Iterator[Line]:
        for raw in self._texts(path):
            line = line_of(raw, self._dialect)
            if isinstance(line, Line):
                yield line
            else:
                self.skipped[line] += 1

    def _texts(self, path: Path) -> Iterator[bytes]:
        try:
            with gzip.open(path, "rb") if path.suffix == GZIP else path.open("rb") as file:
                for raw in file:
                    yield raw.rstrip(b"\r\n")
        except (EOFError, zlib.error):  # a cut file is a recording up to there
            self.skipped["cut"] += 1


def files_of(path: Path) -> list[Path]:
    """The file itself, or those below the folder that are not hidden, by name: recordings are named by their time."""
    if not path.is_dir():
        return [path]
    found = [file for file in path.rglob("*") if file.is_file() and not file.name.startswith(".")]
    return sorted(found, key=lambda file: (file.name, file))


def line_of(raw: bytes, dialect: Dialect) -> Line | str:
    """Read one line; returns a word for a line that is skipped."""
    if raw.startswith(b"#"):
        return "notes"
    stamp_ns, category, body = _split(raw, dialect.categories)
    topic = dialect.topic_of(body)
    if topic is None:
        return "no_topic" if body else "empty"
    return Line(stamp_ns, category, topic, dialect.carried(topic, body))


def payload_of(line: bytes, categories: tuple[str, ...]) -> bytes:
    """The payload of a line, without what is written before it."""
    return _split(line, categories)[2]


def _split(line: bytes, categories: tuple[str, ...]) -> tuple[int, str | None, bytes]:
    head, space, rest = line.partition(b" ")
    if not (space and head.isdigit()):
        return 0, None, line
    market, space, body = rest.partition(b" ")
    if not space or market.decode("ascii", "replace") not in categories:
        return int(head), None, rest
    return int(head), market.decode(), _plain(body)


def _plain(body: bytes) -> bytes:
    if not body.startswith(b"="):
        return body
    try:
        return base64.b64decode(body[1:], validate=True)
    except binascii.Error:
        return body


class Replay:
    """Lines with a topic in order; the rest is counted and skipped.

    `rate` is in payloads per second, `speed` a factor of the recorded time; 0 and 0 send as fast as clients take it.
    """

    def __init__(
        self, hub: Hub, path: str, rate: float, category: str, waits_for: int, dialect: Dialect, *, speed: float = 0.0
    ) -> None:
        self._hub, self._rate, self._category, self._waits_for = hub, rate, category, waits_for
        self._speed, self._dialect = speed, dialect
        self._recording = Recording(Path(path), dialect) if path else None
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
        """Read the recording once to count payloads and topics. OSError where there is no such file."""
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
        """Start from the first line."""
        self._rewind()
        self._is_commanded = True

    def find(self, channel: str, name: str) -> Topic | None:
        """The replayed topic of that name on that path."""
        for category in self._dialect.categories_of(channel, name) if self._listed else ():
            if self._category in ("", category) and not self._listed.isdisjoint(((category, name), (None, name))):
                topic = self._hub.topic(category, name, self._dialect.kind_of(name), name)
                topic.is_replayed = True
                return topic
        return None

    def step(self, now_s: float, at_most: int) -> None:
        """Send the payloads that are due."""
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
        categories = (line.category,) if line.category else self._dialect.categories
        found = [self._hub.topics.get((category, line.topic)) for category in categories]
        heard = [topic for topic in found if topic is not None and topic.sessions]
        for topic in heard:
            self._hub.publish_bytes(topic, line.body)
        self.unheard += not heard

    def report(self) -> dict[str, Any]:
        """Report the progress: `sent` counts payloads of the recording, `unheard` those without a subscriber."""
        return {
            "payloads": self._count,
            "sent": self._position,
            "unheard": self.unheard,
            "skipped": self._skipped,
            "done": self.is_loaded and self._next is None,
        }
