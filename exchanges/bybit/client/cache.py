"""Closed candles kept on disk and, the last used ones, in memory. For any number of threads and processes at once.

One file holds CHUNK candles of one symbol and interval, so that a span of years is some dozens of files. Writers hold
the file's lock; readers need none and see the old or the new content, never half of it. Pages have checksums: a file
that is not as it was written is logged and treated as absent.
"""

import contextlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import structlog
from filelock import FileLock, Timeout

from exchanges.bybit.client.data_frames import COLUMNS, NONE, Candles, joined
from exchanges.bybit.client.data_times import Span, merged
from exchanges.bybit.client.market import INTERVAL_MS
from model.files import atomic_write, check_regular, open_descriptor

log = structlog.get_logger()

CHUNK = 50_000  # candles per file, about 1.5 MB: 35 days of minutes, five years of hours
MEMORY_BYTES = 256 * 1024 * 1024  # three years of minutes are 88 MB
LOCK_LIMIT_S = 60.0  # a chunk is fetched in seconds; a caller that waits longer goes on without the cache
COVERED = b"bybit.covered"  # [[from, until), ...] in ms: within these the file has every candle there is
VERSION, VERSION_NOW = b"bybit.version", b"1"
START = "start"
TYPES = [pa.timestamp("ms", "UTC"), *[pa.float64()] * len(COLUMNS)]


class CorruptError(Exception):
    """A file of the cache has other content than was written."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Candles, and the spans of time in which no other candle exists."""

    candles: Candles = NONE
    covered: Sequence[Span] = ()


def read_piece(path: Path, bounds: Span) -> Piece | None:
    """Read a file of the cache, None without a file; raises CorruptError."""
    try:
        check_regular(path)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptError(f"{type(error).__name__}: {error}"[:200]) from error
    return _checked(table, bounds)


def _checked(table: pa.Table, bounds: Span) -> Piece:
    metadata = table.schema.metadata or {}
    if metadata.get(VERSION) != VERSION_NOW or table.column_names != [START, *COLUMNS] or table.schema.types != TYPES:
        raise CorruptError("another format")
    covered = _covered(metadata.get(COVERED, b""))
    starts = table.column(START).cast(pa.int64()).to_numpy()
    values = np.stack([table.column(name).to_numpy() for name in COLUMNS])
    inside = len(starts) == 0 or (bounds[0] <= starts[0] and starts[-1] < bounds[1])
    if not inside or not (np.diff(starts) > 0).all():
        raise CorruptError("candles out of order")
    return Piece(Candles(starts, values), covered)


def _covered(text: bytes) -> list[Span]:
    try:
        return merged([(int(begin), int(end)) for begin, end in json.loads(text)])
    except (ValueError, TypeError) as error:
        raise CorruptError(f"no coverage: {error}"[:200]) from error


def write_piece(path: Path, piece: Piece) -> None:
    """Replace the file; the caller holds its lock. Raises OSError and leaves the old file where it cannot."""
    columns = [
        pa.array(piece.candles.starts.astype("datetime64[ms]")).cast(TYPES[0]),
        *map(pa.array, piece.candles.values),
    ]
    table = pa.table(columns, names=[START, *COLUMNS])
    metadata = {VERSION: VERSION_NOW, COVERED: json.dumps([list(span) for span in piece.covered]).encode()}

    def write(temp: Path) -> None:
        with open(temp, "wb", opener=open_descriptor) as file:
            pq.write_table(
                table.replace_schema_metadata(metadata), file, compression="zstd", use_dictionary=False,
                write_page_checksum=True,
            )  # fmt: skip

    atomic_write(path, write, os.getpid())


