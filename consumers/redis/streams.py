"""Klines, and raw payloads by choice, appended to Redis Streams: what a subscriber that was away reads to catch up.

Thread `consumer-history`, with a connection of its own: a Redis that refuses streams costs Pub/Sub nothing. Klines
wait while Redis is away or full, on disk where they are many, and go in transactions, all of a batch or none, so that a
refusal in the middle cannot change their order; of raw payloads the oldest are dropped.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import hiredis

from consumers.health import ConsumerStats
from consumers.redis.backlog import QueuedMessage
from consumers.redis.connection import MAX_REPLY_BYTES, LinkClosedError, RedisLink
from consumers.redis.kline_queue import KlineQueue
from consumers.redis.options import RedisStreamsOptions
from consumers.redis.output import RedisOutput
from consumers.redis.protocol import Packer, resp_bulk
from model.clock import now_ms
from model.envelope import Envelope
from model.events import NO_EVENTS, EventSink

FIELD = b"data"  # of an entry: the payload, as its subscribers get it
MULTI, EXEC = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"
BATCH_MESSAGES = 500  # klines per transaction, which Redis runs without a look at its other clients
BATCH_BYTES = 512 * 1024
NEWEST = 2_000  # entries looked at on a new connection, to send none twice
REPLY_LOOK_S = 0.05
IDLE_LOOK_S = 0.5  # idle: how often to look whether the server closed the connection


class RedisStreamsWriter(RedisOutput):
    """Appends from one thread of its own; an output of the manager, named `history`.

    A stream's key is the name of the channel that carries the same. `add_raw(stream, payloads)` may be called by
    any thread at any time and never blocks.
    """

    name = "history"

    def __init__(self, options: RedisStreamsOptions, events: EventSink = NO_EVENTS) -> None:
        super().__init__(options, events)
        self._options = options
        self.add_raw = self.raw.put_all
        self._klines = KlineQueue(self._backlog)
        self._packer = StreamPacker(options.max_len)
        self._link: RedisLink | None = None
        self._reader = hiredis.Reader()
        self._klines_not_before_s = 0.0
        self._stream_tail: set[bytes] | None = None  # newest payloads of the stream; None: to be read
        self._delivered = self._klines_delivered = self._refused = self._duplicates = 0

    # -- any thread ------------------------------------------------------------------------------------

    def offer(self, envelope: Envelope) -> None:
        """Take one envelope; never blocks. What is not klines is kept in no stream."""
        if envelope.data_type == "klines" and self._options.has_klines:
            self._offer_klines(envelope)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._link is not None

    def stats(self) -> ConsumerStats:
        """Count messages; `dropped` is every raw one without a reply that it arrived, `errors` what Redis refused."""
        return self._stats(
            delivered=self._delivered,
            klines_delivered=self._klines_delivered,
            errors=self._refused,
            klines_there_already=self._duplicates,
        )

    # -- consumer-history thread -----------------------------------------------------------------------

    def _step(self) -> bool:
        """Send klines, then raw payloads, then sleep; False when stopping and nothing can be sent any more."""
        link = self._link
        if link is None:
            self._connect()
            return True
        self._klines.move_to_backlog(now_ms())
        sent = self._send_klines(link) + self._send_raw(link)
        if sent:
            return True
        if self._stopping.is_set():
            if len(self._backlog):  # refused a moment ago: tried again within the stop's time
                link.wait(REPLY_LOOK_S)
            return len(self._backlog) > 0
        self.wake.arm()
        if not self._has_new:
            self.wake.wait(self._idle_s())
        link.read()  # a closed connection is seen here
        return True

    def _connect(self) -> None:
        self._backoff.attempts += 1
        link = RedisLink(self._options.url, self._options.connect_timeout_s)
        link.open()
        self._link, self._reader, self._stream_tail = link, hiredis.Reader(), None

    def _send_klines(self, link: RedisLink) -> int:
        """Send one batch, all of it or nothing."""
        if not len(self._backlog) or time.monotonic() < self._klines_not_before_s:
            return 0
        batch = self._take_batch()
        try:
            todo = batch[self._count_duplicates(link, batch) :]
            refusal = refusal_of(self._request(link, self._packer.transaction(todo))) if todo else None
        except Exception:
            self._backlog.put_back(batch)
            raise
        if refusal is not None:
            self._backlog.put_back(batch)
            self._refuse(refusal, len(todo))
            self._klines_not_before_s = time.monotonic() + self._options.refused_pause_s
            return 0
        self._duplicates += len(batch) - len(todo)
        self._klines_delivered += sum(item.klines for item in batch)
        self._succeed(len(batch))
        return len(batch)

    def _count_duplicates(self, link: RedisLink, batch: list[QueuedMessage]) -> int:
        """How many of the batch the stream has: read once per connection, for a lost reply or an earlier run."""
        if self._stream_tail is None:
            (reply,) = self._request(link, [xrevrange(batch[0].channel, NEWEST)])
            self._stream_tail = payloads_of(reply)
        known = sent_before(batch, self._stream_tail)
        if known < len(batch):
            self._stream_tail = set()  # what comes now is new
        return known

    def _send_raw(self, link: RedisLink) -> int:
        batches = self.raw.take(BATCH_BYTES)
        commands = [self._packer.pack((channel, payload)) for channel, payloads, _ in batches for payload in payloads]
        if not commands:
            return 0
        self._lost += len(commands)  # until their replies come
        replies = self._request(link, commands)
        refused = [reply for reply in replies if isinstance(reply, hiredis.ReplyError)]
        taken = len(replies) - len(refused)
        self._lost -= taken
        if refused:
            self._refuse(refused[0], len(refused))
        if taken:
            self._succeed(taken, is_whole=not refused)
        return len(commands)

    def _request(self, link: RedisLink, commands: list[bytes]) -> list[Any]:
        """Send and wait for every reply; raises LinkClosedError where they do not come."""
        link.write(b"".join(commands))
        replies: list[Any] = []
        progress_s = time.monotonic()
        while len(replies) < len(commands):
            link.wait(REPLY_LOOK_S)
            link.flush()
            self._reader.feed(link.read())
            if self._reader.len() > MAX_REPLY_BYTES:
                raise LinkClosedError(f"a reply is larger than {MAX_REPLY_BYTES} bytes")
            while (reply := self._reader.gets()) is not False:
                replies.append(reply)
                progress_s = time.monotonic()
            if time.monotonic() > min(progress_s + self._options.reply_deadline_s, self._stop_at_s) and len(
                replies
            ) < len(commands):
                raise LinkClosedError("no reply in time")
        if len(replies) > len(commands):
            raise LinkClosedError("more replies than commands: what answers is no Redis")
        return replies

    def _succeed(self, count: int, *, is_whole: bool = True) -> None:
        self._delivered += count
        self._backoff.attempts = 0
        if is_whole:
            self.health.works(self._dropped(), time.monotonic())

    def _refuse(self, error: Exception, count: int) -> None:
        self._refused += count
        self._record_down(error)
        self._logger.error("history_refused", key=str(error).split(" ", 1)[0], reply=str(error), messages=count)

    def _take_batch(self) -> list[QueuedMessage]:
        batch: list[QueuedMessage] = []
        size, at_ms = 0, now_ms()
        while len(batch) < BATCH_MESSAGES and size < BATCH_BYTES and (item := self._backlog.take(at_ms)):
            batch.append(item)
            size += len(item.payload)
        return batch

    def _idle_s(self) -> float:
        """How long to sleep: until refused klines are due, or a look at the connection is."""
        if not len(self._backlog):
            return IDLE_LOOK_S
        return min(IDLE_LOOK_S, max(0.001, self._klines_not_before_s - time.monotonic()))

    def _close(self) -> int:
        link, self._link = self._link, None
        if link is not None:
            link.close()
        return 0  # no step leaves one in flight


class StreamPacker(Packer):
    """Writes XADD commands with an approximate MAXLEN: Redis trims whole blocks, which costs it next to nothing."""

    def __init__(self, max_len: int) -> None:
        super().__init__()
        self._max_len = b"%d" % max_len

    def command_begin(self, name: bytes) -> bytes:
        """Return one command to `name`, up to the payload's length."""
        parts = (b"XADD", name, b"MAXLEN", b"~", self._max_len, b"*", FIELD)
        return b"*8\r\n%b$" % b"".join(map(resp_bulk, parts))

    def transaction(self, items: Sequence[QueuedMessage]) -> list[bytes]:
        """Return the commands that add all items or none; each has one reply."""
        return [MULTI, *(self.pack((item.channel, item.payload)) for item in items), EXEC]


def xrevrange(stream: str, count: int) -> bytes:
    """Return the command that reads the newest entries of a stream."""
    parts = (b"XREVRANGE", stream.encode(), b"+", b"-", b"COUNT", b"%d" % count)
    return b"*%d\r\n%b" % (len(parts), b"".join(map(resp_bulk, parts)))


def payloads_of(reply: Any) -> set[bytes]:
    """The payloads of the entries that `xrevrange` brought; none where Redis refused."""
    return {fields[1] for _, fields in reply} if isinstance(reply, list) else set()


def refusal_of(replies: Iterable[Any]) -> Exception | None:
    """The first error among replies, those inside the reply to EXEC too; EXECABORT follows its cause."""
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            return reply
        if isinstance(reply, list) and (inner := refusal_of(reply)):
            return inner
    return None


def sent_before(items: Sequence[QueuedMessage], known: set[bytes]) -> int:
    """How many of the items, from the first, are in the stream already: up to the last that is in `known`."""
    return max((number for number, item in enumerate(items, 1) if item.payload in known), default=0)
