"""The Redis publisher: raw payloads and envelopes, one connection, one thread (`consumer-redis`).

Stream threads hand payloads over without waiting; what is waiting leaves in one write, one message or a thousand, by
this thread or, while it sleeps, by the one that reads the sockets. While Redis is away raw payloads drop oldest,
klines wait and arrive in order. Stores nothing.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import hiredis
import structlog
from redis.exceptions import RedisError

from consumers.backlog import MEMORY_LIMIT, KlineBacklog, waiting_in_file
from consumers.backoff import Backoff
from consumers.disk_thread import DiskThread
from consumers.envelope import Envelope
from consumers.flight import InFlight
from consumers.kline_lane import KlineLane
from consumers.last_published import Key, LastPublished
from consumers.outages import Outages
from consumers.published import PublishedMemory, PublishedOptions
from consumers.published_load import load_published, sent_from_file, with_waiting
from consumers.published_recent import Recent, load_recent
from consumers.raw_queue import Bell, RawQueue
from consumers.redis_link import LinkClosedError, RedisLink
from consumers.resp import Packer, ReplyReader
from consumers.stats import ConsumerStats

log = structlog.get_logger()

RAW_LIMIT = 200_000  # messages: 10 s of the busiest measured market
RAW_LIMIT_BYTES = 128 * 1024 * 1024  # what waiting payloads may cost in memory
WRITE_BYTES = 512 * 1024  # per write: large enough to be cheap, small enough for the kernel to take at once
IN_FLIGHT_LIMIT = 20_000  # messages without a reply: what a lost connection may cost, and several writes deep
REPLY_DEADLINE_S = 10.0  # no reply for so long while some are due: the connection is dead
FIRST_LOOK_S = 0.001  # the same for a connection's first reply, which the memory of what was published waits for
REPLY_LOOK_S = 0.02  # idle, replies due: how often to look; a wake-up per reply would double the cost
READ_EVERY = 64  # messages without a reply before the next read: a read per message doubles the cost
IDLE_LOOK_S = 0.5  # idle, nothing due: how often to look whether the server closed the connection
BACKOFF_FIRST_S, BACKOFF_CAP_S = 0.1, 5.0  # between attempts, doubled each time, with full jitter
AUDIENCE_S = 2.0  # after an outage klines wait for subscribers to be back too: Pub/Sub keeps nothing for them
AWAY_STEP_S = 0.2  # while Redis is away: how often envelopes are moved to the backlog
SAVE_RESERVE_S = 0.5  # of the stop's time: kept for writing unsent klines to disk
_LOST = (OSError, RedisError, hiredis.HiredisError)


@dataclass(frozen=True)
class RedisOptions:
    """`url` as redis-py reads it (redis, rediss, unix); `main_key` also gets every envelope.

    `spill_path` is where klines wait that memory cannot hold, and those a stop left unsent; give every
    collector its own. None keeps them in memory only. `published` is where the last published klines are
    remembered; None is nowhere. `cluster`: whether `url` is of a cluster, and what has a slot of its own there.
    """

    url: str = field(default="redis://localhost:6379/0", repr=False)  # it may hold the password
    main_key: str | None = None
    spill_path: Path | None = None
    raw_limit: int = RAW_LIMIT
    raw_limit_bytes: int = RAW_LIMIT_BYTES
    klines_in_memory: int = MEMORY_LIMIT
    published: PublishedOptions | None = None
    cluster: Literal["off", "kind", "symbol"] = "off"


class RedisPublisher:
    """Publishes from one thread of its own; an output of the manager, named `redis`.

    `publish_raw(channel, payload)` may be called by any thread at any time, before `start` and while Redis is
    away, and never blocks.
    """

    name = "redis"

    def __init__(self, options: RedisOptions) -> None:
        self._options = options
        self._bell = Bell()
        self._raw = RawQueue(options.raw_limit, options.raw_limit_bytes, self._bell)
        self.publish_raw: Callable[[bytes | str, bytes], None] = self._raw.put
        self._backlog = KlineBacklog(options.spill_path, options.klines_in_memory)
        self._disk = DiskThread("redis-files")
        self._memory = PublishedMemory(options.published, self._disk)
        self.recent: Recent = []  # the newest klines of an earlier run, and its incomplete ones; `load_published` reads
        self._klines = KlineLane(self._backlog, options.main_key, self._memory)
        self._flight = InFlight()
        self._packer = Packer()
        self._replies = ReplyReader()
        self._link: RedisLink | None = None
        self._outages = Outages()
        self._backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_CAP_S)
        self._thread = threading.Thread(target=self._run, name="consumer-redis", daemon=True)
        self._turns = threading.Lock()  # the connection belongs to who holds it: the thread, but while it sleeps
        self._broken: Exception | None = None  # what another thread met, for this one to deal with
        self._stopping = threading.Event()
        self._stop_at_s = float("inf")
        self._opened_s = self._progress_s = self._emptied_s = self._looked_s = 0.0
        self._lost_in_flight = self._receivers = 0
        self._sent_before = 0  # of the messages that an earlier run left on disk

    # -- any thread ------------------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise ValueError where the URL cannot be read, without repeating it; connects to nothing."""
        try:
            RedisLink(self._options.url)
        except (ValueError, TypeError) as error:
            raise ValueError(
                "REDIS_URL: cannot be read; allowed: redis://[user:password@]host:port/db, rediss://, unix://"
            ) from error.with_traceback(None)

    def load_published(self, markets: Iterable[str]) -> dict[Key, LastPublished]:
        """Read what an earlier run published last, or left on disk to be published first, and go on from there.

        Before `start`; blocks for seconds at most. Without it the memory begins empty, and forgets what it had.
        """
        if self._options.published is None:
            return {}
        self._memory.claim()
        known = load_published(self._options.url, self._options.published, markets, _now_ms())
        self._memory.seed(known)
        self._sent_before = sent_from_file(self._options.spill_path, known)
        recent_path = self._options.published.recent_path
        waiting = [item.payload for item in waiting_in_file(self._options.spill_path, _now_ms()) if item.klines]
        self.recent = load_recent(recent_path, waiting=waiting)
        self._memory.recent.begin(load_recent(recent_path))
        return with_waiting(known, self._options.spill_path, _now_ms())

    def start(self) -> None:
        """Start the thread; connecting goes on there until it succeeds."""
        self._emptied_s = time.monotonic()
        self._disk.start()
        self._thread.start()

    def offer(self, envelope: Envelope) -> None:
        """Take one envelope; never blocks. What is not klines goes to the main key alone, and as raw does."""
        if envelope.data_type == "klines":
            self._klines.offer(envelope)
            if self._bell.asleep:
                self._bell.ring()
        elif self._options.main_key:
            self._raw.put(self._options.main_key, envelope.json)

    def hold(self) -> None:
        """Let what is put from now on wait for `send_waiting`, instead of waking the thread for each."""
        self._bell.asleep = False

    def send_waiting(self) -> None:
        """Send the raw payloads that wait, here and now, without waiting: a wake-up less. Any thread, after `hold`."""
        is_left = True
        if self._turns.acquire(blocking=False):
            try:
                is_left = self._send_here()
            finally:
                self._turns.release()
        if not is_left:
            self._bell.listen()
        if is_left or self._has_waiting():
            self._bell.ring()

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
        """Have `tell("sink_down" | "sink_up", **fields)` called on the thread when Redis goes and comes.

        It may publish: what it hands over while Redis is away waits among the raw payloads.
        """
        self._outages.tell = tell

    @property
    def is_connected(self) -> bool:
        """Say whether there is a connection now."""
        return self._link is not None

    def stats(self) -> ConsumerStats:
        """Count messages; `dropped` is every raw message handed over that is not known to have arrived."""
        raw, backlog, flight = self._raw, self._backlog, self._flight
        queued = len(raw.waiting) + len(self._klines)
        return ConsumerStats(
            queued=queued,
            delivered=flight.delivered,
            dropped=self._dropped(),
            errors=self._outages.refused,
            lag_s=time.monotonic() - self._emptied_s if queued else 0.0,
            extra={
                "connected": float(self.is_connected),
                "in_flight": len(flight),
                "receivers": self._receivers,
                "outages": self._outages.count,
                "klines_delivered": flight.klines_delivered,
                "klines_waiting": len(self._klines),
                "klines_on_disk": backlog.on_disk,
                "klines_expired": backlog.expired,
                "klines_dropped": backlog.dropped,
                "spill_errors": backlog.spill_errors,
                "published_known": len(self._memory),
                "published_save_errors": self._memory.save_errors,
            },
        )

    def _dropped(self) -> int:
        return self._raw.dropped + self._lost_in_flight

    def _send_here(self) -> bool:
        """One turn for the sleeping thread; whether it must wake up all the same. Klines and disk are left to it."""
        link = self._link
        if link is None or self._broken is not None or self._stopping.is_set():
            return True
        try:
            self._exchange(link, with_klines=False)
        except Exception as error:  # noqa: BLE001 - the thread raises it, and deals with it
            self._broken = error
        return self._broken is not None or self._is_stuck(link)

    # -- consumer-redis thread -------------------------------------------------------------------------

    def _run(self) -> None:
        with self._turns:
            self._live()

    @contextmanager
    def _asleep(self) -> Iterator[None]:
        """Lend the connection out while this thread waits."""
        self._turns.release()
        try:
            yield
        finally:
            self._turns.acquire()

    def _live(self) -> None:
        found = self._backlog.load(self._sent_before)
        if found:
            log.info("redis_unsent_klines_found", messages=found)
        while not self._is_over():
            try:
                if self._link is None:
                    self._connect()
                elif not self._turn(self._link):
                    break
            except _LOST as error:
                self._lose(error)
            except Exception as error:  # the thread's outermost loop: publishing goes on
                log.error("redis_publisher_failed", exc_info=True)
                self._lose(error)
        self._finish()

    def _is_over(self) -> bool:
        if not self._stopping.is_set():
            return False
        # A stop while Redis is away gets no more attempts than the one under way.
        return time.monotonic() >= self._stop_at_s or (self._link is None and self._backoff.attempts > 0)

    def _connect(self) -> None:
        link = RedisLink(self._options.url)
        self._backoff.attempts += 1
        try:
            link.open()
        except _LOST as error:
            link.close()
            self._outages.down(error, self._dropped(), time.monotonic())
            self._wait_away(self._backoff.delay_s())
            return
        self._link = link
        self._replies = ReplyReader()
        self._memory.connected()
        self._opened_s = self._progress_s = time.monotonic()
        if self._outages.is_down:
            self._klines.hold(self._opened_s + AUDIENCE_S)
        self._outages.up(self._dropped(), len(self._klines), self._opened_s)

    def _turn(self, link: RedisLink) -> bool:
        """Read, write, or sleep, whichever is due; False when stopping and all is confirmed."""
        if self._broken is not None:
            error, self._broken = self._broken, None
            raise error
        self._exchange(link, with_klines=True)
        is_idle = not (self._has_waiting() or len(self._flight))
        self._memory.save_if_due(time.monotonic(), _now_ms(), is_idle=is_idle)
        if self._is_stuck(link):
            with self._asleep():
                link.wait(REPLY_LOOK_S)
        elif not self._has_waiting():
            return self._rest(link)
        return True

    def _exchange(self, link: RedisLink, *, with_klines: bool) -> None:
        """Read and write as far as it goes without waiting."""
        look_s = FIRST_LOOK_S if self._memory.is_held else REPLY_LOOK_S
        if len(self._flight) >= READ_EVERY or link.has_unsent or time.monotonic() - self._looked_s > look_s:
            self._receive(link)
        if link.has_unsent:
            link.flush()
        elif len(self._flight) < IN_FLIGHT_LIMIT:
            self._write(link, with_klines=with_klines)

    def _is_stuck(self, link: RedisLink) -> bool:
        """Whether only Redis can help us on."""
        return link.has_unsent or len(self._flight) >= IN_FLIGHT_LIMIT

    def _write(self, link: RedisLink, *, with_klines: bool) -> None:
        now_s = time.monotonic()
        if not len(self._flight):
            self._progress_s = now_s
        commands: list[bytes] = []
        size = 0
        if with_klines:
            commands = self._memory.orders()
            self._flight.add_apart(len(commands))
            if self._klines.is_due(now_s):
                klines, size = self._klines.take(self._packer, self._flight, WRITE_BYTES, _now_ms())
                commands += klines
        raw, raw_size = self._packer.take(self._raw.waiting, WRITE_BYTES - size)
        if raw:
            self._raw.taken(raw_size)
            self._flight.add_raw(len(raw))
            commands += raw
        if size + raw_size < WRITE_BYTES:
            self._emptied_s = now_s
        if commands:
            link.write(b"".join(commands))

    def _receive(self, link: RedisLink) -> None:
        data = link.read()
        self._looked_s = now_s = time.monotonic()
        if not data:
            if len(self._flight) and now_s - self._progress_s > REPLY_DEADLINE_S:
                raise LinkClosedError("no reply in time")
            return
        self._progress_s = now_s
        replies = self._replies.feed(data)
        self._receivers += replies.receivers
        if replies.refused:
            self._outages.refuse(replies, now_s)
        self._klines.settle(self._flight.answer(replies), now_s)
        if self._backoff.attempts and len(replies.refused) < replies.count:
            self._backoff.attempts = 0

    def _has_waiting(self) -> bool:
        return bool(self._raw.waiting) or self._memory.has_orders or self._klines.is_due(time.monotonic())

    def _rest(self, link: RedisLink) -> bool:
        if self._stopping.is_set():
            if not len(self._flight) and not len(self._klines):
                return False
            with self._asleep():
                link.wait(REPLY_LOOK_S)
            return True
        self._bell.listen()
        if self._has_waiting():
            return True
        look_s = FIRST_LOOK_S if self._memory.is_held else REPLY_LOOK_S
        with self._asleep():
            is_rung = self._bell.sleep(look_s if len(self._flight) else IDLE_LOOK_S)
        if not is_rung and self._broken is None:
            self._receive(link)  # nobody rang: a closed connection is seen here
        return True

    def _wait_away(self, delay_s: float) -> None:
        until_s = min(time.monotonic() + delay_s, self._stop_at_s)
        self._klines.absorb(_now_ms())
        while (left_s := until_s - time.monotonic()) > 0 and not self._stopping.is_set():
            with self._asleep():
                self._stopping.wait(min(left_s, AWAY_STEP_S))
            self._klines.absorb(_now_ms())

    def _lose(self, error: Exception) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        raw, klines = self._flight.lose()
        self._outages.down(error, self._dropped(), time.monotonic())
        self._lost_in_flight += raw
        self._klines.put_back(klines)
        self._memory.save_if_due(time.monotonic(), _now_ms())
        if time.monotonic() - self._opened_s > BACKOFF_CAP_S:
            self._backoff.attempts = 0
        self._wait_away(self._backoff.delay_s())

    def _finish(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        raw, klines = self._flight.lose()
        self._lost_in_flight += raw + len(self._raw.waiting)
        self._klines.put_back(klines)
        self._klines.absorb(_now_ms())
        self._memory.save()
        self._memory.file.release()
        waiting = len(self._backlog)
        lost = self._backlog.save()
        if waiting or raw:
            log.warning("redis_stopped_unsent", kline_messages_kept=waiting, klines_lost=lost, raw_in_flight=raw)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
