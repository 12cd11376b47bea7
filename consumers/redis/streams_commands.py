"""What the history asks of Redis, in Redis's protocol, and what the answers mean. Pure; one thread.

Klines go in transactions: all of a batch or none, so that a refusal in the middle cannot change their order.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import hiredis

from consumers.redis.backlog import Waiting
from consumers.redis.protocol import Packer

FIELD = b"data"  # of an entry: the payload, as its subscribers get it
MULTI, EXEC = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"


class StreamPacker(Packer):
    """Writes XADD commands with an approximate MAXLEN: Redis trims whole blocks, which costs it next to nothing."""

    def __init__(self, max_len: int) -> None:
        super().__init__()
        self._max_len = b"%d" % max_len

    def command_begin(self, name: bytes) -> bytes:
        """Return one command to `name`, up to the payload's length."""
        words = (b"XADD", name, b"MAXLEN", b"~", self._max_len, b"*", FIELD)
        return b"*8\r\n%b$" % b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)

    def transaction(self, items: Sequence[Waiting]) -> list[bytes]:
        """Return the commands that add all items or none; each has one reply."""
        return [MULTI, *(self.pack((item.channel, item.payload)) for item in items), EXEC]


def newest(stream: str, count: int) -> bytes:
    """Ask for the newest entries of a stream."""
    words = [b"XREVRANGE", stream.encode(), b"+", b"-", b"COUNT", b"%d" % count]
    return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))


def payloads_of(reply: Any) -> set[bytes]:
    """The payloads of the entries that `newest` brought; none where Redis refused."""
    return {fields[1] for _, fields in reply} if isinstance(reply, list) else set()


def refusal_of(replies: Iterable[Any]) -> Exception | None:
    """The first error among replies, those inside EXEC's too; what EXEC says of earlier errors comes last."""
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            return reply
        if isinstance(reply, list) and (inner := refusal_of(reply)):
            return inner
    return None


def sent_before(items: Sequence[Waiting], known: set[bytes]) -> int:
    """How many of the items, from the first, are in the stream already: up to the last that is known."""
    return max((number for number, item in enumerate(items, 1) if item.payload in known), default=0)
