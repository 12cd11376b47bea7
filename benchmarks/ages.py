"""Ages of messages: microseconds from the exchange's send to the subscriber, counted exactly and in bounded memory.

Runs on the subscriber's thread. A microsecond is a bin, so that percentiles are those of all messages.
"""

from array import array
from pathlib import Path

import numpy as np

PERCENTILES = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p999_ms": 0.999}
HEAD = ("p50 ms", "p90 ms", "p99 ms", "p99.9 ms")
LIMIT_US = 10_000_000  # older ones count as so old: the bins are 80 MB, of which only those in use are ever touched
FOLD = 4_096  # messages counted at once, which takes some 50 us
KEPT_MAX = 4_000_000  # messages of a timeline


class Ages:
    """Append to `sent_us` for each message of a read, then call `arrived`. `is_kept`: a timeline can be saved."""

    def __init__(self, *, is_kept: bool = False) -> None:
        self.sent_us = array("q")
        self._reads = array("q")  # a time, and how many messages there were until then; and the next
        self._bins = np.zeros(LIMIT_US + 1, np.int64)
        self._count = self._most_us = 0
        self._kept: list[np.ndarray] | None = [] if is_kept else None

    def arrived(self, now_us: int) -> None:
        """Count the messages appended since the last call as read at `now_us`."""
        self._reads.append(now_us)
        self._reads.append(len(self.sent_us))
        if len(self.sent_us) >= FOLD:
            self._fold()

    def _fold(self) -> None:
        if not self.sent_us:
            return
        sent_us, reads = np.array(self.sent_us), np.array(self._reads).reshape(-1, 2)
        ages_us = np.repeat(reads[:, 0], np.diff(reads[:, 1], prepend=0)) - sent_us
        if self._kept is not None and self._count < KEPT_MAX:
            self._kept.append(np.stack((sent_us, ages_us)))
        ages_us = ages_us.clip(0, LIMIT_US)
        np.add.at(self._bins, ages_us, 1)
        self._count += len(ages_us)
        self._most_us = max(self._most_us, int(ages_us.max()))
        del self.sent_us[:], self._reads[:]

    def found(self) -> dict[str, float]:
        """The percentiles, and the most, in milliseconds; empty where there was no message."""
        self._fold()
        if not self._count:
            return {}
        sums = self._bins[: self._most_us + 1].cumsum()
        ranks = [int(self._count * share) for share in PERCENTILES.values()]
        ages_us = np.searchsorted(sums, ranks, side="right")
        return {name: int(us) / 1000 for name, us in zip(PERCENTILES, ages_us, strict=True)} | {
            "most_ms": self._most_us / 1000
        }

    def save(self, path: Path) -> None:
        """Write the kept ages for `timeline`: when each message was sent and how old it became, microseconds."""
        self._fold()
        np.save(path, np.concatenate(self._kept or [np.zeros((2, 0), np.int64)], axis=1))


def timeline(path: Path) -> np.ndarray:
    """Read what was saved: a row of times of sending, microseconds since the epoch, and one of ages."""
    found: np.ndarray = np.load(path)
    return found
