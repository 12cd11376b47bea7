"""The store as an output: closed klines, status events and audit results in a SQLite file.

The thread `consumer-store`. A disk that refuses, or a file that is damaged, costs nobody else anything: what waits is
bounded and tried again. One process writes a file; any number may read it meanwhile.
"""

import contextlib
import os
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import structlog

from consumers.base import BaseConsumer
from consumers.health import FailureLog
from consumers.store.checkpoint import Checkpoint
from consumers.store.cleaning import Cleaning
from consumers.store.reader import KlineReader
from consumers.store.schema import SET_RUNNING, StoreInUseError, is_about_the_data, is_damaged, open_writer, set_aside
from consumers.store.writer import MARKS, Entry, entries_of, roll_back, write
from model.clock import now_ms
from model.envelope import Envelope
from model.files import acquire_lock, is_same_file
from model.pacing import ThrottledLogger

log = structlog.get_logger()

GATHER_S = 0.04  # a boundary is encoded for Redis in less; at the same time both would encode it, and wait for the GIL
IDLE_S = 0.2  # after a batch: what comes sooner is of the same boundary
CLEAN_SLICE_S = 0.02  # of the clean-up at a time, once a second: klines wait no longer for it
BATCH_RECORDS = 5_000  # klines in one transaction: 40 ms
SAMPLE = 200  # characters of what is refused, in the log
STORED = frozenset({"klines", *MARKS, "status", "audit"})
"""The types of envelopes that are written; others are not for the store."""


@dataclass(frozen=True)
class StoreOptions:
    """The file, and how much it keeps: `days` of klines and records, `max_gb` of all together; 0 is without limit.

    `marks_published`: no Redis confirms klines, and what is written counts as published.
    """

    path: Path = Path("output/store/bybit_linear.sqlite")
    days: float = 0.0
    max_gb: float = 0.0
    marks_published: bool = False
    pending_bytes: int = 32 * 1024 * 1024  # that may wait in memory for a disk that refuses: some 130,000 klines
    retry_s: float = 1.0  # between two attempts on a disk that refuses


