"""What was written to Redis and has no reply yet.

Pure; `consumer-redis` thread only. Replies come in the order of the commands, so a message is known by
its number on the connection.
"""

from collections import deque

from consumers.backlog import Waiting
from consumers.resp import Replies


class InFlight:
    """The ledger of one connection after another: raw messages as a number, klines one by one."""

    def __init__(self) -> None:
        self._written = 0
        self._answered = 0
        self._klines: deque[tuple[int, Waiting]] = deque()
        self.delivered = 0
        self.klines_delivered = 0

    def __len__(self) -> int:
        return self._written - self._answered

    def add_raw(self, count: int) -> None:
        """Note that `count` raw messages were written."""
        self._written += count

    def add_kline(self, item: Waiting) -> None:
        """Note that one kline message was written."""
        self._klines.append((self._written, item))
        self._written += 1

    def answer(self, replies: Replies) -> list[Waiting]:
        """Settle what `replies` answer; returns the klines that were refused, in their order."""
        refused = {self._answered + position for position, _ in replies.refused}
        self._answered += replies.count
        self.delivered += replies.count - len(refused)
        back = []
        while self._klines and self._klines[0][0] < self._answered:
            number, item = self._klines.popleft()
            if number in refused:
                back.append(item)
            else:
                self.klines_delivered += item.klines
        return back

    def lose(self) -> tuple[int, list[Waiting]]:
        """Give up the connection: the number of raw messages without a reply, and the klines without one."""
        klines = [item for _, item in self._klines]
        raw = len(self) - len(klines)
        self._klines.clear()
        self._written = self._answered = 0
        return raw, klines
