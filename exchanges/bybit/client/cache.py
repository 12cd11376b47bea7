"""Closed candles kept on disk and, the last used ones, in memory. For any number of threads and processes at once.

One file holds CHUNK candles of one symbol and interval, so that a span of years is some dozens of files. Writers hold
the file's lock; readers need none. A file that cannot be read is said and treated as absent.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from filelock import FileLock, Timeout

from exchanges.bybit.client.cache_file import CorruptError, Piece, read_piece, write_piece
from exchanges.bybit.client.data_frames import joined
from exchanges.bybit.client.data_times import Span, merged
from exchanges.bybit.client.market import INTERVAL_MS

log = structlog.get_logger()

CHUNK = 50_000  # candles per file, about 1.5 MB: 35 days of minutes, five years of hours
MEMORY_BYTES = 256 * 1024 * 1024  # three years of minutes are 88 MB
LOCK_LIMIT_S = 60.0  # a chunk is fetched in seconds; whoever waits longer goes on without the cache


@dataclass(frozen=True, slots=True)
class Series:
    """Candles of one symbol: `interval` is Bybit's name."""

    category: str
    symbol: str
    interval: str

    @property
    def chunk_ms(self) -> int:
        """How long a file is."""
        return CHUNK * INTERVAL_MS[self.interval]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One file's part of a series."""

    series: Series
    number: int

    @property
    def bounds(self) -> Span:
        """Which starts belong to it."""
        return self.number * self.series.chunk_ms, (self.number + 1) * self.series.chunk_ms


class Memory:
    """The chunks used last, up to so many bytes. Thread safe."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._lock = threading.Lock()
        self._pieces: OrderedDict[Chunk, Piece] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """What it holds now."""
        return self._bytes

    def get(self, chunk: Chunk) -> Piece | None:
        """What is known of a chunk."""
        with self._lock:
            piece = self._pieces.get(chunk)
            if piece is not None:
                self._pieces.move_to_end(chunk)
            return piece

    def put(self, chunk: Chunk, piece: Piece) -> None:
        """Keep it, and let the longest unused go."""
        with self._lock:
            self._drop(chunk)
            self._pieces[chunk] = piece
            self._bytes += piece.candles.nbytes
            while self._bytes > self._most_bytes:
                self._drop(next(iter(self._pieces)))

    def clear(self) -> None:
        """Forget everything."""
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
        """What memory has, else the file; an empty Piece where neither has anything."""
        return self.memory.get(chunk) or self.stored(chunk)

    def stored(self, chunk: Chunk) -> Piece:
        """What the file has now, other processes' candles included."""
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
        """Put what was fetched to what was stored; the caller holds the lock. A full disk costs the cache only."""
        piece = Piece(joined([old.candles, new.candles]), merged([*old.covered, *new.covered]))
        self.memory.put(chunk, piece)
        try:
            write_piece(self.path(chunk), piece)
        except OSError as error:
            log.warning("klines_cache_not_written", file=str(self.path(chunk)), error=str(error))
        return piece

    @contextlib.contextmanager
    def lock(self, chunk: Chunk) -> Iterator[bool]:
        """Hold a chunk against other threads and processes; False where that is not to be had."""
        path = self.path(chunk).with_suffix(".lock")
        held = self._acquire(path)
        try:
            yield held is not None
        finally:
            if held is not None:
                held.release()

    def path(self, chunk: Chunk) -> Path:
        """The file of a chunk."""
        series = chunk.series
        return self.folder / series.category / series.symbol / series.interval / f"{chunk.bounds[0]}.parquet"

    def _acquire(self, path: Path) -> FileLock | None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path, timeout=self._lock_limit_s)
            lock.acquire()
        except (Timeout, OSError) as error:
            log.warning("klines_cache_without_lock", file=str(path), error=str(error))
            return None
        return lock
