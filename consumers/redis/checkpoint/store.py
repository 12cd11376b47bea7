"""The checkpoint: the kline published last per market, symbol and interval, kept where a restart finds it.

Belongs to the connection's owner: the thread `consumer-redis`, or, while that sleeps, the thread that reads sockets.
Each message of klines is followed by one HMSET in the same write; what Redis confirmed is noted in the store as well.
The checkpoint may lag behind what subscribers received, by what was in flight, and is never ahead of it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from consumers.redis.protocol import resp_bulk
from model.clock import Deferred
from model.envelope import Envelope
from model.intervals import DAY_MS, LONGEST_MONTH_MS, step_of
from model.records import LastPublished, SeriesKey

NOTE_AFTER_S = 0.1  # how far the store may lag behind Redis, while more klines are being sent
PRUNE_EVERY_S = 3600.0  # how often what is no longer collected is looked for
HEADS_PER_NOTE = 1_000  # some 100 kB
FIELDS_PER_COMMAND = 500  # some 25 kB: no command keeps Redis from its other clients
STALE_AFTER_MS = 30 * DAY_MS  # a kline that ended earlier is too old to continue from

NOTHING = LastPublished(-1, -1, False)

Note = Callable[[Envelope], object]
"""Takes an envelope of type published, the newest kline of each series, or confirmed, every revision; never blocks."""


class KlineHead(msgspec.Struct, gc=False):
    """The fields of a kline that the checkpoint keeps, decoded from its message, which may be the spill file's."""

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
    """A message that was written, and the updates that its reply confirms. `is_written`: an HMSET followed it.

    `revisions` are the klines of the message that are not the first issue of theirs.
    """

    market: str
    updates: list[CheckpointUpdate]
    is_written: bool = False
    revisions: list[KlineHead] = field(default_factory=list)


NO_UPDATE = PendingUpdate("", [])  # never written to: without updates there is nothing to be confirmed


def checkpoint_hash(prefix: str, market: str) -> str:
    """Name the hash of one market; its fields are `SYMBOL:interval_ms`, its values `start_ms,revision,complete`."""
    return f"{prefix}:last-published:{market}"


def interval_of(head: KlineHead) -> int:
    """Return the interval in ms as a key has it, 0 for a calendar month."""
    return step_of(head.interval, head.timestamp)


def last_of(head: KlineHead) -> LastPublished:
    """Return the place of a head in its series, without the fields that name the series."""
    return LastPublished(head.timestamp, head.revision, head.complete)


def is_stale(interval_ms: int, start_ms: int, now_ms: int) -> bool:
    """Whether a kline ended so long ago that its symbol or interval is no longer collected."""
    return start_ms + (interval_ms or LONGEST_MONTH_MS) + STALE_AFTER_MS < now_ms


@dataclass(frozen=True)
class CheckpointOptions:
    """The options of a checkpoint. `key_prefix` begins the key of the hash per market.

    `old_path`: the file where versions before the store kept it.
    """

    key_prefix: str
    old_path: Path | None = None


