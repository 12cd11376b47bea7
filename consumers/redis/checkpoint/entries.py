"""The records of the checkpoint, and the names of its hashes and fields in Redis. Pure; no thread of its own."""

from dataclasses import dataclass

import msgspec

from consumers.redis.protocol import resp_bulk
from model.intervals import DAY_MS, LONGEST_MONTH_MS, step_of
from model.records import LastPublished, SeriesKey

STALE_AFTER_MS = 30 * DAY_MS  # a kline that ended earlier is too old to continue from

NOTHING = LastPublished(-1, -1, False)


class KlineHead(msgspec.Struct, gc=False):
    """What the checkpoint keeps of a kline, decoded from its message, which may come from the spill file."""

    symbol: str
    interval: int
    timestamp: int
    complete: bool
    revision: int


class KlineHeads(msgspec.Struct, gc=False):
    """An envelope of klines as far as the checkpoint reads it."""

    channel: str
    data: list[KlineHead]


decode_message = msgspec.json.Decoder(KlineHeads).decode


class CheckpointEntry:
    """One field of a hash: the newest kline that Redis confirmed, and the newest written, confirmed or not."""

    __slots__ = ("bulk_name", "confirmed", "is_confirmed_here", "key", "refused_ms", "written")

    def __init__(self, key: SeriesKey, known: LastPublished = NOTHING) -> None:
        self.key = key
        self.bulk_name = resp_bulk(f"{key[1]}:{key[2]}".encode())
        self.confirmed = self.written = KlineHead(*key[1:], known.start_ms, known.complete, known.revision)
        self.is_confirmed_here = False  # by this process; else Redis may have a newer one than the entry
        self.refused_ms = -1  # start of a kline that Redis refused: none after it counts before it was taken


CheckpointUpdate = tuple[CheckpointEntry, KlineHead]
"""An entry, and the kline that it is to hold."""


@dataclass
class PendingUpdate:
    """A message that was written, and the updates that its reply confirms. `is_written`: an HMSET followed it."""

    market: str
    updates: list[CheckpointUpdate]
    is_written: bool = False
    payload: bytes = b""


NO_UPDATE = PendingUpdate("", [])  # never written to: without updates there is nothing to be confirmed


def checkpoint_hash(prefix: str, market: str) -> str:
    """Name the hash of one market; its fields are `SYMBOL:interval_ms`, its values `start_ms,revision,complete`."""
    return f"{prefix}:last-published:{market}"


def interval_of(head: KlineHead) -> int:
    """Return the interval in ms as a key has it, 0 for a calendar month."""
    return step_of(head.interval, head.timestamp)


def last_of(head: KlineHead) -> LastPublished:
    """Return a head without what names it."""
    return LastPublished(head.timestamp, head.revision, head.complete)


def is_stale(interval_ms: int, start_ms: int, now_ms: int) -> bool:
    """Whether a kline ended so long ago that its symbol or interval is no longer collected."""
    return start_ms + (interval_ms or LONGEST_MONTH_MS) + STALE_AFTER_MS < now_ms
