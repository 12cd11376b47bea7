"""What was published last, per market, symbol and interval, kept where a restart finds it.

`consumer-redis` thread. Each message of klines is followed by one HMSET in the same write; what Redis confirmed
goes to a file as well. It may say less than subscribers received, by what was in flight, and never more.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from consumers.redis.checkpoint.entries import (
    NOTHING_NOTED,
    Issue,
    Key,
    LastPublished,
    Noted,
    Place,
    Steps,
    decode_message,
    interval_of,
    is_stale,
    last_of,
    published_key,
    word,
)
from consumers.redis.checkpoint.files import RecentKlines, StateFile
from consumers.single_worker import DiskThread
from model.clock import Postponed

log = structlog.get_logger()

SAVE_EVERY_S = 1.0  # how far the file may lag behind Redis
KEEP_AFTER_S = 0.1  # how far what is kept of the klines may lag behind Redis, while more are being sent
DISK_WAIT_S = 0.3  # at the end, for what is being written: less than the stop keeps for it
PRUNE_EVERY_S = 3600.0  # how often what is no longer collected is looked for
FIELDS_PER_COMMAND = 500  # some 25 kB: no command keeps Redis from its other clients


@dataclass(frozen=True)
class PublishedOptions:
    """`key_prefix` begins the key of the hash per market; None in `path` is no file."""

    key_prefix: str
    path: Path | None = None

    @property
    def recent_path(self) -> Path | None:
        """Where the newest klines are kept whole."""
        return self.path.with_suffix(".recent.jsonl") if self.path else None


class PublishedMemory:
    """The memory of one publisher; one thread. Some 400 bytes per market, symbol and interval.

    Without options it remembers nothing.
    """

    def __init__(self, options: PublishedOptions | None, disk: DiskThread | None = None) -> None:
        """`disk` writes the files; None: the thread that saves does."""
        self._disk = disk
        self._is_on = options is not None
        self._options = options or PublishedOptions("")
        self.file = StateFile(self._options.path)
        self._markets: dict[str, dict[int, dict[str, Place]]] = {}  # market -> interval -> symbol
        self._orders: list[bytes] = []
        self._owed: dict[Place, None] = {}  # confirmed without an HMSET
        self._is_dirty = False
        self._saved_s = self._pruned_s = 0.0
        self._saving, self._keeping = Postponed(SAVE_EVERY_S), Postponed(KEEP_AFTER_S)
        self.recent = RecentKlines(self._options.recent_path)
        self.save_errors = 0
        # Until Redis has taken a kline on this connection, HMSET waits for that: a server that refuses PUBLISH and
        # takes HMSET would make the memory say too much.
        self.is_held = self._is_on

    def __len__(self) -> int:
        markets = list(self._markets.values())  # lists, for other threads ask too: a dict may grow meanwhile
        return sum(len(symbols) for intervals in markets for symbols in list(intervals.values()))

    def known(self) -> dict[Key, LastPublished]:
        """Return everything confirmed."""
        return {place.key: last_of(place.confirmed) for place in self._places() if place.confirmed.timestamp >= 0}

    def seed(self, known: dict[Key, LastPublished]) -> None:
        """Take over what an earlier run left; before the first message."""
        for key, last in known.items():
            market, symbol, interval = key
            self._markets.setdefault(market, {}).setdefault(interval, {})[symbol] = Place(key, last)

    def claim(self) -> None:
        """Become the only writer of the files; where another collector is, write none."""
        if not self.file.claim():
            self.recent = RecentKlines(None)

    # -- writing ---------------------------------------------------------------------------------------

    def note(self, payload: bytes) -> Noted:
        """Find the klines of a message that are news: a newer start, or a revision of the newest."""
        if not self._is_on:
            return NOTHING_NOTED
        try:
            message = decode_message(payload)
        except msgspec.DecodeError:  # a line of the disk that somebody wrote into: sent as it is, not remembered
            return NOTHING_NOTED
        intervals = self._markets.setdefault(message.channel, {})
        steps: Steps = []
        length_ms = interval = -1
        symbols: dict[str, Place] = {}
        for issue in message.data:
            if issue.interval != length_ms:  # the klines of one boundary and interval stand together
                length_ms, interval = issue.interval, interval_of(issue)
                symbols = intervals.setdefault(interval, {})
            place = symbols.get(issue.symbol)
            if place is None:
                place = symbols[issue.symbol] = Place((message.channel, issue.symbol, interval))
            written = place.written
            if issue.timestamp > written.timestamp or (
                issue.timestamp == written.timestamp and issue.revision >= written.revision
            ):
                place.written = issue
                place.refused_ms = -1  # what was refused leaves first; if it is not this one, it is over its age
                steps.append((place, issue))
        return Noted(message.channel, steps, payload=payload)

    def command(self, noted: Noted) -> bytes:
        """Return what is to be written right behind the message; nothing while the memory is held back."""
        if self.is_held or not noted.steps:
            return b""
        noted.is_written = True
        return self._remember(noted.market, noted.steps)

    @property
    def has_orders(self) -> bool:
        """Say whether `orders` has something."""
        return bool(self._orders or self._owed)

    def orders(self) -> list[bytes]:
        """Take out the commands that are due apart from any message."""
        orders = [*self._orders, *self._debts()]
        self._orders, self._owed = [], {}
        return orders

    # -- what became of it -----------------------------------------------------------------------------

    def connected(self) -> None:
        """Begin on a new connection; the server behind it may have forgotten everything."""
        self.is_held = self._is_on
        self._orders, self._owed = [], {}

    def confirm(self, noted: Noted) -> None:
        """Learn that a message was published."""
        if noted.payload:
            self.recent.add(noted.payload)
        for place, issue in noted.steps:
            known = place.confirmed
            if 0 <= place.refused_ms < issue.timestamp:
                continue
            if issue.timestamp > known.timestamp or (
                issue.timestamp == known.timestamp and issue.revision >= known.revision
            ):
                place.confirmed = issue
                place.is_own = self._is_dirty = True
        if self.is_held and noted.steps:
            self.is_held = False
            self._owed = {place: None for place in self._places() if place.is_own}
        elif not noted.is_written:
            self._owed.update((place, None) for place, _ in noted.steps)

    def refuse(self, noted: Noted) -> None:
        """Learn that Redis refused a message, which is tried again: what was written of it is taken back."""
        self.lose(noted)
        self.is_held = self._is_on
        for place, issue in noted.steps:
            place.refused_ms = issue.timestamp
            self._orders.append(self._forget(place))

    def lose(self, noted: Noted) -> None:
        """Learn that no reply will come: the message is noted anew when it is sent again."""
        for place, _ in noted.steps:
            place.written = place.confirmed

    # -- the file --------------------------------------------------------------------------------------

    def save_if_due(self, now_s: float, now_ms: int, *, is_idle: bool = True) -> None:
        """Write the files if something changed and the last time is long enough ago (monotonic seconds).

        Unless it `is_idle`, that waits as long as the files may lag: what is being sent must not wait for a disk.
        """
        if now_s - self._pruned_s >= PRUNE_EVERY_S:
            self._pruned_s = now_s
            self._prune(now_ms)
        if self._disk is not None and not self._disk.is_free:
            return
        is_dirty = self._is_dirty and now_s - self._saved_s >= SAVE_EVERY_S
        if self._saving.is_due(now_s, is_wanted=is_dirty, is_idle=is_idle):
            self._saved_s = now_s
            self._do(self._prepared())
        elif self._keeping.is_due(now_s, is_wanted=self.recent.has_unwritten, is_idle=is_idle):
            self._do(self.recent.take())

    def save(self) -> None:
        """Replace the file, and write what is kept of the klines, now; a disk that hangs is not waited for."""
        if self._disk is not None and not self._disk.wait(DISK_WAIT_S):
            log.error("published_file_not_written", path=str(self.file), error="the disk does not answer")
            return
        self._prepared()()

    def end(self) -> None:
        """Save, and let another publisher have the files."""
        self.save()
        self.file.release()

    def _do(self, job: Callable[[], object]) -> None:
        if self._disk is None:
            job()
        else:
            self._disk.do(job)

    def _prepared(self) -> Callable[[], None]:
        """What writes both, as they are now."""
        keep, self._is_dirty = self.recent.take(), False
        content = self._content() if self.file.is_written else b""

        def write() -> None:
            keep()
            if content:
                self._replace(content)

        return write

    def _replace(self, content: bytes) -> None:
        try:
            self.file.write(content)
        except OSError as error:
            self._is_dirty = True
            self.save_errors += 1
            if self.save_errors == 1:
                log.error("published_file_not_written", path=str(self.file), error=str(error))

    def _content(self) -> bytes:
        content: dict[str, list[Issue]] = {}
        for place in self._places():
            if place.confirmed.timestamp >= 0:
                content.setdefault(place.key[0], []).append(place.confirmed)
        return msgspec.json.encode(content)

    def _prune(self, now_ms: int) -> None:
        for place in list(self._places()):
            if place.confirmed.timestamp >= 0 and is_stale(place.key[2], place.confirmed.timestamp, now_ms):
                market, symbol, interval = place.key
                del self._markets[market][interval][symbol]
                self._orders.append(self._forget(place))
                self._is_dirty = True

    def _places(self) -> Iterator[Place]:
        for intervals in self._markets.values():
            for symbols in intervals.values():
                yield from symbols.values()

    # -- commands --------------------------------------------------------------------------------------

    def _debts(self) -> Iterator[bytes]:
        by_market: dict[str, Steps] = {}
        for place in self._owed:
            if place.written is place.confirmed:  # else a newer one was written, or will be owed in its turn
                by_market.setdefault(place.key[0], []).append((place, place.confirmed))
        for market, steps in by_market.items():
            for first in range(0, len(steps), FIELDS_PER_COMMAND):
                yield self._remember(market, steps[first : first + FIELDS_PER_COMMAND])

    def _remember(self, market: str, steps: Steps) -> bytes:
        # HMSET, not HSET: its reply is no number, so that replies to PUBLISH are summed without asking which is which.
        words = [b"*%d\r\n$5\r\nHMSET\r\n" % (2 + 2 * len(steps)), self._key(market)]
        of = Issue("", 0, -1, False, -1)
        value = b""
        for place, issue in steps:
            if issue.timestamp != of.timestamp or issue.revision != of.revision or issue.complete != of.complete:
                of = issue  # most klines of a message have the same
                value = word(b"%d,%d,%d" % (issue.timestamp, issue.revision, issue.complete))
            words += (place.word, value)
        return b"".join(words)

    def _forget(self, place: Place) -> bytes:
        return b"*3\r\n$4\r\nHDEL\r\n" + self._key(place.key[0]) + place.word

    def _key(self, market: str) -> bytes:
        return word(published_key(self._options.key_prefix, market).encode())
