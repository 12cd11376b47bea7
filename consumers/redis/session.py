"""One connection of the redis publisher: what waits is written in bulk, and the replies are accounted for.

Belongs to the connection's owner: the publisher's thread, or one that reads sockets. Never waits, but in `wait`.
"""

import time
from dataclasses import dataclass, field

from consumers.redis.checkpoint.store import KlineCheckpoint
from consumers.redis.connection import LinkClosedError, RedisLink
from consumers.redis.inflight import InFlightQueue
from consumers.redis.kline_queue import KlineSender
from consumers.redis.protocol import Packer, Replies, ReplyReader
from consumers.redis.raw_queue import RawQueue
from model.clock import now_ms
from model.pacing import Backoff, ThrottledLogger

KLINE_BYTES = 64 * 1024  # per write: two messages, a millisecond of work, which raw payloads wait for
WRITE_BYTES = 512 * 1024  # per write: large enough to be cheap, small enough for the kernel to take at once
IN_FLIGHT_LIMIT = 20_000  # messages without a reply: what a lost connection may cost, and several writes deep
FIRST_LOOK_S = 0.001  # how often to read replies before a connection's first, which the checkpoint waits for
REPLY_LOOK_S = 0.02  # idle, replies due: how often to read them; a wake-up per reply would double the cost
READ_EVERY = 64  # messages without a reply before the next read: a read per message doubles the cost


@dataclass
class PublisherState:
    """The state that outlives a connection: messages to be sent, and the account of those sent."""

    raw: RawQueue
    klines: KlineSender
    checkpoint: KlineCheckpoint
    logger: ThrottledLogger
    backoff: Backoff  # ends with the first message that Redis took
    reply_deadline_s: float
    in_flight: InFlightQueue = field(default_factory=InFlightQueue)
    packer: Packer = field(default_factory=Packer)
    refused: int = 0  # commands that Redis answered with an error
    emptied_s: float = field(default_factory=time.monotonic)  # when the last write left nothing waiting


class Session:
    """From a connection's handshake to its loss. Every method but `close` may raise one of connection.LOST."""

    def __init__(self, link: RedisLink, state: PublisherState) -> None:
        self._link, self._state = link, state
        self._raw, self._klines, self._checkpoint = state.raw, state.klines, state.checkpoint
        self._in_flight, self._packer = state.in_flight, state.packer
        self._replies = ReplyReader()
        self.opened_s = self._progress_s = time.monotonic()
        self._look_due_s = 0.0

    def exchange(self, *, with_klines: bool) -> bool:
        """Read and write as far as is possible without waiting; whether nothing goes on before Redis does."""
        link, in_flight, now_s = self._link, self._in_flight, time.monotonic()
        if in_flight.count >= READ_EVERY or link.unsent or now_s > self._look_due_s:
            self.receive(now_s)
        if link.unsent:
            link.flush()
        elif in_flight.count < IN_FLIGHT_LIMIT:
            self._write(now_s, with_klines=with_klines)
        return bool(link.unsent) or in_flight.count >= IN_FLIGHT_LIMIT

    def receive(self, now_s: float) -> None:
        """Account for the replies that have come."""
        data = self._link.read()
        replies = self._replies.feed(data) if data else None
        if replies is not None and replies.count:
            self._settle(replies, now_s)
        elif self._in_flight.count and now_s - self._progress_s > self._state.reply_deadline_s:
            raise LinkClosedError("no reply in time")  # bytes of a reply that does not end are no progress
        self._look_due_s = now_s + self.look_s

    @property
    def has_waiting(self) -> bool:
        """Whether something is to be written now."""
        return bool(self._raw.waiting) or self._klines.is_due(time.monotonic()) or self._checkpoint.has_commands

    @property
    def look_s(self) -> float:
        """How long at most until replies are read."""
        is_awaited = self._checkpoint.awaits_first_reply and self._in_flight.has_klines
        return FIRST_LOOK_S if is_awaited else REPLY_LOOK_S

    def wait(self) -> None:
        """Wait a moment for Redis to answer, or to take more."""
        self._link.wait(REPLY_LOOK_S)

    def close(self) -> None:
        """Close; never raises."""
        self._link.close()

    def _write(self, now_s: float, *, with_klines: bool) -> None:
        if not self._in_flight.count:
            self._progress_s = now_s
        commands: list[bytes] = []
        size = 0
        if with_klines:
            commands = self._checkpoint.take_commands()
            self._in_flight.add_commands(len(commands))
            self._klines.move_to_backlog(now_ms())  # during a pause, too: what is new wakes the thread
            if self._klines.is_due(now_s):
                klines, size = self._klines.take(self._packer, self._in_flight, KLINE_BYTES, now_ms())
                commands += klines
                self._look_due_s = min(self._look_due_s, now_s + self.look_s)
        if batches := self._raw.take(WRITE_BYTES - size):
            pieces = self._packer.pieces(batches)
            self._in_flight.add_raw(len(pieces) // 2)
            commands = commands + pieces if commands else pieces
        if not self._raw.waiting:
            self._state.emptied_s = now_s
        if commands:
            self._link.write(b"".join(commands))

    def _settle(self, replies: Replies, now_s: float) -> None:
        if replies.count > self._in_flight.count:
            raise LinkClosedError("more replies than commands: what answers is no Redis")
        self._progress_s = now_s
        if replies.refused:
            self._count_refused(replies)
        self._klines.settle(self._in_flight.acknowledge(replies), now_s)
        backoff = self._state.backoff
        if backoff.attempts and len(replies.refused) < replies.count:
            backoff.attempts = 0

    def _count_refused(self, replies: Replies) -> None:
        count, reason = len(replies.refused), replies.refused[0][1]
        self._state.refused += count
        self._state.logger.error("redis_refused", key=reason.split(" ", 1)[0], reply=reason, messages=count)
