"""Klines on their way to Redis: envelopes from any thread, messages that wait, commands that wait for their reply.

`offer` is for any thread; the rest belongs to the output's own thread, settling replies to the connection's owner. A
kline is never dropped while there is room for it, and is sent again until Redis confirmed it.
"""

from collections import deque
from collections.abc import Callable, Iterable

from consumers.redis.backlog import KlineBacklog, Waiting
from consumers.redis.channels import klines_channel
from consumers.redis.checkpoint.entries import NOTHING_NOTED
from consumers.redis.checkpoint.store import PublishedMemory
from consumers.redis.inflight import Answered, Flown, InFlight
from consumers.redis.protocol import Packer
from model.envelope import Envelope

Parts = Callable[[str, Envelope], Iterable[tuple[str, Envelope]]]
REFUSED_PAUSE_S = 1.0  # klines that Redis refused are tried again after this pause


def whole(channel: str, envelope: Envelope) -> Iterable[tuple[str, Envelope]]:
    """Send an envelope as one message."""
    return ((channel, envelope),)


class KlineInbox:
    """An inbox that any thread fills, and the backlog that the output's thread empties it into.

    `parts(channel, envelope)` says as which messages an envelope goes; a main key gets it whole, before.
    """

    def __init__(self, backlog: KlineBacklog, main_key: str | None = None, parts: Parts = whole) -> None:
        self.backlog = backlog
        self._main_key, self._parts = main_key, parts
        self._inbox: deque[Envelope] = deque()  # emptied several times a second; the backlog has the bound

    def __len__(self) -> int:
        return len(self._inbox) + len(self.backlog)

    @property
    def has_new(self) -> bool:
        """Say whether `absorb` has something to do."""
        return bool(self._inbox)

    def offer(self, envelope: Envelope) -> None:
        """Take one envelope of klines; any thread."""
        self._inbox.append(envelope)

    def absorb(self, now_ms: int) -> None:
        """Move what came to the backlog."""
        while self._inbox:
            envelope = self._inbox.popleft()
            if self._main_key:  # counted as klines once, though sent twice
                self.backlog.append(Waiting(now_ms, 0, self._main_key, envelope.json))
            for channel, part in self._parts(klines_channel(envelope.exchange), envelope):
                self.backlog.append(Waiting(now_ms, len(part.data), channel, part.json))


class KlineLane(KlineInbox):
    """An inbox with the way on: `memory` is told what was written and what became of it."""

    def __init__(self, backlog: KlineBacklog, main_key: str | None, memory: PublishedMemory) -> None:
        super().__init__(backlog, main_key)
        self._memory = memory
        self._pause_until_s = 0.0

    def is_due(self, now_s: float) -> bool:
        """Say whether something is to be sent now."""
        return len(self) > 0 and now_s >= self._pause_until_s

    def hold(self, until_s: float) -> None:
        """Send nothing before `until_s` (monotonic)."""
        self._pause_until_s = max(self._pause_until_s, until_s)

    def take(self, packer: Packer, flight: InFlight, limit_bytes: int, now_ms: int) -> tuple[list[bytes], int]:
        """Take commands out, oldest first, up to `limit_bytes` of payload, and note them as in flight."""
        commands: list[bytes] = []
        size = 0
        self.absorb(now_ms)
        while size < limit_bytes and (item := self.backlog.take(now_ms)):
            commands.append(packer.pack((item.channel, item.payload)))
            size += len(item.payload)
            noted = self._memory.note(item.payload) if item.klines else NOTHING_NOTED  # once, not for the main key too
            flight.add_kline(item, noted)
            if command := self._memory.command(noted):
                commands.append(command)
                flight.add_apart()
        return commands, size

    def settle(self, answered: Answered, now_s: float) -> None:
        """Remember what was published; put back what Redis refused, for another try after a pause."""
        for flown in answered.taken:
            self._memory.confirm(flown.noted)
        for flown in answered.refused:
            self._memory.refuse(flown.noted)
        if answered.refused:
            self.backlog.put_back([flown.item for flown in answered.refused])
            self._pause_until_s = now_s + REFUSED_PAUSE_S

    def put_back(self, lost: list[Flown]) -> None:
        """Take back what has no reply and will have none."""
        self.backlog.put_back([flown.item for flown in lost])
        for flown in lost:
            self._memory.lose(flown.noted)
