"""Payloads decoded to the records of envelopes, off the stream threads: a bounded queue per market and kind.

One thread, `envelopes`; a stream thread pays one append. The exchange's readers decode, the caller publishes. A queue
over its bound drops its oldest payload, counted, and its reader marks its state as uncertain.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from model.clock import ThreadOwner, join_by
from model.pacing import ThrottledLogger
from model.ports import RecordReader
from model.records import FeedMarker, Record

log = structlog.get_logger()

GATHER_S = 0.01  # payloads of so long are one batch: cheaper than a wake-up per payload, and 10 ms are not noticed
RECORDS_PER_ENVELOPE = 100  # a message of some 60 kB

Item = bytes | FeedMarker
"""A payload, or a marker between payloads."""


@dataclass(frozen=True)
class DecodeLimits:
    """The bounds of each queue, and of the batch that is decoded at once before the next queue is served."""

    payloads: int = 50_000  # five seconds of a whole market, some 25 MB
    payload_bytes: int = 64 * 1024 * 1024  # where payloads are large
    batch: int = 1_000  # some milliseconds
    batch_bytes: int = 4 * 1024 * 1024  # records are many times as large


class DecodeQueue:
    """The queue of one market and kind: payloads, and markers between them where the feed came up or went down."""

    def __init__(self, market: str, reader: RecordReader, limits: DecodeLimits) -> None:
        self.market = market
        self.reader = reader
        self.queue: deque[Item] = deque()
        self.dropped = 0
        self._limit, self._limit_bytes, self._limits = limits.payloads, limits.payload_bytes, limits
        self._bytes = 0  # threads may lose an update to each other; right again whenever the queue is empty
        self._has_lost = False
        self._lock = threading.Lock()

    def put(self, item: Item) -> None:
        """Add one payload or marker; any thread, never blocks."""
        self.queue.append(item)
        size = _size_of(item)  # first: nothing comes between reading and writing a sum
        self._bytes += size
        if len(self.queue) > self._limit or self._bytes > self._limit_bytes:
            self._drop_oldest()

    def take(self) -> tuple[bool, list[Item]]:
        """Take out the oldest batch, and whether something before it was dropped."""
        limits = self._limits
        with self._lock:  # a drop in between would belong to neither side of the batch
            has_lost, self._has_lost = self._has_lost, False
            items: list[Item] = []
            size = 0
            while self.queue and len(items) < limits.batch and size < limits.batch_bytes:
                items.append(item := self.queue.popleft())
                size += _size_of(item)
            self._bytes = self._bytes - size if self.queue else 0
            return has_lost, items

    def _drop_oldest(self) -> None:
        if self._lock.acquire(blocking=False):  # else the queue is being emptied, or another thread drops
            try:
                while len(self.queue) > self._limit or (self._bytes > self._limit_bytes and len(self.queue) > 1):
                    size = _size_of(self.queue.popleft())
                    self._bytes -= size
                    self.dropped += 1
                    self._has_lost = True
            finally:
                self._lock.release()


def _size_of(item: Item) -> int:
    return len(item) if isinstance(item, bytes) else 0  # a marker


class RecordDecoder(ThreadOwner):
    """Decodes payloads to records. `reader_of(market, kind)` gives a new reader, None for kinds that have none.

    `publish(market, data_type, records)` is called on the `envelopes` thread and takes the records over.
    """

    def __init__(
        self,
        reader_of: Callable[[str, str], RecordReader | None],
        publish: Callable[[str, str, Sequence[Record]], object],
        *,
        limits: DecodeLimits = DecodeLimits(),
    ) -> None:
        self._reader_of, self._publish, self._limits = reader_of, publish, limits
        self._queues: dict[tuple[str, str], DecodeQueue] = {}
        self._stopping = threading.Event()
        self._stop_at_s = float("inf")
        self._logger = ThrottledLogger(log)
        self._envelopes = self._records = self._failures = self._logged_dropped = 0
        self._thread = threading.Thread(target=self._run, name="envelopes", daemon=True)

    def sink(self, market: str, kind: str) -> Callable[[Item], object] | None:
        """Return the function that takes payloads of one market and kind, and feed markers between them.

        None where no record is made of this kind. One thread at a time.
        """
        if (market, kind) not in self._queues:
            reader = self._reader_of(market, kind)
            if reader is None:
                return None
            queue = DecodeQueue(market, reader, self._limits)
            self._queues = {**self._queues, (market, kind): queue}  # a new dict: the old one is being read
        return self._queues[market, kind].put

    def stop(self, deadline_s: float) -> bool:
        """Publish what is queued and end; False if `deadline_s` (monotonic) came first. After the streams' end."""
        self._stop_at_s = deadline_s
        self._stopping.set()
        return join_by(self._thread, deadline_s)

    def stats(self) -> dict[str, int]:
        """Count since the start; `dropped` are payloads, `failures` batches that a reader or output refused."""
        queues = self._queues.values()
        return {
            "queued": sum(len(queue.queue) for queue in queues),
            "dropped": sum(queue.dropped for queue in queues),
            "envelopes": self._envelopes,
            "records": self._records,
            "failures": self._failures,
            "without_snapshot": sum(queue.reader.without_snapshot for queue in queues),
        }

    # -- envelopes thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.wait(GATHER_S):
            self.step()
        while self.step() and time.monotonic() < self._stop_at_s:
            pass

    def step(self) -> bool:
        """Decode one batch of every queue; False where all were empty. `envelopes` thread only."""
        found = [self._decode(queue) for queue in self._queues.values()]
        return any(found)

    def _decode(self, queue: DecodeQueue) -> bool:
        has_lost, items = queue.take()
        try:
            if has_lost:
                queue.reader.mark_uncertain()
                self._log_drops()
            for payloads in self._between_markers(queue.reader, items):
                self._send(queue.market, queue.reader(payloads))
        except Exception:  # the thread's outermost loop
            self._failures += 1
            queue.reader.mark_uncertain()
            self._logger.exception("envelopes_failed", queue.market, market=queue.market, payloads=len(items))
        return bool(items)

    @staticmethod
    def _between_markers(reader: RecordReader, items: list[Item]) -> Iterable[list[bytes]]:
        """Return the payloads between markers; each marker makes its symbols uncertain at its place."""
        run: list[bytes] = []
        for item in items:
            if isinstance(item, bytes):
                run.append(item)
                continue
            if run:
                yield run
            run = []
            reader.mark_uncertain(item.symbols)
        if run:
            yield run

    def _send(self, market: str, by_type: Mapping[str, Sequence[Record]]) -> None:
        for data_type, records in by_type.items():
            for first in range(0, len(records), RECORDS_PER_ENVELOPE):
                self._publish(market, data_type, records[first : first + RECORDS_PER_ENVELOPE])
                self._envelopes += 1
            self._records += len(records)

    def _log_drops(self) -> None:
        dropped = self.stats()["dropped"]
        if not self._logged_dropped or dropped >= 2 * self._logged_dropped:  # doubled: a flood is a handful of lines
            self._logged_dropped = dropped
            log.warning("envelopes_overflow", dropped=dropped, limit=self._limits.payloads)
