"""Envelopes in files, one JSON per line, complete when they appear.

`consumer-file` thread. A second's envelopes of one kind make one file, written under a hidden name and
renamed. A disk that refuses is tried again, within a bound in memory. Removes only files named as its own.
"""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from consumers.base import BaseConsumer
from consumers.envelope import Envelope
from consumers.stats import RateLimit

log = structlog.get_logger()

COLLECT_S = 1.0  # how long a file is collected for: what a crash can cost
FILE_BYTES = 8 * 1024 * 1024  # a file is closed early at this size
PENDING_BYTES = 64 * 1024 * 1024  # what may wait in memory for a disk that refuses
CLEANUP_EVERY_S = 300.0  # the seed's five minutes
ABANDONED_S = 60.0  # a hidden file that old is a crash's: a living one is renamed within milliseconds
NAME = re.compile(r"(\d{8}_\d{6}_\d{6})_.+\.jsonl")
NAME_TIME = "%Y%m%d_%H%M%S_%f"
ASIDE = ".part"  # ending of a file that is being written; its name also begins with a dot

Kind = tuple[str, str, str]


@dataclass(frozen=True)
class FileOptions:
    """Where files go and how long they stay; 0 hours keeps them for ever."""

    base_path: Path = Path("output/file_consumer")
    retention_hours: float = 4.0


@dataclass
class Pending:
    """Lines of one kind that wait to become a file."""

    since_s: float
    lines: list[bytes]
    size: int = 0


class FileConsumer(BaseConsumer):
    """Writes `<exchange>/YYYY/MM/DD/HH/YYYYMMDD_HHMMSS_mmmmmm_{channel}_{data_type}.jsonl`, times in UTC."""

    def __init__(self, options: FileOptions) -> None:
        super().__init__("file")
        self._base = options.base_path
        self._retention = timedelta(hours=options.retention_hours)
        self._pending: dict[Kind, Pending] = {}
        self._cleanup_at_s = 0.0
        self._brake = RateLimit()
        self._files = self._write_errors = self._dropped = self._removed = self._recovered = 0

    def validate(self) -> None:
        """Raise ValueError for options that cannot work."""
        if self._retention < timedelta(0):
            raise ValueError("FILE_CONSUMER_RETENTION_HOURS: must be 0 (keep for ever) or more")
        if self._base.exists() and not self._base.is_dir():
            raise ValueError(f"FILE_CONSUMER_BASE_PATH: {self._base} is not a folder")

    def setup(self) -> None:
        """Make the folder and take over what a crash left half written."""
        self._base.mkdir(parents=True, exist_ok=True)
        self._recover(time.time())

    def deliver(self, envelopes: list[Envelope]) -> None:
        """Collect; files are made by `tick`, or here where one grows large."""
        now_s = time.monotonic()
        head = b'{"timestamp":%d,' % (time.time_ns() // 1_000_000)
        for envelope in envelopes:
            kind = (envelope.exchange, envelope.channel, envelope.data_type)
            pending = self._pending.setdefault(kind, Pending(now_s, []))
            line = head + envelope.json[1:] + b"\n"
            pending.lines.append(line)
            pending.size += len(line)
        self._write_due(now_s)

    def tick(self) -> None:
        """Write what has been collected long enough; every five minutes remove what is over its time."""
        now_s = time.monotonic()
        self._write_due(now_s)
        if now_s >= self._cleanup_at_s:
            self._cleanup_at_s = now_s + CLEANUP_EVERY_S
            self._cleanup(datetime.now(UTC))

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
            "write_errors": self._write_errors,
            "lines_dropped": self._dropped,
            "files_removed": self._removed,
            "files_recovered": self._recovered,
        }

    def _write_due(self, now_s: float) -> None:
        for kind, pending in list(self._pending.items()):
            if now_s - pending.since_s >= COLLECT_S or pending.size >= FILE_BYTES:
                self._write(kind, pending, now_s)

    def _write(self, kind: Kind, pending: Pending, now_s: float) -> None:
        try:
            write_file(self._base, kind, pending.lines, datetime.now(UTC))
        except OSError as error:
            self._write_errors += 1
            self.trouble = error
            pending.since_s = min(now_s, time.monotonic())  # tried again after a second
            self._bound(pending)
            held = self._brake.pass_("write", time.monotonic())
            if held is not None:
                log.error("file_write_failed", error=str(error), waiting_bytes=pending.size, held_back=held)
        else:
            self._files += 1
            self.trouble = None
            del self._pending[kind]

    def _bound(self, pending: Pending) -> None:
        """Drop the oldest lines over the bound."""
        gone = 0
        while pending.size > PENDING_BYTES:
            pending.size -= len(pending.lines[gone])
            gone += 1
        del pending.lines[:gone]
        self._dropped += gone

    def _recover(self, now_s: float) -> None:
        for path in self._base.glob(f"*/*/*/*/*/.*{ASIDE}"):
            with contextlib.suppress(OSError):
                if now_s - path.stat().st_mtime > ABANDONED_S:
                    self._recovered += recover_file(path)

    def _cleanup(self, now: datetime) -> None:
        if not self._retention:
            return
        for path in expired_files(self._base, now - self._retention):
            with contextlib.suppress(OSError):
                path.unlink()
                self._removed += 1
                for folder in list(path.parents)[:4]:  # hour, day, month, year
                    folder.rmdir()  # refused, and so the end of it, while something is inside


def write_file(base: Path, kind: Kind, lines: list[bytes], now: datetime) -> Path:
    """Write one file and return its path; on failure nothing is left and OSError is raised."""
    exchange, channel, data_type = (re.sub(r"[^\w.-]", "_", part) for part in kind)
    folder = base / exchange / now.strftime("%Y/%m/%d/%H")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now.strftime(NAME_TIME)}_{channel}_{data_type}.jsonl"
    aside = folder / f".{path.name}{ASIDE}"
    try:
        with aside.open("wb") as file:
            file.writelines(lines)
        aside.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    return path


def recover_file(aside: Path) -> bool:
    """Give a file that a crash left half written its name, up to its last whole line; False if none is."""
    data = aside.read_bytes()
    whole = data.rfind(b"\n") + 1
    if not whole:
        aside.unlink()
        return False
    os.truncate(aside, whole)
    aside.rename(aside.with_name(aside.name.removeprefix(".").removesuffix(ASIDE)))
    return True


def expired_files(base: Path, before: datetime) -> Iterator[Path]:
    """Find our files that were begun before `before` (UTC); by their names, so that a copy's date is no matter."""
    last_hour = before.strftime("%Y/%m/%d/%H")
    for folder in base.glob("*/[0-9]*/[0-9]*/[0-9]*/[0-9]*"):
        if "/".join(folder.parts[-4:]) > last_hour:
            continue
        for path in folder.iterdir():
            match = NAME.fullmatch(path.name)
            if match and match[1] < before.strftime(NAME_TIME):
                yield path
