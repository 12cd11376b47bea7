"""Klines, and raw payloads by choice, in Redis Streams: what a subscriber that was away reads to catch up.

`consumer-history` thread, with a connection of its own: a Redis that refuses streams costs Pub/Sub nothing. Klines
wait while Redis is away or full, on disk where they are many, and come in order; raw payloads drop oldest.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hiredis
import structlog
from redis.exceptions import RedisError

from consumers.backlog import MEMORY_LIMIT, KlineBacklog, Waiting
from consumers.backoff import Backoff
from consumers.channels import klines_channel
from consumers.envelope import Envelope
from consumers.history_commands import StreamPacker, newest, payloads_of, refusal_of, sent_before
from consumers.raw_queue import Bell, RawQueue
from consumers.redis_link import LinkClosedError, RedisLink
from consumers.sink_news import SinkNews
from consumers.stats import ConsumerStats, RateLimit

log = structlog.get_logger()

MAX_LEN = 100_000  # entries per stream: klines of ten symbols for weeks, raw payloads for minutes
RAW_LIMIT = 50_000  # messages
RAW_LIMIT_BYTES = 64 * 1024 * 1024  # what waiting payloads may cost in memory
BATCH_MESSAGES = 500  # klines per transaction, which Redis runs without a look at its other clients
BATCH_BYTES = 512 * 1024
NEWEST = 2_000  # entries looked at on a new connection, to send none twice
REPLY_DEADLINE_S = 5.0
REPLY_LOOK_S = 0.05
IDLE_LOOK_S = 0.5  # idle: how often to look whether the server closed the connection
AWAY_STEP_S = 0.2  # while Redis is away: how often klines are moved to the backlog
REFUSED_PAUSE_S = 1.0  # klines that Redis refused are tried again after this pause
BACKOFF_FIRST_S, BACKOFF_CAP_S = 0.1, 5.0
SAVE_RESERVE_S = 0.5  # of the stop's time: kept for writing unsent klines to disk
_LOST = (OSError, RedisError, hiredis.HiredisError)


@dataclass(frozen=True)
class HistoryOptions:
    """`has_klines`: closed klines are kept. `spill_path` as the redis output's, and never the same file."""

    url: str = field(default="redis://localhost:6379/0", repr=False)  # it may hold the password
    has_klines: bool = True
    max_len: int = MAX_LEN
    spill_path: Path | None = None
    raw_limit: int = RAW_LIMIT
    raw_limit_bytes: int = RAW_LIMIT_BYTES
    klines_in_memory: int = MEMORY_LIMIT


