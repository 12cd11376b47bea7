"""The recorder: the raw feed in compressed files, exact payloads in their order, with receive time and market.

Stream threads pay an append; the thread `recorder` compresses and writes. A disk that is full or slow costs recorded
payloads, counted and noted in the file where they are missing, and nothing else.
"""

import base64
import contextlib
import os
import re
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from consumers.files.retention import Retention
from consumers.health import LASTING_S, FailureLog, SinkHealth
from consumers.redis.raw_queue import RawQueue
from model.clock import ThreadOwner, join_by
from model.events import NO_EVENTS, EventSink
from model.files import TEMP, AtomicAppend, final_path, locked_temp_file, open_descriptor
from model.pacing import ThrottledLogger
from model.wake import WakeSignal

log = structlog.get_logger()

QUEUE_BYTES = 128 * 1024 * 1024  # of payloads, where they are large
GATHER_S = 0.05  # payloads of so long are one batch: cheaper than a wake-up per payload
BATCH_PAYLOADS = 5_000  # taken at once, some milliseconds of work
BLOCK_BYTES = 1024 * 1024  # of text; large enough to compress as well as the whole
LEVEL = 3  # half as large again as level 9, at four times its speed
SPAN = timedelta(hours=1)  # of one file
NAME_TIME = "%Y%m%d_%H%M%S_%f"
ENDING = ".txt.gz"
OWN = rf"(?P<exchange>[^/]+)/(?P<time>\d{{8}}_\d{{6}}_\d{{6}})_(?P<market>[^/]+){re.escape(ENDING)}"
GZIP_BITS = 31  # for zlib: a gzip header
GZIP_HEAD = bytes.fromhex("1f8b080000000000")  # a block begins so: deflate, no name, no time
TAIL_BYTES = 16 * 1024 * 1024  # read of a recovered file; a block is a tenth of that at most
PLAIN, PLAIN_END = b"{", b"}"  # of a payload; others are written in base64 after a =


@dataclass(frozen=True)
class RecorderOptions:
    """The kinds that are recorded, and where; `name` is unique among processes that share the folder."""

    base_path: Path = Path("output/raw")
    exchange: str = "bybit"
    name: str = "bybit_linear"
    kinds: tuple[str, ...] = ("trades", "orderbook", "ticker", "liquidations")
    retention_hours: float = 72.0
    max_gb: float = 20.0
    lasting_s: float = LASTING_S  # a disk that refuses for so long is an outage
    queue_payloads: int = 100_000  # ten seconds of a busy whole market, or of a slow disk
    block_s: float = 2.0  # payloads are on disk after that: what a crash can cost
    pending_bytes: int = 32 * 1024 * 1024  # of compressed blocks that may wait for a disk that refuses
    retry_s: float = 1.0  # between two attempts on a disk that refuses


@dataclass(frozen=True)
class Block:
    """Lines, compressed on their own, and the number of their payloads."""

    data: bytes
    payloads: int