@dataclass(frozen=True, slots=True)
class Series:
    """Candles of one symbol: `interval` is Bybit's name."""

    category: str
    symbol: str
    interval: str

    @property
    def chunk_ms(self) -> int:
        """The time that one file covers."""
        return CHUNK * INTERVAL_MS[self.interval]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One file's part of a series."""

    series: Series
    number: int

    @property
    def bounds(self) -> Span:
        """The span of starts that belong to the chunk."""
        return self.number * self.series.chunk_ms, (self.number + 1) * self.series.chunk_ms


class Memory:
    """The chunks used last, in memory, up to so many bytes. Thread safe."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._lock = threading.Lock()
        self._pieces: OrderedDict[Chunk, Piece] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """The bytes of all chunks in memory."""
        return self._bytes

    def get(self, chunk: Chunk) -> Piece | None:
        """The candles of a chunk, None where it is not in memory."""
        with self._lock:
            piece = self._pieces.get(chunk)
            if piece is not None:
                self._pieces.move_to_end(chunk)
            return piece

    def put(self, chunk: Chunk, piece: Piece) -> None:
        """Keep a chunk, and drop the longest unused ones."""
        with self._lock:
            self._drop(chunk)
            self._pieces[chunk] = piece
            self._bytes += piece.candles.nbytes
            while self._bytes > self._most_bytes:
                self._drop(next(iter(self._pieces)))

    def clear(self) -> None:
        """Drop all chunks."""
        with self._lock:
            self._pieces.clear()
            self._bytes = 0

    def _drop(self, chunk: Chunk) -> None:
        piece = self._pieces.pop(chunk, None)
        self._bytes -= piece.candles.nbytes if piece else 0


class KlineCache:
    """The candles of one exchange under `folder`."""

    def __init__(self, folder: Path, memory_bytes: int = MEMORY_BYTES, lock_limit_s: float = LOCK_LIMIT_S) -> None:
        self.folder = folder
        self.memory = Memory(memory_bytes)
        self._lock_limit_s = lock_limit_s

    def chunks(self, series: Series, span: Span) -> list[Chunk]:
        """The chunks that `span` touches, oldest first."""
        first, last = span[0] // series.chunk_ms, (span[1] - 1) // series.chunk_ms
        return [Chunk(series, number) for number in range(first, last + 1)]

    def known(self, chunk: Chunk) -> Piece:
        """The candles in memory, else those of the file; an empty Piece where there are none."""
        return self.memory.get(chunk) or self.stored(chunk)

    def stored(self, chunk: Chunk) -> Piece:
        """The candles in the file now, other processes' candles included."""
        path = self.path(chunk)
        try:
            piece = read_piece(path, chunk.bounds)
        except CorruptError as error:
            log.warning("klines_cache_corrupt", file=str(path), error=str(error), then="fetched anew")
            piece = None
        if piece is None:
            return Piece()
        self.memory.put(chunk, piece)
        return piece

    def add(self, chunk: Chunk, old: Piece, new: Piece) -> Piece:
        """Add fetched candles to stored ones; the caller holds the lock. A full disk costs the cache only."""
        piece = Piece(joined([old.candles, new.candles]), merged([*old.covered, *new.covered]))
        self.memory.put(chunk, piece)
        try:
            write_piece(self.path(chunk), piece)
        except OSError as error:
            log.warning("klines_cache_not_written", file=str(self.path(chunk)), error=str(error))
        return piece

    @contextlib.contextmanager
    def lock(self, chunk: Chunk) -> Iterator[bool]:
        """Lock a chunk against other threads and processes; yields False where the lock cannot be had."""
        path = self.path(chunk).with_suffix(".lock")
        lock = FileLock(path, timeout=self._lock_limit_s)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (Timeout, OSError) as error:
            log.warning("klines_cache_without_lock", file=str(path), error=str(error))
        try:
            yield lock.is_locked
        finally:
            lock.release()

    def path(self, chunk: Chunk) -> Path:
        """The file of a chunk."""
        series = chunk.series
        return self.folder / series.category / series.symbol / series.interval / f"{chunk.bounds[0]}.parquet"
