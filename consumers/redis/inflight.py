"""The messages that were written to Redis and have no reply yet.

Pure; belongs to the connection's owner. Replies come in the order of the commands, so a message is identified by its
number on the connection.
"""

from collections import deque
from typing import NamedTuple

from consumers.redis.backlog import QueuedMessage
from consumers.redis.checkpoint.store import NO_UPDATE, PendingUpdate
from consumers.redis.protocol import Replies


class Sent(NamedTuple):
    """A kline message that was written, and the update of the checkpoint that its reply settles."""

    message: QueuedMessage
    update: PendingUpdate


class Acked(NamedTuple):
    """Kline messages that replies settled, each list in its order."""

    taken: list[Sent]
    refused: list[Sent]


class InFlightQueue:
    """Messages in flight, of one connection after another: raw messages as a number, klines one by one."""

    def __init__(self) -> None:
        self.count = 0  # an attribute, for it is looked at with every write
        self._answered = 0  # a message's number on its connection is this and `count` when it is written
        self._klines: deque[tuple[int, Sent]] = deque()
        self._commands: deque[int] = deque()
        self.delivered = 0
        self.klines_delivered = 0
        self.receivers = 0

    @property
    def has_klines(self) -> bool:
        """Whether a message of klines has no reply yet."""
        return bool(self._klines)

    def add_raw(self, count: int) -> None:
        """Count `count` raw messages as written."""
        self.count += count

    def add_kline(self, message: QueuedMessage, update: PendingUpdate = NO_UPDATE) -> None:
        """Record one kline message as written."""
        self._klines.append((self._answered + self.count, Sent(message, update)))
        self.add_raw(1)

    def add_commands(self, count: int = 1) -> None:
        """Count `count` commands as written that are no messages, whatever their replies."""
        first = self._answered + self.count
        self._commands.extend(range(first, first + count))
        self.add_raw(count)

    def acknowledge(self, replies: Replies) -> Acked:
        """Settle the messages that `replies` answer."""
        refused = {self._answered + position for position, _ in replies.refused}
        self._answered += replies.count
        self.count -= replies.count
        self.receivers += replies.receivers
        self.delivered += replies.count - len(refused | self._answered_commands())
        acked = Acked([], [])
        while self._klines and self._klines[0][0] < self._answered:
            number, sent = self._klines.popleft()
            if number in refused:
                acked.refused.append(sent)
            else:
                acked.taken.append(sent)
                self.klines_delivered += sent.message.klines
        return acked

    def lose(self) -> tuple[int, list[Sent]]:
        """Give up the connection: the number of raw messages without a reply, and the klines without one."""
        klines = [sent for _, sent in self._klines]
        raw = self.count - len(klines) - len(self._commands)
        self._klines.clear()
        self._commands.clear()
        self.count = self._answered = 0
        return raw, klines

    def _answered_commands(self) -> set[int]:
        numbers = set()
        while self._commands and self._commands[0] < self._answered:
            numbers.add(self._commands.popleft())
        return numbers