class RawRecorder(ThreadOwner):
    """Writes `<exchange>/YYYYMMDD_HHMMSS_mmmmmm_<name>.txt.gz`, one file per hour (UTC).

    A line is `received_ns market payload`; one that begins with # is a note.
    """

    def __init__(
        self,
        options: RecorderOptions,
        events: EventSink = NO_EVENTS,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`events` gets SinkDown and SinkUp of the disk."""
        self._options, self._utc_now = options, utc_now
        self._queue = RawQueue(options.queue_payloads, QUEUE_BYTES, WakeSignal())  # no thread waits for it
        self._lines: list[bytes] = []
        self._lines_size = self._lines_count = 0
        self._block_at_s = 0.0
        self._blocks: deque[Block] = deque()
        self._file: AtomicAppend | None = None
        self._file_ends = datetime.min.replace(tzinfo=UTC)
        self._retry_at_s = float("-inf")
        self._noted = self._refused = 0  # payloads lost: noted in a file; lost to the disk
        self._recorded = self._bytes = self._files = self._recovered = 0
        owners = [(options.exchange, options.name)]
        self._retention = Retention(
            options.base_path, OWN, NAME_TIME, owners, options.retention_hours, options.max_gb, span=SPAN
        )
        self._logger = ThrottledLogger(log)
        self._failures = FailureLog("recorder")
        self.health = SinkHealth("recorder", events, lasting_s=options.lasting_s)
        self._stopping = threading.Event()
        self._stop_at_s = float("inf")
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    # -- any thread ------------------------------------------------------------------------------------

    def sink(self, market: str, kind: str) -> Callable[[Sequence[bytes]], object] | None:
        """Return the function that takes payloads of a kind, on stream threads; None where it is not recorded."""
        if kind not in self._options.kinds:
            return None
        put_all, now_ns, head = self._queue.put_all, time.time_ns, f"%d {market} ".encode()

        def record(payloads: Sequence[bytes]) -> None:
            put_all(head % now_ns(), payloads)

        return record

    def stop(self, deadline_s: float) -> bool:
        """Write what is queued, name the file; False where `deadline_s` (monotonic) came first."""
        self._stop_at_s = deadline_s
        self._stopping.set()
        return join_by(self._thread, deadline_s)

    def stats(self) -> dict[str, int]:
        """Return counts since the start; `recorded` and `dropped` are payloads, `bytes` compressed."""
        return {
            "queued": len(self._queue) + self._lines_count + sum(block.payloads for block in tuple(self._blocks)),
            "recorded": self._recorded,
            "dropped": self._lost,
            "bytes": self._bytes,
            "files": self._files,
            "write_errors": self._failures.count,
            "files_removed": self._retention.removed,
            "files_recovered": self._recovered,
        }

    @property
    def _lost(self) -> int:
        return self._queue.dropped + self._refused

    # -- recorder thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        self._guarded(self.recover)
        while not self._stopping.wait(GATHER_S):
            self._guarded(self.step)
        self._retry_at_s = float("-inf")
        self._guarded(self.finish)

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception:  # the thread's outermost loop
            self._logger.exception("recorder_failed")

    def step(self) -> None:
        """Take what waits, write what is due. Recorder thread only."""
        now_s = time.monotonic()
        while self._take():
            pass
        if self._lines and now_s >= self._block_at_s:
            self._close_block()
        now = self._utc_now()
        if now_s >= self._retry_at_s:
            self._write(now)
        self._retention.tick(now_s, now)

    def finish(self) -> None:
        """Write everything and name the file. Recorder thread only."""
        while self._take() and time.monotonic() < self._stop_at_s:
            pass
        self._close_block()
        self._write(self._utc_now())
        if self._file is not None:
            self._attempt(self._finish_file)
        if left := self.stats()["queued"]:
            log.error("recorder_payloads_lost", payloads=left)

    def _take(self) -> bool:
        """Move a batch of payloads to the lines, and many lines to a block; False where the queue was empty."""
        if not self._queue.waiting:
            return False
        if not self._lines:
            self._block_at_s = time.monotonic() + self._options.block_s
        self._note_losses()
        for head, payloads, size in self._queue.take(BLOCK_BYTES, BATCH_PAYLOADS):
            assert isinstance(head, bytes)
            self._lines += [line_of(head, payload) for payload in payloads]
            self._lines_size += size + len(payloads) * len(head)
            self._lines_count += len(payloads)
        if self._lines_size >= BLOCK_BYTES:
            self._close_block()
        return True

    def _note_losses(self) -> None:
        lost = self._lost - self._noted
        if lost:
            self._noted += lost
            self._lines.append(b"# %d payloads are missing here\n" % lost)
            self._logger.warning("recorder_overflow", dropped=self._lost)

    def _close_block(self) -> None:
        """Compress the lines, on their own: a file is whole up to any of its blocks."""
        if not self._lines:
            return
        compress = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP_BITS)
        data = compress.compress(b"".join(self._lines)) + compress.flush()
        self._blocks.append(Block(data, self._lines_count))
        self._lines.clear()
        self._lines_size = self._lines_count = 0
        waiting = sum(len(block.data) for block in self._blocks)
        while waiting > self._options.pending_bytes:
            gone = self._blocks.popleft()
            waiting -= len(gone.data)
            self._refused += gone.payloads

    def _write(self, now: datetime) -> None:
        is_finished = self._file is None or now < self._file_ends or self._attempt(self._finish_file)
        while self._blocks:
            if not self._attempt(lambda: self._append(now)):
                return
        if is_finished:
            self.health.works(self._lost)
            self._failures.recovered(time.monotonic())

    def _append(self, now: datetime) -> None:
        block = self._blocks[0]
        self._close_removed()
        if self._file is None:
            options = self._options
            self._file_ends = now.replace(minute=0, second=0, microsecond=0) + SPAN
            name = f"{now.strftime(NAME_TIME)}_{options.name}{ENDING}"
            self._file = AtomicAppend(options.base_path / options.exchange / name)
        self._file.append(block.data)
        self._blocks.popleft()
        self._recorded += block.payloads
        self._bytes += len(block.data)
        self._retention.wrote(len(block.data))

    def _finish_file(self) -> None:
        self._close_removed()
        if self._file is not None:
            self._file.finish()
            self._files += bool(self._file.size)
            self._file = None

    def _close_removed(self) -> None:
        """Close the file that is being written where it or its folder was removed; what it held is lost."""
        if self._file is not None and not self._file.is_there:
            log.warning("recorder_file_gone", path=str(self._file.path), bytes=self._file.size, then="begun anew")
            self._file.close()
            self._file = None

    def _attempt(self, write: Callable[[], None]) -> bool:
        """Write; of a disk that refuses count and report it, and try again after `retry_s`."""
        try:
            write()
        except OSError as error:
            now_s = time.monotonic()
            self._retry_at_s = now_s + self._options.retry_s
            self.health.failed(error, self._lost, now_s)
            self._failures.failed(error, now_s)
            return False
        return True

    def recover(self) -> None:
        """Name the recordings that a crash left. Recorder thread only."""
        folder = self._options.base_path / self._options.exchange
        folder.mkdir(parents=True, exist_ok=True)
        for temp in folder.glob(f".*{ENDING}{TEMP}"):
            with contextlib.suppress(OSError):
                self._recovered += self._retention.is_own(final_path(temp)) and recover_recording(temp)


def line_of(head: bytes, payload: bytes) -> bytes:
    """Return the line of a payload, whatever it holds."""
    if payload[:1] == PLAIN and payload[-1:] == PLAIN_END and b"\n" not in payload:
        return b"%b%b\n" % (head, payload)
    return b"%b=%b\n" % (head, base64.b64encode(payload))


def recover_recording(temp: Path) -> bool:
    """Name a file that a crash left, cut after its last whole block; False where none is, or it is being written."""
    with locked_temp_file(temp) as is_free:
        if not is_free:
            return False
        whole = whole_bytes(temp)
        if whole:
            os.truncate(temp, whole)
            temp.rename(final_path(temp))
        else:
            temp.unlink()
        return whole > 0


def whole_bytes(path: Path) -> int:
    """Return the length of the file's whole blocks: only the last can be cut short."""
    size = path.stat().st_size
    begin = max(0, size - TAIL_BYTES)
    with open(path, "rb", opener=open_descriptor) as file:
        file.seek(begin)
        tail = file.read()
    last = tail.rfind(GZIP_HEAD)
    if last < 0:
        return 0
    return size if _is_whole(tail[last:]) else begin + last


def _is_whole(block: bytes) -> bool:
    inflate = zlib.decompressobj(GZIP_BITS)
    try:
        inflate.decompress(block)
    except zlib.error:
        return False
    return inflate.eof and not inflate.unused_data