class KlineCheckpoint:
    """The checkpoint of one publisher, some 400 bytes per market, symbol and interval. Without options it is empty."""

    def __init__(self, options: CheckpointOptions | None, note: Note | None = None) -> None:
        """`note` takes what Redis confirmed; None: the hash alone has it."""
        self._note = note
        self._is_on = options is not None
        self._options = options or CheckpointOptions("")
        self._markets: dict[str, dict[int, dict[str, CheckpointEntry]]] = {}  # market -> interval -> symbol
        self._commands: list[bytes] = []
        self._unwritten: dict[CheckpointEntry, None] = {}  # confirmed by Redis, without an HMSET yet
        self._unnoted: dict[CheckpointEntry, None] = {}
        self._revisions: dict[str, list[KlineHead]] = {}  # confirmed and not noted, by market
        self._pruned_s = 0.0
        self._note_due = Deferred(NOTE_AFTER_S)
        # Until Redis has taken a kline on this connection, HMSET waits for that: a server that refuses PUBLISH and
        # takes HMSET would put the checkpoint ahead of the subscribers.
        self.awaits_first_reply = self._is_on

    def __len__(self) -> int:
        markets = list(self._markets.values())  # lists, for any thread may call this: a dict may grow meanwhile
        return sum(len(symbols) for intervals in markets for symbols in list(intervals.values()))

    def known(self) -> dict[SeriesKey, LastPublished]:
        """Return everything confirmed."""
        return {entry.key: last_of(entry.confirmed) for entry in self._confirmed()}

    def restore(
        self, known: Mapping[SeriesKey, LastPublished], noted: Mapping[SeriesKey, LastPublished] | None = None
    ) -> None:
        """Take over what an earlier run left; before the first message. What is not in `noted` so is noted next."""
        for key, last in known.items():
            market, symbol, interval = key
            entry = CheckpointEntry(key, last)
            self._markets.setdefault(market, {}).setdefault(interval, {})[symbol] = entry
            if noted is not None and noted.get(key) != last:
                self._unnoted[entry] = None

    def note_with(self, note: Note) -> None:
        """Note from now on what Redis confirms; before the first message."""
        self._note = note

    # -- writing ---------------------------------------------------------------------------------------

    def stage(self, payload: bytes) -> PendingUpdate:
        """Find the klines of a message that move entries on: a newer start, or a revision of the newest."""
        if not self._is_on:
            return NO_UPDATE
        try:
            message = decode_message(payload)
        except msgspec.DecodeError:  # a line of the spill file that was damaged: sent as it is, not staged
            return NO_UPDATE
        intervals = self._markets.setdefault(message.channel, {})
        updates: list[CheckpointUpdate] = []
        revisions: list[KlineHead] = []
        length_ms = interval = -1
        symbols: dict[str, CheckpointEntry] = {}
        for head in message.data:
            if head.revision:
                revisions.append(head)
            if head.interval != length_ms:  # the klines of one boundary and interval stand together
                length_ms, interval = head.interval, interval_of(head)
                symbols = intervals.setdefault(interval, {})
            entry = symbols.get(head.symbol)
            if entry is None:
                entry = symbols[head.symbol] = CheckpointEntry((message.channel, head.symbol, interval))
            written = entry.written
            if head.timestamp > written.timestamp or (
                head.timestamp == written.timestamp and head.revision >= written.revision
            ):
                entry.written = head
                entry.refused_ms = -1  # what was refused leaves first; if it is not this one, it is over its age
                updates.append((entry, head))
        return PendingUpdate(message.channel, updates, revisions=revisions)

    def command(self, pending: PendingUpdate) -> bytes:
        """Return the HMSET to be written right behind the message; nothing before the connection's first reply."""
        if self.awaits_first_reply or not pending.updates:
            return b""
        pending.is_written = True
        return self._hmset(pending.market, pending.updates)

    @property
    def has_commands(self) -> bool:
        """Whether `take_commands` has some."""
        return bool(self._commands or self._unwritten)

    def take_commands(self) -> list[bytes]:
        """Take out the commands that are due apart from any message."""
        commands = [*self._commands, *self._hmsets_of_unwritten()]
        self._commands, self._unwritten = [], {}
        return commands

    # -- replies ---------------------------------------------------------------------------------------

    def connected(self) -> None:
        """Begin on a new connection; the server behind it may have lost everything."""
        self.awaits_first_reply = self._is_on
        self._commands, self._unwritten = [], {}

    def confirm(self, pending: PendingUpdate) -> None:
        """Settle a message that was published."""
        if pending.revisions:
            self._revisions.setdefault(pending.market, []).extend(pending.revisions)
        for entry, head in pending.updates:
            known = entry.confirmed
            if 0 <= entry.refused_ms < head.timestamp:
                continue
            if head.timestamp > known.timestamp or (
                head.timestamp == known.timestamp and head.revision >= known.revision
            ):
                entry.confirmed = head
                entry.is_confirmed_here = True
                self._unnoted[entry] = None
        if self.awaits_first_reply and pending.updates:
            self.awaits_first_reply = False
            self._unwritten = {entry: None for entry in self._confirmed() if entry.is_confirmed_here}
        elif not pending.is_written:
            self._unwritten.update((entry, None) for entry, _ in pending.updates)

    def refuse(self, pending: PendingUpdate) -> None:
        """Settle a message that Redis refused, and that is sent again: its part of the hash is taken back."""
        self.lose(pending)
        self.awaits_first_reply = self._is_on
        for entry, head in pending.updates:
            entry.refused_ms = head.timestamp
            self._commands.append(self._hdel(entry))

    def lose(self, pending: PendingUpdate) -> None:
        """Settle a message that will have no reply: it is staged anew when it is sent again."""
        for entry, _ in pending.updates:
            entry.written = entry.confirmed

    # -- the store -------------------------------------------------------------------------------------

    def note_if_due(self, now_s: float, now_ms: int, *, is_idle: bool = True) -> None:
        """Note what was confirmed; unless it `is_idle`, that waits as long as the store may lag (monotonic seconds)."""
        if now_s - self._pruned_s >= PRUNE_EVERY_S:
            self._pruned_s = now_s
            self._prune(now_ms)
        if self._note_due.is_due(now_s, is_wanted=bool(self._unnoted or self._revisions), is_idle=is_idle):
            self.note_all()

    def note_all(self) -> None:
        """Note what was confirmed now."""
        entries, self._unnoted = self._unnoted, {}
        revisions, self._revisions = self._revisions, {}
        if self._note is None:
            return
        newest: dict[str, list[KlineHead]] = {}
        for entry in entries:
            newest.setdefault(entry.key[0], []).append(entry.confirmed)
        for data_type, by_market in (("published", newest), ("confirmed", revisions)):
            for market, heads in by_market.items():
                for first in range(0, len(heads), HEADS_PER_NOTE):
                    part = tuple(heads[first : first + HEADS_PER_NOTE])
                    self._note(Envelope("", market, data_type, part))

    def _prune(self, now_ms: int) -> None:
        for entry in list(self._confirmed()):
            if is_stale(entry.key[2], entry.confirmed.timestamp, now_ms):
                market, symbol, interval = entry.key
                del self._markets[market][interval][symbol]
                self._commands.append(self._hdel(entry))

    def _confirmed(self) -> Iterator[CheckpointEntry]:
        for intervals in self._markets.values():
            for symbols in intervals.values():
                yield from (entry for entry in symbols.values() if entry.confirmed.timestamp >= 0)

    # -- commands --------------------------------------------------------------------------------------

    def _hmsets_of_unwritten(self) -> Iterator[bytes]:
        by_market: dict[str, list[CheckpointUpdate]] = {}
        for entry in self._unwritten:
            if entry.written is entry.confirmed:  # else a newer one was written, or its own reply brings it here
                by_market.setdefault(entry.key[0], []).append((entry, entry.confirmed))
        for market, updates in by_market.items():
            for first in range(0, len(updates), FIELDS_PER_COMMAND):
                yield self._hmset(market, updates[first : first + FIELDS_PER_COMMAND])

    def _hmset(self, market: str, updates: list[CheckpointUpdate]) -> bytes:
        # HMSET, not HSET: its reply is no number, so that replies are summed without a look at which is PUBLISH's.
        parts = [b"*%d\r\n$5\r\nHMSET\r\n" % (2 + 2 * len(updates)), self._hash(market)]
        last = KlineHead("", 0, -1, False, -1)
        value = b""
        for entry, head in updates:
            if head.timestamp != last.timestamp or head.revision != last.revision or head.complete != last.complete:
                last = head  # most klines of a message have the same value
                value = resp_bulk(b"%d,%d,%d" % (head.timestamp, head.revision, head.complete))
            parts += (entry.bulk_name, value)
        return b"".join(parts)

    def _hdel(self, entry: CheckpointEntry) -> bytes:
        return b"*3\r\n$4\r\nHDEL\r\n" + self._hash(entry.key[0]) + entry.bulk_name

    def _hash(self, market: str) -> bytes:
        return resp_bulk(checkpoint_hash(self._options.key_prefix, market).encode())
