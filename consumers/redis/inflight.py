"""What was written to Redis and has no reply yet.

Pure; `consumer-redis` thread only. Replies come in the order of the commands, so a message is known by
its number on the connection.
"""

from collections import deque
from typing import NamedTuple

from consumers.redis.backlog import Waiting
from consumers.redis.checkpoint.entries import NOTHING_NOTED, Noted
from consumers.redis.protocol import Replies


class Flown(NamedTuple):
    """A kline message that was written, and what it tells the memory of what was published."""

    item: Waiting
    noted: Noted


class Answered(NamedTuple):
    """Kline messages that replies settled, each list in its order."""

    taken: list[Flown]
    refused: list[Flown]


class InFlight:
    """The ledger of one connection after another: raw messages as a number, klines one by one."""

    def __init__(self) -> None:
        self._written = 0
        self._answered = 0
        self._klines: deque[tuple[int, Flown]] = deque()
        self._apart: deque[int] = deque()
        self.delivered = 0
        self.klines_delivered = 0
        self.receivers = 0

    def __len__(self) -> int:
        return self._written - self._answered

    def add_raw(self, count: int) -> None:
        """Note that `count` raw messages were written."""
        self._written += count

    def add_kline(self, item: Waiting, noted: Noted = NOTHING_NOTED) -> None:
        """Note that one kline message was written."""
        self._klines.append((self._written, Flown(item, noted)))
        self._written += 1

    def add_apart(self, count: int = 1) -> None:
        """Note that `count` commands were written that are no messages, whatever their replies."""
        self._apart.extend(range(self._written, self._written + count))
        self._written += count

    def answer(self, replies: Replies) -> Answered:
        """Settle what `replies` answer."""
        refused = {self._answered + position for position, _ in replies.refused}
        self._answered += replies.count
        self.receivers += replies.receivers
        self.delivered += replies.count - len(refused | self._answered_apart())
        answered = Answered([], [])
        while self._klines and self._klines[0][0] < self._answered:
            number, flown = self._klines.popleft()
            if number in refused:
                answered.refused.append(flown)
            else:
                answered.taken.append(flown)
                self.klines_delivered += flown.item.klines
        return answered

    def lose(self) -> tuple[int, list[Flown]]:
        """Give up the connection: the number of raw messages without a reply, and the klines without one."""
        klines = [flown for _, flown in self._klines]
        raw = len(self) - len(klines) - len(self._apart)
        self._klines.clear()
        self._apart.clear()
        self._written = self._answered = 0
        return raw, klines

    def _answered_apart(self) -> set[int]:
        numbers = set()
        while self._apart and self._apart[0] < self._answered:
            numbers.add(self._apart.popleft())
        return numbers