class StoreConsumer(BaseConsumer):
    """Writes the file; `reader` answers from it."""

    queue_size: ClassVar[int] = 2_000
    batch_size: ClassVar[int] = BATCH_RECORDS // 100
    niceness: ClassVar[int] = 10  # a boundary is up to 0.2 s of work, which no payload may wait for

    def __init__(self, options: StoreOptions, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__("store")
        self._options, self._clock = options, clock
        self.reader = KlineReader(options.path)
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._waiting: deque[Entry] = deque()
        self._waiting_bytes = 0
        self._retry_at_s = self._idle_at_s = float("-inf")
        self._cleaning = Cleaning(options.days, options.max_gb)
        self._checkpoint = Checkpoint()
        self._failures = FailureLog("store")
        self._logger = ThrottledLogger(log)
        self._klines = self._records = self._refused = self._dropped = self._set_aside = 0

    def setup(self) -> None:
        """Lock and open the file. Where that cannot be it is tried again and again, while a bounded part waits."""
        self._guarded(lambda _: None)

    def deliver(self, envelopes: list[Envelope]) -> None:
        """Write a batch, and what waits before it; the first of a boundary after those who send it have encoded it."""
        if self._clock() >= self._idle_at_s:
            time.sleep(GATHER_S)
        for envelope in envelopes:
            if envelope.data_type in STORED:
                try:
                    entries = entries_of(envelope)
                except (TypeError, ValueError) as error:  # no text, as what an error says of a file's name may be
                    self._refused += len(envelope.data)
                    sample = repr(envelope.data[:1])[:SAMPLE]
                    self._logger.error("store_record_refused", error=ascii(error), sample=ascii(sample))
                    continue
                self._waiting.extend(entries)
                self._waiting_bytes += sum(entry.size for entry in entries)
        self._flush()
        self._idle_at_s = self._clock() + IDLE_S

    def tick(self) -> None:
        """Try again what waits, look whether the file is still there, remove some of what is over its limits."""
        self._flush()
        if self._waiting:
            return  # the file does not work now
        if self._connection is None:
            self._guarded(lambda _: None)
        elif not self._is_there():
            log.warning("store_file_gone", path=str(self._options.path), then="begun anew")
            self._close()
            self._guarded(lambda _: None)
        elif self.reader.damage is not None:
            self._failed(self.reader.damage)
        else:
            self._guarded(self._tidy)

    def stop(self) -> None:
        """Write what waits, once more, and close the file."""
        self._retry_at_s = float("-inf")
        self._flush()
        if self._waiting:
            log.error("store_records_lost", records=sum(entry.records for entry in self._waiting))
        else:
            self._guarded(lambda connection: connection.execute(SET_RUNNING, (0,)))
        self._close()
        self._release()
        self._is_running = False

    def abandon(self) -> None:
        """End as a process does that is killed: what waits is lost, and the file does not say that it is complete."""
        self._close()
        self._release()

    def counters(self) -> dict[str, float]:
        """Return what was written, removed, refused and dropped, and the size of the file."""
        return {
            "klines": self._klines,
            "records": self._records,
            "removed": self._cleaning.removed,
            "bytes": self._cleaning.bytes,
            "write_errors": self._failures.count,
            "records_refused": self._refused,
            "records_dropped": self._dropped,
            "files_set_aside": self._set_aside,
        }

    # -- writing ---------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Write all that waits, a transaction for some thousand klines each."""
        while self._waiting and self._guarded(self._write_some):
            pass
        self._bound()

    def _write_some(self, connection: sqlite3.Connection) -> None:
        records = taken = 0
        written: Counter[str] = Counter()
        connection.execute("BEGIN IMMEDIATE")
        for entry in self._waiting:
            if records >= BATCH_RECORDS:
                break
            taken += 1
            records += entry.records
            try:
                write(connection, entry, is_published=self._options.marks_published)
                written[entry.data_type] += entry.records
            except sqlite3.Error as error:
                if not connection.in_transaction or not is_about_the_data(error):
                    raise
                self._refused += entry.records
                self._logger.error("store_record_refused", error=str(error), sample=entry.text[:SAMPLE])
        connection.execute("COMMIT")
        for _ in range(taken):
            self._waiting_bytes -= self._waiting.popleft().size
        self._checkpoint.wrote(records, self._clock())
        self._klines += written["klines"]
        self._records += written["journal"]
        if written["klines"]:
            self.reader.committed()

    def _guarded(self, act: Callable[[sqlite3.Connection], object]) -> bool:
        """Do something with the file; False where it cannot be now, which is recorded and tried again later."""
        if self._clock() < self._retry_at_s:
            return False
        try:
            if self._connection is None:
                self._open()
            assert self._connection is not None
            act(self._connection)
        except (OSError, sqlite3.Error) as error:
            self._failed(error)
            return False
        self._failures.recovered(self._clock())
        self.trouble = None
        return True

    def _failed(self, error: Exception) -> None:
        """Record a failure; a damaged file is set aside, and what waits goes to a new one."""
        if self._connection is not None:
            roll_back(self._connection)
        if is_damaged(error):
            self._close()
            try:
                self._put_aside(error)
            except OSError as refused:
                error = refused
            else:
                return
        self._retry_at_s = self._clock() + self._options.retry_s
        sentence = f"The store does not work, and is tried again: {error}."
        self._failures.failed(error, self._clock(), sentence=sentence, waiting=len(self._waiting))
        self.trouble = error

    def _bound(self) -> None:
        """Drop the oldest while all that waits is over the bound."""
        while self._waiting_bytes > self._options.pending_bytes:
            entry = self._waiting.popleft()
            self._waiting_bytes -= entry.size
            self._dropped += entry.records
            self._logger.warning("store_overflow", dropped=self._dropped)

    def _tidy(self, connection: sqlite3.Connection) -> None:
        """Remove some of what is over its limits, and write the log to the file, where that is due."""
        until_s, before = self._clock() + CLEAN_SLICE_S, self._cleaning.removed
        while self._cleaning.step(connection, self._clock(), now_ms()) and self._clock() < until_s:
            pass
        if removed := self._cleaning.removed - before:
            self._checkpoint.wrote(removed, self._clock())
        self._checkpoint.step(connection, self._clock())

    # -- the file --------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._acquire()
        try:
            self._connection = open_writer(self._options.path)
        except sqlite3.Error as error:
            if not is_damaged(error):
                raise
            self._put_aside(error)
            self._connection = open_writer(self._options.path)
        self._inode = os.stat(self._options.path).st_ino
        self._cleaning.forget()
        self._checkpoint.begin(self._clock())
        self.reader.open()

    def _put_aside(self, error: Exception) -> None:
        path = self._options.path
        aside = set_aside(path)
        self._set_aside += 1
        sentence = f"The store {path} is damaged ({error}): it is now {aside}, and a new one is begun."
        log.error("store_damaged", sentence=sentence, path=str(path), aside=str(aside), error=str(error))

    def _close(self) -> None:
        self.reader.close()
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _is_there(self) -> bool:
        try:
            return os.stat(self._options.path).st_ino == self._inode
        except OSError:
            return False

    def _acquire(self) -> None:
        """Become the file's only writer, again where the lock's file was removed; StoreInUseError, OSError."""
        path = self._options.path
        name = path.with_name(f".{path.name}.lock")
        if self._lock is not None and is_same_file(name, self._lock):
            return
        self._release()
        try:
            self._lock = acquire_lock(name)
        except BlockingIOError:
            raise StoreInUseError(
                f"another collector writes {path}: give this one its own KLINE_STORE_PATH; until then it stores nothing"
            ) from None

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
