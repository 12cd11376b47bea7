"""The file output: envelopes as JSON Lines, in files that appear whole.

`consumer-file` thread. The envelopes of one kind and second make one file, written under a hidden name and renamed. A
disk that refuses is tried again, within a bound in memory. Removes only files named as its own.
"""

import contextlib
import gzip
import os
import time
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Literal

import structlog

from consumers.base import BaseConsumer
from consumers.files.retention import Retention
from consumers.health import FailureLog
from model.clock import now_ms
from model.envelope import Envelope
from model.files import TEMP, atomic_write, final_path, name_part, read_file, write_file

log = structlog.get_logger()

FILE_BYTES = 8 * 1024 * 1024  # a file is closed early at this size
ABANDONED_S = 60.0  # a hidden file that old was left by a crash: others are renamed within milliseconds
OWN = (  # no type of data has an underscore
    r"(?P<exchange>[^/]+)/\d{4}/\d\d/\d\d/\d\d/(?P<time>\d{8}_\d{6}_\d{6})_(?P<market>[^/]+)_[^/_]+\.jsonl(?:\.gz)?"
)
NAME_TIME = "%Y%m%d_%H%M%S_%f"
GZIP = ".gz"
GZIP_LEVEL = 6  # some 60 MB/s; ten times smaller than the text
GZIP_BITS = 31  # for zlib: a gzip header

Kind = tuple[str, str, str]
Compression = Literal["none", "gzip"]


@dataclass(frozen=True)
class FileOptions:
    """The folder of the files, how long they stay and how large they grow together; 0 hours or GB is without limit.

    Files of `exchange` and `markets` alone are removed, not those of others in the same folder.
    """

    base_path: Path = Path("output/file_consumer")
    exchange: str = "bybit"
    markets: tuple[str, ...] = ("linear",)
    retention_hours: float = 4.0
    max_gb: float = 0.0
    compression: Compression = "none"
    collect_s: float = 1.0  # lines of so long make a file: what a crash can cost
    pending_bytes: int = 64 * 1024 * 1024  # of lines that may wait in memory for a disk that refuses


@dataclass
class Pending:
    """Lines of one kind that wait to become a file."""

    since_s: float
    lines: deque[bytes] = field(default_factory=deque)
    size: int = 0
    is_refused: bool = False


