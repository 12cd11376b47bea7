"""Klines read back from the file output: JSON Lines, one envelope each."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from model.files import open_descriptor
from model.records import Kline

GZIP = ".gz"  # ending of compressed ones
NAME_TIME = "%Y%m%d_%H%M%S"  # how the name of a file begins: when it was written, UTC


class Line(msgspec.Struct):
    """One envelope as far as it is read here; other types of data have other fields."""

    channel: str = ""
    data_type: str = ""
    data: msgspec.Raw = msgspec.Raw(b"[]")


_lines = msgspec.json.Decoder(Line)
_klines = msgspec.json.Decoder(list[Kline])


@dataclass
class FoundKlines:
    """The highest revision of each kline by symbol, interval (ms) and start, and what was odd on the way."""

    klines: dict[tuple[str, int, int], Kline] = field(default_factory=dict)
    files: int = 0
    unreadable: int = 0
    contradictions: list[tuple[Kline, Kline]] = field(default_factory=list)  # one revision, two values

    def add(self, kline: Kline) -> None:
        """Add one kline, in any order."""
        key = kline.symbol, kline.interval, kline.timestamp
        known = self.klines.get(key)
        if known is None or kline.revision > known.revision:
            self.klines[key] = kline
        elif kline.revision == known.revision and kline != known:
            self.contradictions.append((known, kline))


def read_klines(folder: Path, market: str, from_ms: int, to_ms: int) -> FoundKlines:
    """Klines of one market that lie wholly in [from_ms, to_ms), from all files in and below `folder`.

    A line that cannot be read is counted. Raises OSError for a folder that cannot be read.
    """
    found = FoundKlines()
    for path in kline_files(folder, market, from_ms):
        found.files += 1
        with open(path, "rb", opener=open_descriptor) as raw, gzip.open(raw) if path.suffix == GZIP else raw as file:
            for line in file:
                for kline in _read_line(line, market, found):
                    if from_ms <= kline.timestamp and kline.timestamp + kline.interval <= to_ms:
                        found.add(kline)
    return found


def kline_files(folder: Path, market: str, from_ms: int) -> Iterator[Path]:
    """Files that may hold such klines, oldest first: none is written before its klines are over."""
    earliest = datetime.fromtimestamp(from_ms / 1000, UTC).strftime(NAME_TIME)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    written = [*folder.rglob(f"*_{market}_klines.jsonl"), *folder.rglob(f"*_{market}_klines.jsonl{GZIP}")]
    for path in sorted(written, key=lambda path: path.name):
        if path.name >= earliest and path.is_file():
            yield path


def _read_line(line: bytes, market: str, found: FoundKlines) -> list[Kline]:
    try:
        envelope = _lines.decode(line)
        if envelope.data_type == "klines" and envelope.channel == market:
            return _klines.decode(envelope.data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found.unreadable += 1
    return []
