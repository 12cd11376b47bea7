"""One connection of the redis publisher: what waits is written in bulk, and the replies are accounted for.

Belongs to who has the publisher's turn, its thread or one that reads sockets. Never waits, but in `wait`.
"""

import time
from dataclasses import dataclass, field

from consumers.redis.checkpoint.store import PublishedMemory
from consumers.redis.connection import LinkClosedError, RedisLink
from consumers.redis.inflight import InFlight
from consumers.redis.kline_queue import KlineLane
from consumers.redis.outages import Outages
from consumers.redis.protocol import Packer, ReplyReader
from consumers.redis.raw_queue import RawQueue
from model.clock import now_ms
from model.pacing import Backoff

WRITE_BYTES = 512 * 1024  # per write: large enough to be cheap, small enough for the kernel to take at once
IN_FLIGHT_LIMIT = 20_000  # messages without a reply: what a lost connection may cost, and several writes deep
REPLY_DEADLINE_S = 10.0  # no reply for so long while some are due: the connection is dead
FIRST_LOOK_S = 0.001  # the same for a connection's first reply, which the memory of what was published waits for
REPLY_LOOK_S = 0.02  # idle, replies due: how often to look; a wake-up per reply would double the cost
READ_EVERY = 64  # messages without a reply before the next read: a read per message doubles the cost


@dataclass
class Traffic:
    """What outlives a connection: what is to be sent, and the account of what was."""

    raw: RawQueue
    klines: KlineLane
    memory: PublishedMemory
    outages: Outages
    backoff: Backoff  # ends with the first message that Redis took
    flight: InFlight = field(default_factory=InFlight)
    packer: Packer = field(default_factory=Packer)
    emptied_s: float = 0.0  # when (monotonic) the last write left nothing waiting


class Session:
    """From a connection's handshake to its loss. Every method but `close` may raise what says that it is lost."""

    def __init__(self, link: RedisLink, traffic: Traffic) -> None:
        self._link, self._traffic = link, traffic
        self._raw, self._klines, self._memory = traffic.raw, traffic.klines, traffic.memory
        self._flight, self._packer = traffic.flight, traffic.packer
        self._replies = ReplyReader()
        self.opened_s = self._progress_s = time.monotonic()
        self._looked_s = 0.0

    def exchange(self, *, with_klines: bool) -> None:
        """Read and write as far as it goes without waiting."""
        link, flight = self._link, self._flight
        if len(flight) >= READ_EVERY or link.unsent or time.monotonic() - self._looked_s > self.look_s:
            self.receive()
        if link.unsent:
            link.flush()
        elif len(flight) < IN_FLIGHT_LIMIT:
            self._write(with_klines=with_klines)

    def receive(self) -> None:
        """Account for the replies that have come."""
        data = self._link.read()
        self._looked_s = now_s = time.monotonic()
        replies = self._replies.feed(data) if data else None
        if replies is None or not replies.count:  # bytes of a reply that does not end are no progress
            if len(self._flight) and now_s - self._progress_s > REPLY_DEADLINE_S:
                raise LinkClosedError("no reply in time")
            return
        if replies.count > len(self._flight):
            raise LinkClosedError("more replies than commands: what answers is no Redis")
        self._progress_s = now_s
        if replies.refused:
            self._traffic.outages.refuse(replies, now_s)
        self._klines.settle(self._flight.answer(replies), now_s)
        backoff = self._traffic.backoff
        if backoff.attempts and len(replies.refused) < replies.count:
            backoff.attempts = 0

    @property
    def is_stuck(self) -> bool:
        """Whether only Redis can help us on."""
        return bool(self._link.unsent) or len(self._flight) >= IN_FLIGHT_LIMIT

    @property
    def has_waiting(self) -> bool:
        """Whether something is to be written now."""
        return bool(self._raw) or self._memory.has_orders or self._klines.is_due(time.monotonic())

    @property
    def look_s(self) -> float:
        """How long at most until replies are looked for."""
        return FIRST_LOOK_S if self._memory.is_held else REPLY_LOOK_S

    def wait(self) -> None:
        """Wait a moment for Redis to answer, or to take more."""
        self._link.wait(REPLY_LOOK_S)

    def close(self) -> None:
        """Close; never raises."""
        self._link.close()

    def _write(self, *, with_klines: bool) -> None:
        now_s = time.monotonic()
        if not len(self._flight):
            self._progress_s = now_s
        commands: list[bytes] = []
        size = 0
        if with_klines:
            commands = self._memory.orders()
            self._flight.add_apart(len(commands))
            if self._klines.is_due(now_s):
                klines, size = self._klines.take(self._packer, self._flight, WRITE_BYTES, now_ms())
                commands += klines
        for channel, payloads, _ in self._raw.take(WRITE_BYTES - size):
            self._flight.add_raw(len(payloads))
            commands += self._packer.pieces(channel, payloads)
        if not self._raw:
            self._traffic.emptied_s = now_s
        if commands:
            self._link.write(b"".join(commands))
