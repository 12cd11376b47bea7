"""The soak's Redis and its queue: klines wait in order while it restarts, with or without its data.

The checkpoint of the newest klines is the real one, in a folder of its own; the rest is virtual.
"""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.soak_timeline import Timeline
from consumers.redis.checkpoint.files import RecentKlines, load_recent
from model.envelope import Envelope
from model.records import Kline, LastPublished, Published, SeriesKey

RESTART_EVERY_MS, DOWN_MS, FORGETS = 240_000, (300, 30_000), 0.5
UNNOTED_SHARE = 0.5  # of the kills: how often what was published last was not noted any more
SAVE_MS = 1_000  # how far the state file lags behind
BATCH = 100

Known = dict[SeriesKey, LastPublished]
NOTHING = LastPublished(-1, 0, False)


class Killed(BaseException):
    """SIGKILL in the middle of publishing; no `except Exception` may survive it."""


class Redis:
    """Takes klines in their order; `deliver` is the subscriber."""

    def __init__(self, timeline: Timeline, market: str, deliver: Callable[[Kline], object], folder: Path) -> None:
        self._timeline, self._market, self._deliver = timeline, market, deliver
        self._path = folder / "recent.jsonl"
        self._waiting: deque[Kline] = deque()
        self._unnoted: list[Kline] = []
        self.lost_notes: set[tuple[str, int, int, int]] = set()  # symbol, interval, start, revision
        self._confirmed: Known = {}
        self._hash: Known = {}
        self._file: Known = {}
        self._up_at = self._saved_ms = 0
        self._recent: RecentKlines
        self.dies_after: int | None = None  # so many klines from now the collector is killed

    def begin(self) -> None:
        """Restart now and then from here on."""
        self._timeline.plan_every(RESTART_EVERY_MS, self._restart)

    def load(self) -> Published:
        """Load what the collector before has left."""
        known = dict(self._file)
        known |= {key: last for key, last in self._hash.items() if last > known.get(key, NOTHING)}
        self._confirmed, self.dies_after = dict(known), None
        recent = load_recent(self._path)
        self._recent = RecentKlines(self._path, lambda: self._timeline.now / 1000)
        self._recent.begin(recent)
        return Published(known, recent)

    def put(self, _market: str, klines: Sequence[Kline]) -> None:
        """Take klines; any thread of the collector."""
        self._waiting += klines

    def step(self) -> None:
        """Publish the waiting klines. The publisher's thread."""
        if self._timeline.now < self._up_at:
            return
        self._note()
        while self._waiting:
            if self.dies_after is not None:
                self.dies_after -= 1
                if self.dies_after < 0:
                    raise Killed
            kline = self._waiting.popleft()
            self._deliver(kline)
            self._unnoted.append(kline)

    def die(self) -> None:
        """Kill the collector: waiting klines are lost, and perhaps the record of the last ones sent."""
        self._waiting.clear()
        if self._timeline.chance(UNNOTED_SHARE):
            self.lost_notes |= {(k.symbol, k.interval, k.timestamp, k.revision) for k in self._unnoted}
            self._unnoted.clear()
        self._note()

    def settle(self) -> None:
        """End all restarts."""
        self._up_at = 0

    def _note(self) -> None:
        unnoted, self._unnoted = self._unnoted, []
        for kline in unnoted:
            key = (self._market, kline.symbol, kline.interval)
            if kline.timestamp >= self._confirmed.get(key, NOTHING).start_ms:
                self._confirmed[key] = LastPublished(kline.timestamp, kline.revision, kline.complete)
        for first in range(0, len(unnoted), BATCH):
            batch = tuple(unnoted[first : first + BATCH])
            self._recent.add(Envelope("soak", self._market, "klines", batch).json)
            self._recent.take()()
        if unnoted:
            self._hash = dict(self._confirmed)
        if self._timeline.now - self._saved_ms >= SAVE_MS:
            self._saved_ms, self._file = self._timeline.now, dict(self._confirmed)

    def _restart(self) -> None:
        if not self._timeline.is_faulty:
            return
        self._timeline.faults["Redis restarts"] += 1
        self._up_at = self._timeline.now + self._timeline.span(DOWN_MS)
        if self._timeline.chance(FORGETS):
            self._timeline.faults["Redis forgot all"] += 1
            self._hash = {}
