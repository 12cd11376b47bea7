"""Whether the feed of each symbol is alive: how far its connections have delivered, and whether its silence is usual.

`Deliveries` and `TradeRhythm` are pure, rows of the table, the aggregator thread. `SilenceChecker` reads the exchange's
recent trades on the repair thread, a few symbols at a time.
"""

from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from aggregation.klines.bars import Ints
from aggregation.trade_queue import SilenceAnswer
from model.ports import HistorySource
from model.records import Delivery

CHECK_EVERY_MS = 1_000  # how often rhythms are checked, so that no pause between trades is measured finer
LEAST_MS = 5_000  # no shorter silence is suspicious
MEAN_FACTOR, LONGEST_FACTOR = 4.0, 1.5  # of the mean pause, and of the longest that was seen lately
FIRST_PAUSE_MS = 5_000.0  # the mean of a symbol that has not traded yet
MEAN_WEIGHT = 1 / 8  # how much a pause moves the mean
LONGEST_DECAY = 0.5 ** (1 / 7_200)  # per check: the longest pause of two hours ago counts half
ASK_EVERY_MS = 10_000  # between two questions about one silence at first, then doubled
ASK_CAP_MS = 600_000
# A silence so far beyond its limit without any answer about it; its seconds can still be taken back then.
UNANSWERED_FACTOR, UNANSWERED_MS = 6.0, 50_000

AT_A_TIME = 3  # questions per step, about one a second: a small part of what the exchange allows
WAITING_LIMIT = 1_000  # silences waiting for their question; beyond it the oldest are dropped, and come again
LAG_MS = 3_000  # a trade younger than that may not be in the exchange's REST API yet, or be on its way to us

Floats = npt.NDArray[np.float64]
Watermarks = Mapping[Delivery, int]
"""Until when each connection has delivered all that was sent."""


class Deliveries:
    """The connections of one market. A row without a connection is never behind."""

    def __init__(self) -> None:
        self._rows: dict[Delivery, set[int]] = {}

    def add(self, row: int, delivery: Delivery | None) -> None:
        """Record that `delivery` brings `row` from now on; None is a connection without a watermark."""
        if delivery is not None:
            self._rows.setdefault(delivery, set()).add(row)

    def remove(self, row: int, delivery: Delivery | None) -> None:
        """Record that `delivery` does not bring `row` any more."""
        if delivery is not None and (rows := self._rows.get(delivery)) is not None:
            rows.discard(row)
            if not rows:
                del self._rows[delivery]

    def watermarks(self, now_ms: int) -> Watermarks:
        """The watermark of every connection."""
        return {delivery: delivery.watermark_ms(now_ms) for delivery in self._rows}

    def behind(self, marks: Watermarks, until_ms: int) -> dict[int, int]:
        """Rows that no connection has delivered until `until_ms`, and the time until which each was delivered."""
        behind = [delivery for delivery in self._rows if marks.get(delivery, 0) < until_ms]
        found: dict[int, int] = {}
        for delivery in behind:
            mark = marks.get(delivery, 0)
            for row in self._rows[delivery]:
                found[row] = max(found.get(row, 0), mark)
        if found and len(behind) < len(self._rows):
            for delivery in self._rows.keys() - behind:
                for row in self._rows[delivery] & found.keys():
                    del found[row]
        return found

    def of(self, rows: set[int]) -> list[Delivery]:
        """The connections that bring any of these rows."""
        return [delivery for delivery, its in self._rows.items() if not rows.isdisjoint(its)]


