"""Klines on their way to Redis: envelopes from any thread, messages that wait, commands that wait for their reply.

`offer` is for any thread; `settle` is the connection owner's, the rest the output's own thread's. A kline is never
dropped while it fits into memory or on disk, and is sent again until Redis confirmed it.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Any

from consumers.redis.backlog import KlineBacklog, QueuedMessage
from consumers.redis.channels import klines_channel, symbol_channel
from consumers.redis.checkpoint.store import NO_UPDATE, KlineCheckpoint
from consumers.redis.inflight import Acked, InFlightQueue, Sent
from consumers.redis.options import REFUSED_PAUSE_S
from consumers.redis.protocol import Packer
from model.envelope import Envelope


class KlineQueue:
    """A queue that any thread fills, and the backlog that the output's thread moves its envelopes to.

    A main key gets every envelope whole, before its channels do; `is_per_symbol`: each symbol has a channel.
    """

    def __init__(self, backlog: KlineBacklog, main_key: str | None = None, *, is_per_symbol: bool = False) -> None:
        self.backlog = backlog
        self._main_key, self._is_per_symbol = main_key, is_per_symbol
        self.new: deque[Envelope] = deque()  # not in the backlog yet, which has the bound: for a moment only

    def __len__(self) -> int:
        return len(self.new) + len(self.backlog)

    def offer(self, envelope: Envelope) -> None:
        """Take one envelope of klines; any thread."""
        self.new.append(envelope)

    def move_to_backlog(self, now_ms: int) -> None:
        """Make messages of the envelopes that came."""
        while self.new:
            envelope = self.new.popleft()
            if self._main_key:  # counted as klines once, though sent twice
                self.backlog.append(QueuedMessage(now_ms, 0, self._main_key, envelope.json))
            channel = klines_channel(envelope.exchange)
            parts = _per_symbol(channel, envelope) if self._is_per_symbol else [(channel, envelope)]
            for channel, part in parts:
                self.backlog.append(QueuedMessage(now_ms, len(part.data), channel, part.json))


class KlineSender(KlineQueue):
    """The queue of the publisher to one server; each message that it sends is staged in the `checkpoint`."""

    def __init__(
        self,
        backlog: KlineBacklog,
        main_key: str | None,
        checkpoint: KlineCheckpoint,
        refused_pause_s: float = REFUSED_PAUSE_S,
    ) -> None:
        super().__init__(backlog, main_key)
        self._checkpoint, self._refused_pause_s = checkpoint, refused_pause_s
        self._pause_until_s = 0.0

    def is_due(self, now_s: float) -> bool:
        """Whether something is to be sent now."""
        return self.due_in_s(now_s) <= 0

    def due_in_s(self, now_s: float) -> float:
        """How long until something is to be sent; infinity where nothing waits."""
        return max(0.0, self._pause_until_s - now_s) if self.new or len(self.backlog) else float("inf")

    def pause(self, until_s: float) -> None:
        """Send nothing before `until_s` (monotonic)."""
        self._pause_until_s = max(self._pause_until_s, until_s)

    def take(self, packer: Packer, in_flight: InFlightQueue, limit_bytes: int, now_ms: int) -> tuple[list[bytes], int]:
        """Take commands out, oldest first, up to `limit_bytes` of payload, and record them as in flight."""
        commands: list[bytes] = []
        size = 0
        self.move_to_backlog(now_ms)
        while size < limit_bytes and (message := self.backlog.take(now_ms)):
            commands.append(packer.pack((message.channel, message.payload)))
            size += len(message.payload)
            # Staged once, not for the main key too.
            update = self._checkpoint.stage(message.payload) if message.klines else NO_UPDATE
            in_flight.add_kline(message, update)
            if command := self._checkpoint.command(update):
                commands.append(command)
                in_flight.add_commands()
        return commands, size

    def settle(self, acked: Acked, now_s: float) -> None:
        """Confirm what was published; put back what Redis refused, to be sent again after a pause."""
        for sent in acked.taken:
            self._checkpoint.confirm(sent.update)
        for sent in acked.refused:
            self._checkpoint.refuse(sent.update)
        if acked.refused:
            self.backlog.put_back([sent.message for sent in acked.refused])
            self._pause_until_s = now_s + self._refused_pause_s

    def put_back(self, lost: list[Sent]) -> None:
        """Take back what has no reply and will have none."""
        self.backlog.put_back([sent.message for sent in lost])
        for sent in lost:
            self._checkpoint.lose(sent.update)


def _per_symbol(channel: str, envelope: Envelope) -> Iterable[tuple[str, Envelope]]:
    """Split an envelope into one per symbol, each with its channel."""
    by_symbol: dict[str, list[Any]] = defaultdict(list)
    for kline in envelope.data:
        by_symbol[kline.symbol].append(kline)
    for symbol, klines in by_symbol.items():
        part = Envelope(envelope.exchange, envelope.channel, envelope.data_type, tuple(klines))
        yield symbol_channel(channel, symbol), part