class FileConsumer(BaseConsumer):
    """Writes `<exchange>/YYYY/MM/DD/HH/YYYYMMDD_HHMMSS_mmmmmm_{channel}_{data_type}.jsonl[.gz]`, UTC."""

    niceness: ClassVar[int] = 10

    def __init__(self, options: FileOptions) -> None:
        super().__init__("file")
        self._base = options.base_path
        self._compression = options.compression
        self._collect_s, self._pending_bytes = options.collect_s, options.pending_bytes
        owners = [(options.exchange, market) for market in options.markets]
        self._retention = Retention(options.base_path, OWN, NAME_TIME, owners, options.retention_hours, options.max_gb)
        self._pending: dict[Kind, Pending] = {}
        self._failures = FailureLog("file")
        self._files = self._bytes = self._dropped = self._recovered = 0

    def validate(self) -> None:
        """Raise ValueError for options that cannot work."""
        self._retention.validate("FILE_CONSUMER", "FILE_CONSUMER_BASE_PATH")

    def setup(self) -> None:
        """Make the folder and recover files that a crash left half written."""
        self._base.mkdir(parents=True, exist_ok=True)
        self._recover(time.time())

    def deliver(self, envelopes: list[Envelope]) -> None:
        """Collect lines; files are written by `tick`, or here where one grows large."""
        now_s = time.monotonic()
        head = b'{"timestamp":%d,' % now_ms()
        for envelope in envelopes:
            kind = (envelope.exchange, envelope.channel, envelope.data_type)
            pending = self._pending.setdefault(kind, Pending(now_s))
            line = head + envelope.json[1:] + b"\n"
            pending.lines.append(line)
            pending.size += len(line)
        self._write_due(now_s)

    def tick(self) -> None:
        """Write what has been collected long enough; remove files over their time or size."""
        now_s = time.monotonic()
        self._write_due(now_s)
        self._retention.tick(now_s, datetime.now(UTC))

    def stop(self) -> None:
        """Write everything."""
        self._write_due(float("inf"))
        lines = sum(len(pending.lines) for pending in self._pending.values())
        if lines:
            log.error("file_lines_lost", lines=lines)
        self._is_running = False

    def counters(self) -> dict[str, float]:
        """Return files made and removed, failed writes, and lines lost to them."""
        return {
            "files": self._files,
            "bytes": self._bytes,
            "write_errors": self._failures.count,
            "lines_dropped": self._dropped,
            "files_removed": self._retention.removed,
            "files_recovered": self._recovered,
        }

    def _write_due(self, now_s: float) -> None:
        for kind, pending in list(self._pending.items()):
            if now_s - pending.since_s >= self._collect_s or pending.size >= FILE_BYTES:
                self._write(kind, pending, now_s)
        if not any(pending.is_refused for pending in self._pending.values()):
            self._failures.recovered(time.monotonic())
        self.trouble = self._failures.error

    def _write(self, kind: Kind, pending: Pending, now_s: float) -> None:
        is_gone = self._files and not self._base.is_dir()
        try:
            size = write_lines(self._base, kind, pending.lines, datetime.now(UTC), self._compression)
        except OSError as error:
            pending.since_s = min(now_s, time.monotonic())  # tried again after a second
            pending.is_refused = True
            self._bound()
            self._failures.failed(error, time.monotonic(), waiting_bytes=pending.size)
        else:
            if is_gone:
                log.warning("output_folder_gone", consumer=self.name, path=str(self._base), then="made anew")
            self._files += 1
            self._bytes += size
            self._retention.wrote(size)
            self._retention.own(*kind[:2])
            del self._pending[kind]

    def _bound(self) -> None:
        """Drop the oldest lines of the largest kind while all together are over the bound."""
        over = sum(pending.size for pending in self._pending.values()) - self._pending_bytes
        while over > 0:
            largest = max(self._pending.values(), key=lambda pending: pending.size)
            size = len(largest.lines.popleft())
            largest.size -= size
            over -= size
            self._dropped += 1

    def _recover(self, now_s: float) -> None:
        for path in self._base.glob(f"*/*/*/*/*/.*{TEMP}"):
            with contextlib.suppress(OSError):
                if self._retention.is_own(final_path(path)) and now_s - path.stat().st_mtime > ABANDONED_S:
                    self._recovered += recover_file(path)


def path_of(base: Path, kind: Kind, now: datetime, compression: Compression = "none") -> Path:
    """Return the path of the file of one kind that is written `now`."""
    exchange, channel, data_type = (name_part(part) for part in kind)
    ending = GZIP if compression == "gzip" else ""
    name = f"{now.strftime(NAME_TIME)}_{channel}_{data_type}.jsonl{ending}"
    return base / exchange / now.strftime("%Y/%m/%d/%H") / name


def write_lines(base: Path, kind: Kind, lines: Iterable[bytes], now: datetime, compression: Compression) -> int:
    """Write one file and return its bytes; on failure nothing is left and OSError is raised."""
    blocks = [gzip.compress(b"".join(lines), GZIP_LEVEL)] if compression == "gzip" else lines
    return atomic_write(path_of(base, kind, now, compression), lambda temp: write_file(temp, *blocks))


def recover_file(temp: Path) -> bool:
    """Rename a file that a crash left half written, cut after its last whole line; False if it has none."""
    path = final_path(temp)
    if path.suffix == GZIP:
        return _recover_gzip(temp, path)
    whole = read_file(temp).rfind(b"\n") + 1
    if not whole:
        temp.unlink()
        return False
    os.truncate(temp, whole)
    temp.rename(path)
    return True


def _recover_gzip(temp: Path, path: Path) -> bool:
    with contextlib.suppress(zlib.error):
        text = zlib.decompressobj(GZIP_BITS).decompress(read_file(temp))
        if whole := text[: text.rfind(b"\n") + 1]:
            atomic_write(path, lambda temp: write_file(temp, gzip.compress(whole, GZIP_LEVEL)))  # the same hidden file
            return True
    temp.unlink(missing_ok=True)
    return False
