"""The soak's Redis and its queue: klines wait in order while it restarts, with or without its data.

The store and the checkpoint of the newest klines are the real ones, in a folder of their own; the rest is virtual.
"""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.soak_timeline import Timeline
from consumers.redis.checkpoint.store import NOTHING, CheckpointOptions, KlineCheckpoint
from consumers.store.published import EarlierStore
from consumers.store.store import StoreConsumer, StoreOptions
from model.envelope import Envelope
from model.records import Kline, LastPublished, Published, SeriesKey

RESTART_EVERY_MS, DOWN_MS, FORGETS = 240_000, (300, 30_000), 0.5
UNNOTED_SHARE = 0.5  # of the kills: how often what was published last was not stored and noted any more
BATCH = 100

Known = dict[SeriesKey, LastPublished]


class Killed(BaseException):
    """SIGKILL in the middle of publishing; no `except Exception` may survive it."""


class Redis:
    """Takes klines in their order; `deliver` is the subscriber."""

    def __init__(self, timeline: Timeline, market: str, deliver: Callable[[Kline], object], folder: Path) -> None:
        self._timeline, self._market, self._deliver = timeline, market, deliver
        self._path = folder / "store.sqlite"
        self._waiting: deque[Kline] = deque()
        self._unstored: list[Kline] = []
        self._unnoted: list[Kline] = []
        self._hash: Known = {}
        self._up_at = 0
        self._store: StoreConsumer | None = None
        self._checkpoint: KlineCheckpoint
        self.dies_after: int | None = None  # so many klines from now the collector is killed

    def begin(self) -> None:
        """Restart now and then from here on."""
        self._timeline.plan_every(RESTART_EVERY_MS, self._restart)

    def load(self) -> Published:
        """Load what the collector before has left."""
        earlier = EarlierStore.read(self._path)
        known = dict(earlier.marks)
        known |= {key: last for key, last in self._hash.items() if last > known.get(key, NOTHING)}
        self.dies_after = None
        self._store = store = StoreConsumer(StoreOptions(self._path, retry_s=0.0))
        store.setup()
        self._checkpoint = KlineCheckpoint(CheckpointOptions("soak"), lambda envelope: store.deliver([envelope]))
        self._checkpoint.restore(known, earlier.marks)
        return earlier.published(earlier.held(known))

    def put(self, _market: str, klines: Sequence[Kline]) -> None:
        """Take klines; any thread of the collector."""
        self._unstored += klines
        self._waiting += klines

    def step(self) -> None:
        """Store and publish the waiting klines. The threads of both."""
        self._write()
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
            self._unnoted.clear()
            self._unstored.clear()
        self._write()
        self._note()
        if self._store is not None:
            self._store.abandon()

    def settle(self) -> None:
        """End all restarts."""
        self._up_at = 0

    def _envelopes(self, klines: list[Kline]) -> list[Envelope]:
        parts = (tuple(klines[first : first + BATCH]) for first in range(0, len(klines), BATCH))
        return [Envelope("soak", self._market, "klines", part) for part in parts]

    def _write(self) -> None:
        unstored, self._unstored = self._unstored, []
        if self._store is not None and unstored:
            self._store.deliver(self._envelopes(unstored))

    def _note(self) -> None:
        unnoted, self._unnoted = self._unnoted, []
        for envelope in self._envelopes(unnoted):
            self._checkpoint.confirm(self._checkpoint.stage(envelope.json))
        if unnoted:
            self._checkpoint.note_all()
            self._hash = self._checkpoint.known()

    def _restart(self) -> None:
        if not self._timeline.is_faulty:
            return
        self._timeline.faults["Redis restarts"] += 1
        self._up_at = self._timeline.now + self._timeline.span(DOWN_MS)
        if self._timeline.chance(FORGETS):
            self._timeline.faults["Redis forgot all"] += 1
            self._hash = {}
