"""The way of klines to Redis: never dropped while there is room, sent again until confirmed.

`offer` may be called by any thread; the rest is the `consumer-redis` thread's.
"""

from consumers.redis.backlog import KlineBacklog
from consumers.redis.checkpoint.entries import NOTHING_NOTED
from consumers.redis.checkpoint.store import PublishedMemory
from consumers.redis.inflight import Answered, Flown, InFlight
from consumers.redis.kline_queue import KlineInbox
from consumers.redis.protocol import Packer

REFUSED_PAUSE_S = 1.0  # klines that Redis refused are tried again after this pause


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
