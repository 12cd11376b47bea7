"""The records of the checkpoint, and the names of its hashes and fields in Redis. Pure; no thread of its own."""

from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from model.intervals import DAY_MS, LONGEST_MONTH_MS, step_of

KEEP_MS = 30 * DAY_MS  # a kline that ended earlier is no place to go on from

Key = tuple[str, str, int]
"""Market, symbol, interval in ms (0 for calendar months)."""


class LastPublished(NamedTuple):
    """The newest kline published of one market, symbol and interval: its start, revision, and whether complete."""

    start_ms: int
    revision: int
    complete: bool


NOTHING = LastPublished(-1, -1, False)


class Issue(msgspec.Struct, gc=False):
    """What is remembered of a kline. Read back from its message: what waited on disk is no other case."""

    symbol: str
    interval: int
    timestamp: int
    complete: bool
    revision: int


def published_key(prefix: str, market: str) -> str:
    """Name the hash of one market; its fields are `SYMBOL:interval_ms`, its values `start_ms,revision,complete`."""
    return f"{prefix}:last-published:{market}"


def interval_of(issue: Issue) -> int:
    """Return the interval in ms, 0 for a calendar month, which is known by where it begins and ends."""
    return step_of(issue.interval, issue.timestamp)


def last_of(issue: Issue) -> LastPublished:
    """Return an issue without what names it."""
    return LastPublished(issue.timestamp, issue.revision, issue.complete)


def is_stale(interval_ms: int, start_ms: int, now_ms: int) -> bool:
    """Say whether a kline ended so long ago that its symbol or interval is no longer collected."""
    return start_ms + (interval_ms or LONGEST_MONTH_MS) + KEEP_MS < now_ms


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
