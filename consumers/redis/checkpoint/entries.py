"""The records of the checkpoint, and the names of its hashes and fields in Redis. Pure; no thread of its own."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

DAY_MS = 86_400_000
KEEP_MS = 30 * DAY_MS  # a kline that ended earlier is no place to go on from
MONTH_MS = (28 * DAY_MS, 31 * DAY_MS)  # what a calendar month may take
MONTH = 0  # how the interval is named here: a month's length varies, and the memory's place must not

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
    length_ms = issue.interval
    if not MONTH_MS[0] <= length_ms <= MONTH_MS[1]:
        return length_ms
    begin, end = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (issue.timestamp, issue.timestamp + length_ms))
    is_month = (begin.day, end.day) == (1, 1) and not issue.timestamp % DAY_MS
    return MONTH if is_month else length_ms


def last_of(issue: Issue) -> LastPublished:
    """Return an issue without what names it."""
    return LastPublished(issue.timestamp, issue.revision, issue.complete)


def is_stale(interval_ms: int, start_ms: int, now_ms: int) -> bool:
    """Say whether a kline ended so long ago that its symbol or interval is no longer collected."""
    return start_ms + (interval_ms or MONTH_MS[1]) + KEEP_MS < now_ms


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
