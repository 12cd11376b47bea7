"""Payloads to envelopes, off the stream threads: a bounded queue per market and kind, one thread `envelopes`.

What a stream thread pays is one append. Decoding is the venue's, handed in as readers; publishing is the
caller's. Over its bound a queue drops its oldest, counted, and its reader is told that it may be wrong.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import structlog

from model.pacing import LogThrottle

log = structlog.get_logger()

QUEUE_LIMIT = 50_000  # payloads per market and kind: five seconds of a whole market, some 25 MB
QUEUE_BYTES = 64 * 1024 * 1024  # of payloads per market and kind, where they are large
GATHER_S = 0.01  # what comes meanwhile is one batch: cheaper than a wake-up per payload, and nobody sees 10 ms
BATCH_LIMIT = 1_000  # payloads decoded at once: some milliseconds, then the next queue has its turn
BATCH_BYTES = 4 * 1024 * 1024  # decoded at once: records are many times as large
RECORDS_PER_ENVELOPE = 100  # a message of some 60 kB

Record = dict[str, Any]


class Reader(Protocol):
    """Payloads of one market and kind, in their order, to records by data type. `envelopes` thread only."""

    def __call__(self, payloads: Sequence[bytes]) -> Mapping[str, Sequence[Record]]: ...

    def doubt(self, symbols: Iterable[str] | None = None) -> None:
        """Learn that messages of these symbols, None: of any, may be missing here."""


class Inlet:
    """The queue of one market and kind: payloads, and markers where the feed came or went."""

    def __init__(self, market: str, reader: Reader, limit: int) -> None:
        self.market = market
        self.reader = reader
        self.queue: deque[Any] = deque()
        self.dropped = 0
        self._limit = limit
        self._bytes = 0  # threads may lose an update to each other; right again whenever the queue is empty
        self._has_lost = False
        self._lock = threading.Lock()

    def put(self, item: Any) -> None:
        """Add one payload or marker; any thread, never waits."""
        self.queue.append(item)
        size = _size_of(item)  # first: nothing comes between reading and writing a sum
        self._bytes += size
        if len(self.queue) > self._limit or self._bytes > QUEUE_BYTES:
            self._drop_oldest()

    def take(self) -> tuple[bool, list[Any]]:
        """Take out the oldest, at most BATCH_LIMIT or BATCH_BYTES, and whether something before them was dropped."""
        with self._lock:  # a drop in between would belong to neither side of the batch
            has_lost, self._has_lost = self._has_lost, False
            items: list[Any] = []
            size = 0
            while self.queue and len(items) < BATCH_LIMIT and size < BATCH_BYTES:
                items.append(item := self.queue.popleft())
                size += _size_of(item)
            self._bytes = self._bytes - size if self.queue else 0
            return has_lost, items

    def _drop_oldest(self) -> None:
        if self._lock.acquire(blocking=False):  # else the queue is being emptied, or another thread drops
            try:
                while len(self.queue) > self._limit or (self._bytes > QUEUE_BYTES and len(self.queue) > 1):
                    size = _size_of(self.queue.popleft())
                    self._bytes -= size
                    self.dropped += 1
                    self._has_lost = True
            finally:
                self._lock.release()


def _size_of(item: Any) -> int:
    return len(item) if isinstance(item, bytes) else 0  # a marker


class EnvelopeTap:
    """Makes envelopes of payloads. `reader_of(market, kind)` gives a new reader, None for kinds that have none.

    `publish(market, data_type, records)` is called on the `envelopes` thread and takes the records over.
    """

    def __init__(
        self,
        reader_of: Callable[[str, str], Reader | None],
        publish: Callable[[str, str, Sequence[Record]], object],
        *,
        limit: int = QUEUE_LIMIT,
    ) -> None:
        self._reader_of, self._publish, self._limit = reader_of, publish, limit
        self._inlets: dict[tuple[str, str], Inlet] = {}
        self._stopping = threading.Event()
        self._stop_at_s = float("inf")
        self._throttle = LogThrottle()
        self._envelopes = self._records = self._failures = self._told_dropped = 0
        self._thread = threading.Thread(target=self._run, name="envelopes", daemon=True)

    def sink(self, market: str, kind: str) -> Callable[[Any], Any] | None:
        """What takes the payloads of one market and kind, and between them the feed's markers; one thread at a time.

        None where no envelope is made of this kind.
        """
        if (market, kind) not in self._inlets:
            reader = self._reader_of(market, kind)
            if reader is None:
                return None
            self._inlets = {**self._inlets, (market, kind): Inlet(market, reader, self._limit)}  # it is being read
        return self._inlets[market, kind].put

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, deadline_s: float) -> bool:
        """Publish what is queued and end; False if `deadline_s` (monotonic) came first. After the streams' end."""
        self._stop_at_s = deadline_s
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline_s - time.monotonic()))
        return not self._thread.is_alive()

    def threads(self) -> list[threading.Thread]:
        """The threads that must live."""
        return [self._thread]

    def stats(self) -> dict[str, int]:
        """Count since the start; `dropped` are payloads, `failures` batches that a reader or output refused."""
        inlets = self._inlets.values()
        return {
            "queued": sum(len(inlet.queue) for inlet in inlets),
            "dropped": sum(inlet.dropped for inlet in inlets),
            "envelopes": self._envelopes,
            "records": self._records,
            "failures": self._failures,
            "without_snapshot": sum(getattr(inlet.reader, "without_snapshot", 0) for inlet in inlets),
        }

    # -- envelopes thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.wait(GATHER_S):
            self._turn()
        while self._turn() and time.monotonic() < self._stop_at_s:
            pass

    def _turn(self) -> bool:
        """Empty every queue by one batch; True where something was there."""
        found = [self._serve(inlet) for inlet in self._inlets.values()]
        return any(found)

    def _serve(self, inlet: Inlet) -> bool:
        has_lost, items = inlet.take()
        try:
            if has_lost:
                inlet.reader.doubt()
                self._tell_drops()
            for payloads in self._runs(inlet.reader, items):
                self._send(inlet.market, inlet.reader(payloads))
        except Exception:  # the thread's outermost loop
            self._failures += 1
            inlet.reader.doubt()
            held = self._throttle.allow(inlet.market, time.monotonic())
            if held is not None:
                log.error("envelopes_failed", market=inlet.market, payloads=len(items), held_back=held, exc_info=True)
        return bool(items)

    @staticmethod
    def _runs(reader: Reader, items: list[Any]) -> Iterable[list[bytes]]:
        """The payloads between markers; a marker casts doubt on its symbols when its turn has come."""
        run: list[bytes] = []
        for item in items:
            if isinstance(item, bytes):
                run.append(item)
                continue
            if run:
                yield run
            run = []
            reader.doubt(item.symbols)
        if run:
            yield run

    def _send(self, market: str, by_type: Mapping[str, Sequence[Record]]) -> None:
        for data_type, records in by_type.items():
            for first in range(0, len(records), RECORDS_PER_ENVELOPE):
                self._publish(market, data_type, records[first : first + RECORDS_PER_ENVELOPE])
                self._envelopes += 1
            self._records += len(records)

    def _tell_drops(self) -> None:
        dropped = self.stats()["dropped"]
        if not self._told_dropped or dropped >= 2 * self._told_dropped:  # doubled: a flood is a handful of lines
            self._told_dropped = dropped
            log.warning("envelopes_overflow", dropped=dropped, limit=self._limit)
