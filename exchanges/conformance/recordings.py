"""Recorded frames of an exchange: what was received, as it stands in the files of a folder.

A line is a frame, with or without a time, a URL or an arrow before it; or an object whose `raw` is the frame. What was
sent (` <- `, or a `dir` of "out") is left out. Files: .jsonl, .txt, also .gz.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from exchanges.contract import Endpoints, Venue
from model.ports import TopicOf
from model.protocol import NEVER, Data, Message, StreamProtocol, Unknown

SUFFIXES = (".jsonl", ".txt", ".jsonl.gz", ".txt.gz")
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
FOLDERS = {"bybit": "ws"}  # its recordings lie where they lay before there were other exchanges


@dataclass(frozen=True)
class Frame:
    """A recorded data message of a known kind. `protocols`: of the markets that it may be of."""

    payload: bytes
    topic: str
    of: TopicOf
    protocols: tuple[StreamProtocol, ...]


@dataclass(frozen=True)
class Recordings:
    """All recorded messages by file."""

    venue: Venue
    files: Mapping[str, tuple[bytes, ...]]

    @cached_property
    def messages(self) -> list[tuple[bytes, Message]]:
        """Every message, and what it is to the first market that knows it."""
        protocols = _protocols(self.venue)
        return [(payload, _read(protocols, payload)) for each in self.files.values() for payload in each]

    @cached_property
    def frames(self) -> Mapping[str, list[Frame]]:
        """The data messages of known kinds, by file."""
        protocols = _protocols(self.venue)
        return {
            name: [frame for payload in payloads if (frame := _frame(protocols, payload))]
            for name, payloads in self.files.items()
        }

    def of_kind(self, kind: str) -> Iterator[tuple[str, Frame]]:
        """Each data message of a kind, with its file."""
        for name, frames in self.frames.items():
            yield from ((name, frame) for frame in frames if frame.of[0] == kind)


def folder_of(exchange: str, data: Path = SHARED) -> Path:
    """Return the folder of an exchange's recordings among those of all; it may not be there."""
    return data / FOLDERS.get(exchange, exchange)


def read_folder(venue: Venue, folder: Path) -> Recordings:
    """Read every recording in a folder and below; REST answers in .json files are none."""
    paths = sorted(path for path in folder.rglob("*") if path.name.endswith(SUFFIXES))
    return Recordings(venue, {str(path.relative_to(folder)): tuple(_received(path)) for path in paths})


def _received(path: Path) -> Iterator[bytes]:
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rb") as file:
        for line in file:
            start = line.find(b"{")
            if start >= 0 and b" <- " not in line[:start] and b"streams=" not in line[:start]:
                payload = _unwrapped(line[start:].strip())
                if payload:
                    yield payload


def _unwrapped(line: bytes) -> bytes:
    """The frame of a line, which may be the `raw` of an object; none of one that was sent."""
    if b'"raw":' not in line:
        return line
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    raw = entry.get("raw") if isinstance(entry, dict) else None
    return line if not isinstance(raw, str) else b"" if entry.get("dir") == "out" else raw.encode()


def _protocols(venue: Venue) -> list[StreamProtocol]:
    return [venue.protocol(name, Endpoints()) for name in venue.markets]


def _read(protocols: list[StreamProtocol], payload: bytes) -> Message:
    messages = (each.read(payload) for each in protocols)
    first = next(messages)
    if not isinstance(first, Unknown):
        return first
    return next((message for message in messages if not isinstance(message, Unknown)), first)


def _frame(protocols: list[StreamProtocol], payload: bytes) -> Frame | None:
    """A data message, of those markets whose frames begin as it does; of all that know its topic where none does."""
    message = _read(protocols, payload)
    if not isinstance(message, Data):
        return None
    knowing = [
        (each, of) for each in protocols if each.read(payload) == message and (of := each.read_topic(message.topic))
    ]
    if not knowing:
        return None
    fitting = [each for each, of in knowing if begins_as(each, of, message.topic, payload)]
    return Frame(payload, message.topic, knowing[0][1], tuple(fitting or (each for each, _ in knowing)))


def begins_as(protocol: StreamProtocol, of: TopicOf, topic: str, payload: bytes) -> bool:
    """Whether a payload begins as the data of its topic do in a market."""
    frames = protocol.frames(of[0], [topic])
    return frames.prefix == NEVER or frames.is_data(payload)
