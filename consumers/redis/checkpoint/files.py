"""The files of the checkpoint: the newest kline per key (`StateFile`), and the newest klines whole (`RecentKlines`).

One thread at a time. A disk that refuses costs what a restart finds, never a message.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import structlog

from model.files import atomic_write, is_same_file, open_descriptor, read_file, write_file
from model.records import Kline

log = structlog.get_logger()

REMEDY = "another collector writes it: give this one its own REDIS_BACKLOG_PATH; until then Redis alone remembers"
KEEP_MS = 120_000  # a stall is noticed after SILENCE_TIMEOUT (60 s) or a missing pong; twice that
UNWRITTEN_BYTES = 32 * 1024 * 1024  # of messages that wait for a disk that does not come back from a write
OPEN_LIMIT = 20_000  # klines that are not complete yet, some 25 MB; beyond it the oldest are forgotten
OPEN_FINE_MS = 600_000  # those below a minute are healed by the newest trades, which reach back for minutes, or never
MINUTE_MS = 60_000
Recent = list[tuple[str, Kline]]
"""(market, last issue), oldest start first."""


class StateFile:
    """`path` None is no file: nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock: int | None = None

    @property
    def is_written(self) -> bool:
        """Say whether there is a file of ours."""
        return self._path is not None

    def claim(self) -> bool:
        """Become its writer; where another process is, say so, write nothing, and return False."""
        if self._path is not None and self._lock is None:
            try:
                self._lock = _locked(self._path.with_name(f".{self._path.name}.lock"))
            except BlockingIOError:
                log.error("published_file_in_use", path=str(self._path), remedy=REMEDY)
                self._path = None
                return False
            except OSError as error:  # no lock to be had; a folder that cannot be written is told when it is written
                log.warning("published_file_not_locked", path=str(self._path), error=str(error))
        return True

    def release(self) -> None:
        """Let others claim it. The lock's file stays: were it removed, two could hold one name's lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, content: bytes) -> None:
        """Replace it; OSError where that cannot be. It survives SIGKILL, not a power cut: fsync takes too long."""
        if self._path is None:
            return
        self._path.parent.mkdir(
            parents=True, exist_ok=True
        )  # first: where it cannot be, nothing is claimed, nor given up
        if not self._is_still_ours():
            return
        atomic_write(self._path, lambda temp: write_file(temp, content))

    def _is_still_ours(self) -> bool:
        """Claim it anew where its lock was removed with its folder: another process may have claimed it since."""
        assert self._path is not None
        if self._lock is not None and not is_same_file(self._path.with_name(f".{self._path.name}.lock"), self._lock):
            log.warning("published_folder_gone", path=str(self._path), then="written anew")
            self.release()
            return self.claim()
        return True

    def __del__(self) -> None:
        self.release()

    def __str__(self) -> str:
        return str(self._path)


def _locked(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    number = open_descriptor(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        raise
    return number


class Line(msgspec.Struct):
    """An envelope of klines as far as it is read here: the market, and the klines."""

    channel: str
    data: list[Kline]


_lines = msgspec.json.Decoder(Line)
_encoder = msgspec.json.Encoder(decimal_format="number")


def lately(issues: Iterable[tuple[str, Kline]], keep_ms: int = KEEP_MS) -> Recent:
    """Of all issues the last of each kline that is not complete, or ended less than `keep_ms` before its newest."""
    last: dict[tuple[str, str, int, int], Kline] = {}
    newest: dict[tuple[str, str, int], int] = {}
    for market, kline in issues:
        place = (market, kline.symbol, kline.interval)
        known = last.get((*place, kline.timestamp))
        if known is None or kline.revision >= known.revision:
            last[*place, kline.timestamp] = kline
        newest[place] = max(newest.get(place, 0), kline.timestamp)
    kept = [
        (key[0], kline)
        for key, kline in last.items()
        if not kline.complete or kline.timestamp > newest[key[:3]] - keep_ms
    ]
    return sorted(kept, key=lambda one: one[1].timestamp)


class RecentKlines:
    """The files of one publisher, `path` and one more beside it; None is no memory. One thread."""

    def __init__(self, path: Path | None, keep_ms: int = KEEP_MS, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._keep_ms, self._clock = path, keep_ms, clock
        self._turn_s = float("-inf")
        self._open: dict[tuple[str, str, int, int], Kline] = {}
        self._newest_ms = 0
        self._unwritten: list[bytes] = []
        self._unwritten_bytes = 0
        self.errors = 0

    def begin(self, recent: Recent) -> None:
        """Take over what an earlier run left, in one new file."""
        self._open = {_key(market, kline): kline for market, kline in recent if not kline.complete}
        self._guarded(lambda: self._turn(recent, is_first=True))

    def add(self, payload: bytes) -> None:
        """Note a message that was published; `write` keeps it."""
        if self._path is not None:
            self._unwritten.append(payload)
            self._unwritten_bytes += len(payload)
            if self._unwritten_bytes > UNWRITTEN_BYTES:
                self._unwritten, self._unwritten_bytes = [], 0
                self.errors += 1

    @property
    def has_unwritten(self) -> bool:
        """Say whether `write` has something to do."""
        return bool(self._unwritten)

    def write(self) -> None:
        """Write what was noted: many messages at once cost little more than one."""
        self.take()()

    def take(self) -> Callable[[], None]:
        """Take out what was noted; returns what writes it, for any one thread to call before the next `take`."""
        lines, self._unwritten, self._unwritten_bytes = self._unwritten, [], 0
        for line in lines:
            if self._open or b'"complete":false' in line:
                self._follow(line)
        is_turn = bool(lines) and self._clock() - self._turn_s >= self._keep_ms / 1000
        still_open = self._still_open() if is_turn else []

        def write() -> None:
            if is_turn:
                self._guarded(lambda: self._turn(still_open, is_first=False))
            if lines:
                self._guarded(lambda: self._write(b"\n".join(lines) + b"\n"))

        return write

    def _follow(self, payload: bytes) -> None:
        for market, kline in _read_lines([payload]):
            self._newest_ms = max(self._newest_ms, kline.timestamp)
            if kline.complete:
                self._open.pop(_key(market, kline), None)
            else:
                self._open[_key(market, kline)] = kline
        while len(self._open) > OPEN_LIMIT:
            self._open.pop(next(iter(self._open)))

    def _still_open(self) -> Recent:
        oldest_ms = self._newest_ms - OPEN_FINE_MS
        self._open = {
            key: kline
            for key, kline in self._open.items()
            if kline.interval >= MINUTE_MS or kline.timestamp >= oldest_ms
        }
        return [(key[0], kline) for key, kline in self._open.items()]

    def _turn(self, recent: Recent, *, is_first: bool) -> None:
        """Begin the next file with `recent`; the one before it stays until the turn after."""
        path = self._path
        if path is None:
            return
        self._turn_s = self._clock()

        def write(temp: Path) -> None:
            write_file(temp, *(_encoder.encode(Line(market, [kline])) + b"\n" for market, kline in recent))
            if not is_first and path.exists():
                path.replace(_older(path))

        atomic_write(path, write)
        if is_first:
            _older(path).unlink(missing_ok=True)

    def _write(self, lines: bytes) -> None:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "ab", opener=open_descriptor) as file:
                file.write(lines)

    def _guarded(self, do: Callable[[], None]) -> None:
        try:
            do()
        except OSError as error:
            self.errors += 1
            if self.errors == 1:
                log.error("recent_klines_not_written", path=str(self._path), error=str(error))


def load_recent(path: Path | None, keep_ms: int = KEEP_MS, waiting: Iterable[bytes] = ()) -> Recent:
    """What an earlier run left, and what it left `waiting` to be published first; any thread, before `begin`."""
    lines: list[bytes] = []
    for file in (_older(path), path) if path else ():
        try:
            lines += read_file(file).splitlines()
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("recent_klines_unreadable", path=str(file), error=str(error))
    return lately(_read_lines([*lines, *waiting]), keep_ms)


def _read_lines(lines: Iterable[bytes]) -> Iterator[tuple[str, Kline]]:
    for line in lines:
        try:
            read = _lines.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):  # cut by a crash, or somebody wrote into it
            continue
        yield from ((read.channel, kline) for kline in read.data)


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


def _key(market: str, kline: Kline) -> tuple[str, str, int, int]:
    return market, kline.symbol, kline.interval, kline.timestamp
