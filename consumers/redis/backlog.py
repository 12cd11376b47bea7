"""Klines that wait for Redis: in memory first, then in the spill file, out again in the order they came.

The output's own thread only. A kline is lost for two reasons alone, both counted: it is older than the bound, or the
disk refuses and memory is full. What was unsent at the end waits for the next start.
"""

import contextlib
import fcntl
import io
import os
import shutil
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

import structlog

from model.files import atomic_write, is_same_file, open_descriptor

log = structlog.get_logger()

MAX_AGE_MS = 24 * 3600 * 1000  # a candle a day old is history: the exchange's REST has it
MEMORY_LIMIT = 50_000  # messages of some 500 bytes with their overhead: 25 to 50 MB
MEMORY_BYTES = 64 * 1024 * 1024  # of messages, where they are of many symbols: 30 kB each
UNSPILLED_LIMIT = 200_000  # what a disk that refuses may cost in memory before the oldest are dropped
UNSPILLED_BYTES = 256 * 1024 * 1024
OVERHEAD_BYTES = 200  # of a message beside its payload
SPILL_BATCH = 200  # messages per write; fewer are lost to a SIGKILL than a minute of one symbol makes
REFILL, REFILL_BYTES = 1_000, 16 * 1024 * 1024  # messages read back at a time


@dataclass(frozen=True)
class BacklogLimits:
    """Bounds of the messages in memory, of those that a disk refuses, and of those read back at a time."""

    memory: int = MEMORY_LIMIT
    memory_bytes: int = MEMORY_BYTES
    unspilled_bytes: int = UNSPILLED_BYTES
    refill_bytes: int = REFILL_BYTES


class QueuedMessage(NamedTuple):
    """One message, and how many klines are in it; `received_ms` is wall time, so that age outlives the process."""

    received_ms: int
    klines: int
    channel: str
    payload: bytes

    def line(self) -> bytes:
        """Return the message as one line of the spill file; JSON of one envelope has no newline."""
        return b"%d %d %b %b\n" % (self.received_ms, self.klines, self.channel.encode(), self.payload)


def parse_line(line: bytes) -> QueuedMessage | None:
    """Read a line back; None for one that a crash cut short."""
    try:
        received_ms, klines, channel, payload = line.split(b" ", 3)
        if not payload.endswith(b"}\n"):
            return None
        return QueuedMessage(int(received_ms), int(klines), channel.decode(), payload[:-1])
    except ValueError:
        return None


def spilled_klines(path: Path | None, now_ms: int) -> Iterator[bytes]:
    """Read the payloads of klines in a spill file, oldest first, without taking them out; nothing on failure."""
    if path is not None:
        with contextlib.suppress(OSError), open(path, "rb", opener=open_descriptor) as file:
            for line in file:
                item = parse_line(line)
                if item and item.klines and now_ms - item.received_ms <= MAX_AGE_MS:
                    yield item.payload


class _Messages(deque[QueuedMessage]):
    """Messages in their order, and about how many bytes of memory they take."""

    bytes = 0

    def put(self, item: QueuedMessage) -> None:
        """Add one at the end."""
        self.append(item)
        self.bytes += _cost(item)

    def put_back(self, items: list[QueuedMessage]) -> None:
        """Add some at the front, in their order."""
        self.extendleft(reversed(items))
        self.bytes += sum(map(_cost, items))

    def take(self) -> QueuedMessage:
        """Take the first out."""
        item = self.popleft()
        self.bytes -= _cost(item)
        return item

    def clear(self) -> None:
        """Drop all."""
        super().clear()
        self.bytes = 0


def _cost(item: QueuedMessage) -> int:
    return len(item.payload) + OVERHEAD_BYTES


