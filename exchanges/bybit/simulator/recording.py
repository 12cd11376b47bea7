"""Recorded payloads, read line by line: plain or gzip, one file or a folder of them.

Pure but for reading. Lines: `payload`, `local_ns payload`, or `local_ns market payload`; # begins a note. A payload
that is no one line of JSON stands in base64 after a =.
"""

import base64
import binascii
import gzip
import heapq
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .topics import CATEGORIES

TOPIC_FIRST = re.compile(rb'\{\s*"topic"\s*:\s*"([^"\\]+)"')  # how the exchange writes them: no need to read the rest
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

    def __init__(self, path: Path) -> None:
        self._paths = files_of(path)
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Line]:
        """From the first line; `skipped` counts anew."""
        self.skipped.clear()
        return heapq.merge(*map(self._lines, self._paths), key=lambda line: line.stamp_ns)

    def _lines(self, path: Path) -> Iterator[Line]:
        for raw in self._texts(path):
            line = line_of(raw)
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


def line_of(raw: bytes) -> Line | str:
    """Read one line; a word for what is skipped."""
    if raw.startswith(b"#"):
        return "notes"
    stamp_ns, category, body = _split(raw)
    topic = topic_of(body)
    if topic is None:
        return "no_topic" if body else "empty"
    return Line(stamp_ns, category, topic, body)


def payload_of(line: bytes) -> bytes:
    """The payload of a line, without what is written before it."""
    return _split(line)[2]


def topic_of(body: bytes) -> str | None:
    """The topic of a payload, None for control frames, REST answers and what is no JSON."""
    if found := TOPIC_FIRST.match(body):
        return found[1].decode(errors="replace")
    try:
        message = json.loads(body)
    except ValueError:
        return None
    topic = message.get("topic") if isinstance(message, dict) else None
    return topic if isinstance(topic, str) else None


def _split(line: bytes) -> tuple[int, str | None, bytes]:
    head, space, rest = line.partition(b" ")
    if not (space and head.isdigit()):
        return 0, None, line
    market, space, body = rest.partition(b" ")
    if not space or market.decode("ascii", "replace") not in CATEGORIES:
        return int(head), None, rest
    return int(head), market.decode(), _plain(body)


def _plain(body: bytes) -> bytes:
    if not body.startswith(b"="):
        return body
    try:
        return base64.b64decode(body[1:], validate=True)
    except binascii.Error:
        return body
