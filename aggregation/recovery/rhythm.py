"""How often each symbol trades, as was seen, and which are silent for longer than that. Pure numpy, one row per symbol.

A silence against the rhythm proves nothing by itself: markets rest. It is what the exchange is asked about, and each
answer that there was nothing makes the next question later.
"""

import numpy as np
import numpy.typing as npt

from aggregation.klines.bars import Ints

CHECK_EVERY_MS = 1_000  # how often it is looked at, so that no gap is measured finer
LEAST_MS = 5_000  # no shorter silence is suspicious
MEAN_FACTOR, LONGEST_FACTOR = 4.0, 1.5  # of the mean gap, and of the longest that was seen lately
FIRST_GAP_MS = 5_000.0  # of a symbol of which nothing is known yet
MEAN_WEIGHT = 1 / 8  # how much a gap moves the mean
LONGEST_DECAY = 0.5 ** (1 / 7_200)  # a look: the longest gap of two hours ago counts half
ASK_EVERY_MS = 10_000  # a question without an answer is asked again, then later and later
ASK_CAP_MS = 600_000
# A silence so far beyond its limit, of which nobody can say anything; its seconds can still be taken back then.
UNANSWERED_FACTOR, UNANSWERED_MS = 6.0, 50_000

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class TradeRhythm:
    """The gaps between a market's trades. Times are the exchange's, ms."""

    def __init__(self) -> None:
        self._newest: Ints = np.zeros(0, np.int64)
        self._quiet_ms: Ints = np.zeros(0, np.int64)
        self._next_ask_ms: Ints = np.zeros(0, np.int64)
        self._pause_ms: Ints = np.zeros(0, np.int64)
        self._mean: Floats = np.zeros(0)
        self._longest: Floats = np.zeros(0)

    def look(self, newest_ms: Ints, up_ms: Ints, now_ms: int) -> tuple[Ints, Ints]:
        """Learn the newest trade of each row; the rows to ask about, and those for which no answer comes.

        `up_ms` is since when a row is delivered: no gap began before. A row is named again after a while that doubles.
        """
        self._grow(len(newest_ms))
        traded = newest_ms > self._newest
        gaps = np.where(traded & (self._newest > 0), newest_ms - np.maximum(self._newest, up_ms), 0)
        self._longest *= LONGEST_DECAY
        known = gaps > 0
        self._mean[known] += (gaps[known] - self._mean[known]) * MEAN_WEIGHT
        self._longest = np.maximum(self._longest, gaps)
        self._newest = np.maximum(self._newest, newest_ms)
        self._pause_ms[traded] = ASK_EVERY_MS
        self._next_ask_ms[traded] = 0
        silence = now_ms - np.maximum(np.maximum(self._newest, up_ms), self._quiet_ms)
        limit = np.maximum(np.maximum(self._mean * MEAN_FACTOR, self._longest * LONGEST_FACTOR), LEAST_MS)
        asked = (silence > limit) & (now_ms >= self._next_ask_ms)
        self._next_ask_ms[asked] = now_ms + self._pause_ms[asked]
        self._pause_ms[asked] = np.minimum(self._pause_ms[asked] * 2, ASK_CAP_MS)
        unanswered = (silence > limit * UNANSWERED_FACTOR) & (silence > UNANSWERED_MS)
        return np.flatnonzero(asked), np.flatnonzero(unanswered)

    def confirm_quiet(self, row: int, until_ms: int) -> None:
        """The exchange had no trade until then: such a silence is of its nature."""
        if row < len(self._newest):
            self._longest[row] = max(self._longest[row], until_ms - self._newest[row])
            self._quiet_ms[row] = max(self._quiet_ms[row], until_ms)

    def _grow(self, rows: int) -> None:
        if (missing := rows - len(self._newest)) > 0:
            zeros = np.zeros(missing, np.int64)
            self._newest, self._quiet_ms = np.append(self._newest, zeros), np.append(self._quiet_ms, zeros)
            self._next_ask_ms = np.append(self._next_ask_ms, zeros)
            self._pause_ms = np.append(self._pause_ms, zeros + ASK_EVERY_MS)
            self._mean = np.append(self._mean, np.full(missing, FIRST_GAP_MS))
            self._longest = np.append(self._longest, np.zeros(missing))
