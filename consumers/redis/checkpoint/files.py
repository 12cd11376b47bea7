"""The files of the checkpoint: the newest kline per key (`StateFile`), and the newest klines whole (`RecentKlines`).

One thread at a time. A disk that refuses costs what a restart finds, never a message.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import structlog

from model.files import acquire_lock, atomic_write, is_same_file, open_descriptor, read_file, write_file
from model.intervals import MINUTE_MS
from model.records import Kline

log = structlog.get_logger()

REMEDY = (
    "another collector writes it: give this one its own REDIS_BACKLOG_PATH; until then the checkpoint is in Redis alone"
)
RECENT_MS = 120_000  # a stall is noticed after SILENCE_TIMEOUT (60 s) or a missing pong; twice that
UNWRITTEN_BYTES = 32 * 1024 * 1024  # of messages that wait for a disk that does not come back from a write
INCOMPLETE_LIMIT = 20_000  # klines that are not complete yet, some 25 MB; beyond it the oldest are dropped
REPAIRABLE_MS = 600_000  # klines below a minute are repaired from the newest trades, which reach back for minutes

MarketKlines = list[tuple[str, Kline]]
"""(market, last revision), oldest start first."""


class StateFile:
    """A small file that is replaced whole, and has one writer: of two, each would lose what the other wrote.

    The lock beside it is the kernel's, which takes it back however its owner ends; where the file system has no locks,
    every process counts as the only writer. `path` None is no file: nothing is written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock: int | None = None

    @property
    def is_written(self) -> bool:
        """Whether there is a file that this process writes."""
        return self._path is not None

    def acquire_lock(self) -> bool:
        """Become the file's writer; where another process is, log that, write nothing from now on, return False."""
        if self._path is not None and self._lock is None:
            try:
                self._lock = acquire_lock(self._path.with_name(f".{self._path.name}.lock"))
            except BlockingIOError:
                log.error("checkpoint_file_in_use", path=str(self._path), remedy=REMEDY)
                self._path = None
                return False
            except OSError as error:  # there are no locks; a folder that cannot be written is logged by the write
                log.warning("checkpoint_file_not_locked", path=str(self._path), error=str(error))
        return True

    def release_lock(self) -> None:
        """Let another process become the writer. The lock's file stays: removed, two could hold one name's lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, content: bytes) -> None:
        """Replace the file; OSError where that cannot be. A power cut may cost it: fsync takes too long."""
        if self._path is None:
            return
        # First: where there can be no folder, no lock is acquired, and none given up.
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._is_still_ours():
            return
        atomic_write(self._path, lambda temp: write_file(temp, content))

    def _is_still_ours(self) -> bool:
        """Lock it anew where the lock was removed with its folder: another process may have locked it since."""
        assert self._path is not None
        if self._lock is not None and not is_same_file(self._path.with_name(f".{self._path.name}.lock"), self._lock):
            log.warning("checkpoint_folder_gone", path=str(self._path), then="written anew")
            self.release_lock()
            return self.acquire_lock()
        return True

    def __del__(self) -> None:
        self.release_lock()

    def __str__(self) -> str:
        return str(self._path)


class KlinesLine(msgspec.Struct):
    """An envelope of klines as far as it is read here: the market, and the klines whole."""

    channel: str
    data: list[Kline]


_decoder = msgspec.json.Decoder(KlinesLine)
_encoder = msgspec.json.Encoder(decimal_format="number")


class RecentKlines:
    """The klines published lately, whole, and the incomplete ones: what a restart compares with the exchange.

    A line per message that Redis confirmed, in two files that are rotated: SIGKILL costs the lines of the last moment
    at most, and what is older than `RECENT_MS` goes with its file. `path` is the newer of the two; None keeps nothing.
    """

    def __init__(
        self,
        path: Path | None,
        clock: Callable[[], float] = time.monotonic,
        unwritten_bytes: int = UNWRITTEN_BYTES,
        incomplete_limit: int = INCOMPLETE_LIMIT,
    ) -> None:
        self._path, self._clock = path, clock
        self._unwritten_limit, self._incomplete_limit = unwritten_bytes, incomplete_limit
        self._rotated_s = float("-inf")
        self._incomplete: dict[tuple[str, str, int, int], Kline] = {}
        self._newest_ms = 0
        self._unwritten: list[bytes] = []
        self._unwritten_bytes = 0
        self.errors = 0

    def begin(self, recent: MarketKlines) -> None:
        """Take over what an earlier run left, in one new file."""
        self._incomplete = {_key(market, kline): kline for market, kline in recent if not kline.complete}
        self._guarded(lambda: self._rotate(recent, is_first=True))

    def add(self, payload: bytes) -> None:
        """Take a message that was published; `take` has it written."""
        if self._path is not None:
            self._unwritten.append(payload)
            self._unwritten_bytes += len(payload)
            if self._unwritten_bytes > self._unwritten_limit:
                self._unwritten, self._unwritten_bytes = [], 0
                self.errors += 1

    @property
    def has_unwritten(self) -> bool:
        """Whether `take` has something to be written."""
        return bool(self._unwritten)

    def take(self) -> Callable[[], None]:
        """Take the messages out; returns what writes them, for any one thread to call before the next `take`."""
        lines, self._unwritten, self._unwritten_bytes = self._unwritten, [], 0
        for line in lines:
            if self._incomplete or b'"complete":false' in line:
                self._track_incomplete(line)
        is_due = bool(lines) and self._clock() - self._rotated_s >= RECENT_MS / 1000
        still_incomplete = self._still_incomplete() if is_due else []

        def write() -> None:
            if is_due:
                self._guarded(lambda: self._rotate(still_incomplete, is_first=False))
            if lines:
                self._guarded(lambda: self._append(b"\n".join(lines) + b"\n"))

        return write

    def _track_incomplete(self, payload: bytes) -> None:
        for market, kline in _read_lines([payload]):
            self._newest_ms = max(self._newest_ms, kline.timestamp)
            if kline.complete:
                self._incomplete.pop(_key(market, kline), None)
            else:
                self._incomplete[_key(market, kline)] = kline
        while len(self._incomplete) > self._incomplete_limit:
            self._incomplete.pop(next(iter(self._incomplete)))

    def _still_incomplete(self) -> MarketKlines:
        oldest_ms = self._newest_ms - REPAIRABLE_MS
        self._incomplete = {
            key: kline
            for key, kline in self._incomplete.items()
            if kline.interval >= MINUTE_MS or kline.timestamp >= oldest_ms
        }
        return [(key[0], kline) for key, kline in self._incomplete.items()]

    def _rotate(self, recent: MarketKlines, *, is_first: bool) -> None:
        """Begin the next file with `recent`; the one before it stays until the next rotation."""
        path = self._path
        if path is None:
            return
        self._rotated_s = self._clock()

        def write(temp: Path) -> None:
            write_file(temp, *(_encoder.encode(KlinesLine(market, [kline])) + b"\n" for market, kline in recent))
            if not is_first and path.exists():
                path.replace(_older_file(path))

        atomic_write(path, write)
        if is_first:
            _older_file(path).unlink(missing_ok=True)

    def _append(self, lines: bytes) -> None:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "ab", opener=open_descriptor) as file:
                file.write(lines)

    def _guarded(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            self.errors += 1
            if self.errors == 1:
                log.error("recent_klines_not_written", path=str(self._path), error=str(error))


def load_recent(path: Path | None, spilled: Iterable[bytes] = ()) -> MarketKlines:
    """Read the klines that an earlier run published lately, and those `spilled`, which are published first.

    Any thread, before `RecentKlines.begin`.
    """
    lines: list[bytes] = []
    for file in (_older_file(path), path) if path else ():
        try:
            lines += read_file(file).splitlines()
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("recent_klines_unreadable", path=str(file), error=str(error))
    return newest_of(_read_lines([*lines, *spilled]))


def newest_of(klines: Iterable[tuple[str, Kline]]) -> MarketKlines:
    """The last revision of each kline that is not complete, or ended less than `RECENT_MS` before its key's newest."""
    last: dict[tuple[str, str, int, int], Kline] = {}
    newest: dict[tuple[str, str, int], int] = {}
    for market, kline in klines:
        key = (market, kline.symbol, kline.interval)
        known = last.get((*key, kline.timestamp))
        if known is None or kline.revision >= known.revision:
            last[*key, kline.timestamp] = kline
        newest[key] = max(newest.get(key, 0), kline.timestamp)
    kept = [
        (key[0], kline)
        for key, kline in last.items()
        if not kline.complete or kline.timestamp > newest[key[:3]] - RECENT_MS
    ]
    return sorted(kept, key=lambda one: one[1].timestamp)


def _read_lines(lines: Iterable[bytes]) -> Iterator[tuple[str, Kline]]:
    """Decode lines of a file of klines, or messages of klines; what is none is passed over."""
    for line in lines:
        try:
            message = _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):  # cut by a crash, or written by another program
            continue
        yield from ((message.channel, kline) for kline in message.data)


def _older_file(path: Path) -> Path:
    """Name the file that was rotated away last."""
    return path.with_name(f"{path.name}.1")


def _key(market: str, kline: Kline) -> tuple[str, str, int, int]:
    return market, kline.symbol, kline.interval, kline.timestamp
