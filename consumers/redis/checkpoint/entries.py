"""The parts of the memory of what was published: its places, and what a message says of them. Pure; one thread."""

from dataclasses import dataclass

import msgspec

from consumers.redis.checkpoint.keys import NOTHING, Issue, Key, LastPublished


class Message(msgspec.Struct, gc=False):
    """An envelope of klines as far as it is read here."""

    channel: str
    data: list[Issue]


decode_message = msgspec.json.Decoder(Message).decode


class Place:
    """One field: the newest kline that Redis has confirmed, and the newest written to it, confirmed or not."""

    __slots__ = ("confirmed", "is_own", "key", "name", "refused_ms", "word", "written")

    def __init__(self, key: Key, known: LastPublished = NOTHING) -> None:
        self.key = key
        self.name = f"{key[1]}:{key[2]}"
        self.word = word(self.name.encode())
        self.confirmed = self.written = Issue(*key[1:], known.start_ms, known.complete, known.revision)
        self.is_own = False  # confirmed in this process's life; else Redis may know more than we
        self.refused_ms = -1  # start of a kline that Redis refused: none after it counts before it has come


Steps = list[tuple[Place, Issue]]


@dataclass
class Noted:
    """A message, and its klines that move the memory on; `is_written`: an HMSET went right behind it."""

    market: str
    steps: Steps
    is_written: bool = False
    payload: bytes = b""


NOTHING_NOTED = Noted("", [])


def word(text: bytes) -> bytes:
    """Return a word as it stands in a command."""
    return b"$%d\r\n%b\r\n" % (len(text), text)