class TradeRhythm:
    """The pauses between the trades of each symbol. Times are the exchange's, ms.

    A silence against the rhythm proves nothing by itself: markets rest. The exchange's trades are read, and each answer
    without one makes the next read later.
    """

    def __init__(self) -> None:
        self._newest: Ints = np.zeros(0, np.int64)
        self._quiet_ms: Ints = np.zeros(0, np.int64)
        self._next_ask_ms: Ints = np.zeros(0, np.int64)
        self._ask_pause_ms: Ints = np.zeros(0, np.int64)
        self._mean: Floats = np.zeros(0)
        self._longest: Floats = np.zeros(0)

    def check(self, newest_ms: Ints, up_ms: Ints, now_ms: int) -> tuple[Ints, Ints]:
        """Take the newest trade of each row; returns the rows to look up, and those without an answer for too long.

        `up_ms` is since when a row is delivered: no pause began before. A row is returned again after a while that
        doubles.
        """
        self._grow(len(newest_ms))
        traded = newest_ms > self._newest
        pauses = np.where(traded & (self._newest > 0), newest_ms - np.maximum(self._newest, up_ms), 0)
        self._longest *= LONGEST_DECAY
        known = pauses > 0
        self._mean[known] += (pauses[known] - self._mean[known]) * MEAN_WEIGHT
        self._longest = np.maximum(self._longest, pauses)
        self._newest = np.maximum(self._newest, newest_ms)
        self._ask_pause_ms[traded] = ASK_EVERY_MS
        self._next_ask_ms[traded] = 0
        silence = now_ms - np.maximum(np.maximum(self._newest, up_ms), self._quiet_ms)
        limit = np.maximum(np.maximum(self._mean * MEAN_FACTOR, self._longest * LONGEST_FACTOR), LEAST_MS)
        asked = (silence > limit) & (now_ms >= self._next_ask_ms)
        self._next_ask_ms[asked] = now_ms + self._ask_pause_ms[asked]
        self._ask_pause_ms[asked] = np.minimum(self._ask_pause_ms[asked] * 2, ASK_CAP_MS)
        unanswered = (silence > limit * UNANSWERED_FACTOR) & (silence > UNANSWERED_MS)
        return np.flatnonzero(asked), np.flatnonzero(unanswered)

    def confirm_quiet(self, row: int, until_ms: int) -> None:
        """Record that the exchange had no trade until `until_ms`: a pause of that length is usual."""
        if row < len(self._newest):
            self._longest[row] = max(self._longest[row], until_ms - self._newest[row])
            self._quiet_ms[row] = max(self._quiet_ms[row], until_ms)

    def _grow(self, rows: int) -> None:
        if (missing := rows - len(self._newest)) > 0:
            zeros = np.zeros(missing, np.int64)
            self._newest, self._quiet_ms = np.append(self._newest, zeros), np.append(self._quiet_ms, zeros)
            self._next_ask_ms = np.append(self._next_ask_ms, zeros)
            self._ask_pause_ms = np.append(self._ask_pause_ms, zeros + ASK_EVERY_MS)
            self._mean = np.append(self._mean, np.full(missing, FIRST_PAUSE_MS))
            self._longest = np.append(self._longest, np.zeros(missing))


class SilenceChecker:
    """The checker of silences: looks for trades that did not come, in the exchange's recent ones.

    `submit(market, answer)` takes what was found; where the exchange does not answer it is not called.
    """

    def __init__(self, history: HistorySource, submit: Callable[[str, SilenceAnswer], object]) -> None:
        self._history, self._submit = history, submit
        self._waiting: deque[tuple[str, str, int]] = deque(maxlen=WAITING_LIMIT)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, market: str, symbol: str, since_ms: int) -> None:
        """Have a symbol looked for of which no trade came since `since_ms`. Any thread."""
        self._waiting.append((market, symbol, since_ms))

    def step(self) -> None:
        """Look for a few symbols. Repair thread."""
        for _ in range(min(AT_A_TIME, len(self._waiting))):
            market, symbol, since_ms = self._waiting.popleft()
            until_ms = self._history.clock.now_ms() - LAG_MS
            trades = self._history.recent_trades(market, symbol)
            if not trades or max(trade.event_ms for trade in trades) < since_ms - LAG_MS:
                continue  # the exchange does not answer, or its REST API is behind the stream
            is_missed = any(since_ms < trade.event_ms <= until_ms for trade in trades if trade.is_counted)
            self._submit(market, SilenceAnswer(symbol, since_ms, until_ms, is_missed))