class KlineBacklog:
    """A first-in first-out queue in three parts: head (memory), file, tail (memory, to be written to the file)."""

    def __init__(self, path: Path | None, limits: BacklogLimits = BacklogLimits()) -> None:
        self._path = path
        self._limits = limits
        self._head, self._tail = _Messages(), _Messages()
        self._file: io.FileIO | None = None
        self._in_file = 0
        self._read_at = 0
        self.expired = 0
        self.dropped = 0
        self.spill_errors = 0

    def __len__(self) -> int:
        return len(self._head) + self._in_file + len(self._tail)

    @property
    def on_disk(self) -> int:
        """Messages that wait in the file."""
        return self._in_file

    @property
    def memory_bytes(self) -> int:
        """About how many bytes the messages in memory take."""
        return self._head.bytes + self._tail.bytes

    def load(self, sent: int = 0) -> int:
        """Take over what an earlier run left unsent, but for the first `sent` messages; returns how many those are."""
        if self._path is None or not self._path.exists():
            return 0
        path = self._path
        try:
            file = self._open()
            if self._path == path:  # else it is another process's
                with _reading(file) as lines:
                    self._read_at = sum(map(len, islice(lines, sent)))
                    self._in_file = sum(1 for _ in lines)
                if not self._in_file:
                    self._remove_file()
        except OSError as error:
            self.spill_errors += 1
            log.warning("backlog_file_unreadable", path=str(path), error=str(error))
        return self._in_file

    def append(self, item: QueuedMessage) -> None:
        """Add one message at the end."""
        has_space = len(self._head) < self._limits.memory and self._head.bytes < self._limits.memory_bytes
        if has_space and not self._in_file and not self._tail:
            self._head.put(item)
            return
        self._tail.put(item)
        if len(self._tail) % SPILL_BATCH == 0:  # of a full disk, too, only every batch is a try
            self._spill()
        while len(self._tail) > UNSPILLED_LIMIT or self._tail.bytes > self._limits.unspilled_bytes:
            self.dropped += self._tail.take().klines

    def take(self, now_ms: int) -> QueuedMessage | None:
        """Take out the oldest message that is not over its age."""
        while self._head or self._refill():
            item = self._head.take()
            if now_ms - item.received_ms <= MAX_AGE_MS:
                return item
            self.expired += item.klines
        return None

    def put_back(self, items: list[QueuedMessage]) -> None:
        """Put messages that were taken but not delivered at the front again; `items` in their order."""
        self._head.put_back(items)

    def save(self) -> int:
        """Write everything to the file for the next start; returns how many klines that leaves unsaved."""
        if self._path is None or not len(self):
            self.close()
            return self._unsaved()
        try:
            atomic_write(self._path, self._write_all)
        except OSError:
            self.spill_errors += 1
            return self._unsaved()
        self._head.clear()
        self._tail.clear()
        self.close()
        return 0

    def _write_all(self, path: Path) -> None:
        with open(path, "wb", opener=open_descriptor) as out:
            out.writelines(item.line() for item in self._head)
            if self._in_file:
                self._copy_rest(self._open(), out)
            out.writelines(item.line() for item in self._tail)

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
            self._file = None

    def _refill(self) -> bool:
        """Read the next messages into the head; whether there are any."""
        if not self._in_file:
            self._head, self._tail = self._tail, self._head
            return bool(self._head)
        lines = self._read_lines(min(REFILL, self._in_file))
        self._in_file -= len(lines)
        self._read_at += sum(map(len, lines))
        items = [item for line in lines if (item := parse_line(line))]
        self.spill_errors += len(lines) - len(items)
        for item in items:
            self._head.put(item)
        if not lines:  # another program cut the file: its lines are lost, the rest must not wait behind them
            self.dropped += self._in_file
            self._in_file = 0
        if not self._in_file:
            self._remove_file()
        return bool(self._head)

    def _read_lines(self, count: int) -> list[bytes]:
        lines: list[bytes] = []
        size = 0
        try:
            with _reading(self._open()) as file:
                file.seek(self._read_at)
                for line in islice(file, count):
                    lines.append(line)
                    size += len(line)
                    if size >= self._limits.refill_bytes:
                        break
        except OSError:
            self.spill_errors += 1
            return []
        return lines

    def _copy_rest(self, file: io.FileIO, out: IO[bytes]) -> None:
        """Copy the messages that still wait from a file."""
        with _reading(file) as rest:
            rest.seek(self._read_at)
            shutil.copyfileobj(rest, out)

    def _spill(self) -> None:
        if self._path is None:
            return
        batch = b"".join(item.line() for item in self._tail)
        try:
            file = self._open()
            if not is_same_file(self._path, file.fileno()):
                file = self._moved(file)
            end = file.seek(0, os.SEEK_END)
            is_whole = file.write(batch) == len(batch)
            if not is_whole:
                file.truncate(end)  # half a batch would be sent twice
        except OSError:
            is_whole = False
        if not is_whole:
            self.spill_errors += 1
            return
        self._in_file += len(self._tail)
        self._tail.clear()

    def _moved(self, gone: io.FileIO) -> io.FileIO:
        """Copy the rest of a file that was removed to a new one; OSError where that cannot be."""
        self._file = None
        try:
            file = self._open()
            file.truncate(0)
            with open(os.dup(file.fileno()), "ab") as out:
                self._copy_rest(gone, out)
        except OSError:
            self.close()
            self._file = gone  # which still has everything
            raise
        gone.close()
        log.warning("backlog_file_gone", path=str(self._path), messages=self._in_file, then="written anew")
        self._read_at = 0
        return file

    def _open(self) -> io.FileIO:
        """Open for appending, as the only process; another collector's file is left to it."""
        if self._file is None:
            assert self._path is not None
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = io.FileIO(self._path, "a+", opener=open_descriptor)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.close()
                self._path = self._path.with_name(f"{self._path.stem}-{os.getpid()}{self._path.suffix}")
                return self._open()
        return self._file

    def _remove_file(self) -> None:
        self._read_at = 0
        assert self._path is not None
        is_ours = self._file is not None and is_same_file(self._path, self._file.fileno())
        self.close()
        if is_ours:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _unsaved(self) -> int:
        return sum(item.klines for item in (*self._head, *self._tail))


def _reading(file: io.FileIO) -> io.BufferedReader:
    """The open file as one to read from, whatever became of its name; writing appends wherever that stands."""
    reading = open(os.dup(file.fileno()), "rb")  # noqa: SIM115 - its user closes it
    reading.seek(0)
    return reading
