"""The soak's Redis, and the way there: klines wait in order while it restarts, with or without what it remembered.

What is remembered of the newest klines is the real thing, in a folder of its own; the rest is virtual.
"""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.soak_timeline import Stage
from consumers.redis.checkpoint.files import RECENT_MS, MarketKlines, RecentKlines
from consumers.redis.checkpoint.load import load_recent
from model.envelope import Envelope
from model.records import Kline, LastPublished, SeriesKey

RESTART_EVERY_MS, DOWN_MS, FORGETS = 240_000, (300, 30_000), 0.5
UNNOTED_SHARE = 0.5  # of the kills: how often what was published last was not noted any more
SAVE_MS = 1_000  # how far the state file lags behind
BATCH = 100

Published = dict[SeriesKey, LastPublished]
NOTHING = LastPublished(-1, 0, False)


class Killed(BaseException):
    """SIGKILL in the middle of publishing; no `except Exception` may survive it."""


class Redis:
    """Takes klines in their order; `deliver` is the subscriber."""

    def __init__(self, stage: Stage, market: str, deliver: Callable[[Kline], object], folder: Path) -> None:
        self._stage, self._market, self._deliver = stage, market, deliver
        self._path = folder / "recent.jsonl"
        self._waiting: deque[Kline] = deque()
        self._unnoted: list[Kline] = []
        self._confirmed: Published = {}
        self._hash: Published = {}
        self._file: Published = {}
        self._up_at = self._saved_ms = 0
        self._recent: RecentKlines
        self.dies_after: int | None = None  # so many klines from now the collector is killed

    def begin(self) -> None:
        """Restart now and then from here on."""
        self._stage.plan_every(RESTART_EVERY_MS, self._restart)

    def load(self) -> tuple[Published, MarketKlines]:
        """A collector begins: what it finds of the one before."""
        known = dict(self._file)
        known |= {key: last for key, last in self._hash.items() if last > known.get(key, NOTHING)}
        self._confirmed, self.dies_after = dict(known), None
        recent = load_recent(self._path)
        self._recent = RecentKlines(self._path, RECENT_MS, lambda: self._stage.now / 1000)
        self._recent.begin(recent)
        return known, recent

    def put(self, _market: str, klines: Sequence[Kline]) -> None:
        """Take klines; any thread of the collector."""
        self._waiting += klines

    def step(self) -> None:
        """Publish what waits; the publisher's thread."""
        if self._stage.now < self._up_at:
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
        """The collector is killed: what waits is lost, and perhaps the memory of what left last."""
        self._waiting.clear()
        if self._stage.chance(UNNOTED_SHARE):
            self._unnoted.clear()
        self._note()

    def settle(self) -> None:
        """Nothing restarts any more."""
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
            self._recent.write()
        if unnoted:
            self._hash = dict(self._confirmed)
        if self._stage.now - self._saved_ms >= SAVE_MS:
            self._saved_ms, self._file = self._stage.now, dict(self._confirmed)

    def _restart(self) -> None:
        if not self._stage.is_faulty:
            return
        self._stage.faults["Redis restarts"] += 1
        self._up_at = self._stage.now + self._stage.span(DOWN_MS)
        if self._stage.chance(FORGETS):
            self._stage.faults["Redis forgot all"] += 1
            self._hash = {}