class HistoryPublisher:
    """Appends from one thread of its own; an output of the manager, named `history`.

    A stream's key is the name of the channel that carries the same. `add_raw(stream, payload)` may be called by
    any thread at any time and never blocks.
    """

    name = "history"

    def __init__(self, options: HistoryOptions) -> None:
        self._options = options
        self._bell = Bell()
        self._raw = RawQueue(options.raw_limit, options.raw_limit_bytes, self._bell)
        self.add_raw: Callable[[bytes | str, bytes], None] = self._raw.put
        self._inbox: deque[Envelope] = deque()  # emptied several times a second; the backlog has the bound
        self._backlog = KlineBacklog(options.spill_path, options.klines_in_memory)
        self._packer = StreamPacker(options.max_len)
        self._news = SinkNews(self.name)
        self._brake = RateLimit()
        self._link: RedisLink | None = None
        self._reader = hiredis.Reader()
        self._backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_CAP_S)
        self._thread = threading.Thread(target=self._run, name="consumer-history", daemon=True)
        self._stopping = threading.Event()
        self._stop_at_s = float("inf")
        self._klines_not_before_s = 0.0
        self._there: set[bytes] | None = None  # what of the klines to be sent Redis may have; None: to be asked
        self._delivered = self._klines = self._lost = self._refused = self._already = 0

    # -- any thread ------------------------------------------------------------------------------------

    def offer(self, envelope: Envelope) -> None:
        """Take one envelope; never blocks. What is not klines has no history."""
        if envelope.data_type == "klines" and self._options.has_klines:
            self._inbox.append(envelope)
            if self._bell.asleep:
                self._bell.ring()

    def start(self) -> None:
        """Start the thread; connecting goes on there until it succeeds."""
        self._thread.start()

    def begin_stop(self, deadline_s: float) -> None:
        """Ask the thread to send what is waiting, save what it cannot send, and end before `deadline_s`."""
        self._stop_at_s = deadline_s - SAVE_RESERVE_S
        self._stopping.set()
        self._bell.ring()

    def join(self, deadline_s: float) -> bool:
        """Wait for the end of the thread; False if `deadline_s` (monotonic) came first."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline_s - time.monotonic()))
        return not self._thread.is_alive()

    def tell_changes(self, tell: Callable[..., object]) -> None:
        """Have `tell("sink_down" | "sink_up", **fields)` called on the thread when Redis refuses and takes again."""
        self._news.tell = tell

    def stats(self) -> ConsumerStats:
        """Count messages; `dropped` is every raw one not known to have arrived, `errors` what Redis refused."""
        backlog = self._backlog
        waiting = len(self._inbox) + len(backlog)
        return ConsumerStats(
            queued=len(self._raw.waiting) + waiting,
            delivered=self._delivered,
            dropped=self._raw.dropped + self._lost,
            errors=self._refused,
            extra={
                "connected": float(self._link is not None),
                "klines_delivered": self._klines,
                "klines_waiting": waiting,
                "klines_on_disk": backlog.on_disk,
                "klines_expired": backlog.expired,
                "klines_dropped": backlog.dropped,
                "klines_there_already": self._already,
                "spill_errors": backlog.spill_errors,
            },
        )

    # -- consumer-history thread -----------------------------------------------------------------------

    def _run(self) -> None:
        self._backlog.load()
        while not self._is_over():
            try:
                if self._link is None:
                    self._connect()
                elif not self._turn(self._link):
                    break
            except _LOST as error:
                self._lose(error)
            except Exception as error:  # the thread's outermost loop
                log.error("history_failed", exc_info=True)
                self._lose(error)
        self._finish()

    def _is_over(self) -> bool:
        if not self._stopping.is_set():
            return False
        # A stop while Redis is away gets no more attempts than the one under way.
        return time.monotonic() >= self._stop_at_s or (self._link is None and self._backoff.attempts > 0)

    def _connect(self) -> None:
        self._backoff.attempts += 1
        link = RedisLink(self._options.url)
        try:
            link.open()
        except _LOST:
            link.close()
            raise
        self._link, self._reader, self._there = link, hiredis.Reader(), None

    def _turn(self, link: RedisLink) -> bool:
        """Send klines, then raw payloads, then sleep; False when stopping and nothing can be sent any more."""
        self._absorb()
        sent = self._send_klines(link) + self._send_raw(link)
        if sent:
            return True
        if self._stopping.is_set():
            return len(self._backlog) > 0 and self._wait_step(link)
        self._bell.listen()
        if not (self._raw.waiting or self._inbox):
            self._bell.sleep(self._idle_s())
        link.read()  # a closed connection is seen here
        return True

    def _send_klines(self, link: RedisLink) -> int:
        """Send one batch, all of it or nothing."""
        if not len(self._backlog) or time.monotonic() < self._klines_not_before_s:
            return 0
        batch = self._take_batch()
        try:
            todo = batch[self._known_of(link, batch) :]
            refusal = refusal_of(self._ask(link, self._packer.transaction(todo))) if todo else None
        except Exception:
            self._backlog.put_back(batch)
            raise
        if refusal is not None:
            self._backlog.put_back(batch)
            self._refuse(refusal, len(todo))
            self._klines_not_before_s = time.monotonic() + REFUSED_PAUSE_S
            return 0
        self._already += len(batch) - len(todo)
        self._klines += sum(item.klines for item in batch)
        self._succeed(len(batch))
        return len(batch)

    def _known_of(self, link: RedisLink, batch: list[Waiting]) -> int:
        """How many of the batch the stream has: asked once per connection, for a lost reply or an earlier run."""
        if self._there is None:
            (reply,) = self._ask(link, [newest(batch[0].channel, NEWEST)])
            self._there = payloads_of(reply)
        known = sent_before(batch, self._there)
        if known < len(batch):
            self._there = set()  # what comes now is news
        return known

    def _send_raw(self, link: RedisLink) -> int:
        commands, size = self._packer.take(self._raw.waiting, BATCH_BYTES)
        if not commands:
            return 0
        self._raw.taken(size)
        self._lost += len(commands)  # until the replies say otherwise
        replies = self._ask(link, commands)
        refused = [reply for reply in replies if isinstance(reply, hiredis.ReplyError)]
        taken = len(replies) - len(refused)
        self._lost -= taken
        if refused:
            self._refuse(refused[0], len(refused))
        if taken:
            self._succeed(taken, is_whole=not refused)
        return len(commands)

    def _ask(self, link: RedisLink, commands: list[bytes]) -> list[Any]:
        """Send and wait for every reply; raises LinkClosedError where they do not come."""
        link.write(b"".join(commands))
        replies: list[Any] = []
        heard_s = time.monotonic()
        while len(replies) < len(commands):
            link.wait(REPLY_LOOK_S)
            link.flush()
            if data := link.read():
                heard_s = time.monotonic()
                self._reader.feed(data)
                while (reply := self._reader.gets()) is not False:
                    replies.append(reply)
            elif time.monotonic() > min(heard_s + REPLY_DEADLINE_S, self._stop_at_s):
                raise LinkClosedError("no reply in time")
        return replies

    def _succeed(self, count: int, *, is_whole: bool = True) -> None:
        self._delivered += count
        self._backoff.attempts = 0
        if is_whole:
            self._news.works(self.stats().dropped)

    def _refuse(self, error: Exception, count: int) -> None:
        self._refused += count
        self._note("history_refused", error)

    def _note(self, event: str, error: Exception) -> None:
        now_s = time.monotonic()
        self._news.failed(error, self.stats().dropped, now_s, lasting_s=0.0)
        held = self._brake.pass_(f"{event} {str(error).split(' ', 1)[0]}", now_s)
        if held is not None:
            log.error(event, error=str(error), error_type=type(error).__name__, held_back=held)

    def _take_batch(self) -> list[Waiting]:
        batch: list[Waiting] = []
        size, now_ms = 0, _now_ms()
        while len(batch) < BATCH_MESSAGES and size < BATCH_BYTES and (item := self._backlog.take(now_ms)):
            batch.append(item)
            size += len(item.payload)
        return batch

    def _absorb(self) -> None:
        now_ms = _now_ms()
        while self._inbox:
            envelope = self._inbox.popleft()
            self._backlog.append(Waiting(now_ms, len(envelope.data), klines_channel(envelope.exchange), envelope.json))

    def _idle_s(self) -> float:
        """How long to sleep: until refused klines are due, or a look at the connection is."""
        if not len(self._backlog):
            return IDLE_LOOK_S
        return min(IDLE_LOOK_S, max(0.001, self._klines_not_before_s - time.monotonic()))

    def _wait_step(self, link: RedisLink) -> bool:
        """Stopping, and klines were refused a moment ago: wait for the next try, within the stop's time."""
        link.wait(REPLY_LOOK_S)
        return True

    def _lose(self, error: Exception) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        self._note("history_down", error)
        until_s = min(time.monotonic() + self._backoff.delay_s(), self._stop_at_s)
        self._absorb()
        while (left_s := until_s - time.monotonic()) > 0 and not self._stopping.is_set():
            self._stopping.wait(min(left_s, AWAY_STEP_S))
            self._absorb()

    def _finish(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        self._absorb()
        self._lost += len(self._raw.waiting)
        waiting = len(self._backlog)
        lost = self._backlog.save()
        if waiting:
            log.warning("history_stopped_unsent", kline_messages_kept=waiting, klines_lost=lost)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
