"""The repair thread: reads trades and candles that a gap or an incomplete kline lacks from the exchange's REST.

Named `repair`. It touches no table: what it finds goes to the aggregator thread through the trade queue. Klines shorter
than a minute are repaired by trades alone, for the exchange has no such candles. No thread waits for this one.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from aggregation.klines.sequences import covers
from aggregation.recovery.candles import lacks_trades, rolled_up
from aggregation.recovery.gaps import span_of
from aggregation.trade_queue import Correction, FeedGap, InsertTrades
from model.clock import ThreadOwner, join_by
from model.intervals import longest_step
from model.markets import OpenRule
from model.pacing import ThrottledLogger
from model.ports import HistorySource
from model.records import Candle, Kline, PastTrade

FIRST_READ_MS = 1_500  # after the end of a candle: the exchange needs a moment to finish it
SETTLED_MS = 10_000  # after its end a candle does not change any more; before that, two reads must agree
REREAD_MS = 1_000
RETRY_FIRST_MS, RETRY_CAP_MS = 2_000, 60_000
MISSING_CAP_MS = 3_600_000  # a candle that good answers leave out is read less and less often
LACKING_MOST = 8  # reads of a candle that lacks trades we counted, some four minutes: then its kline stays incomplete
PENDING_LIMIT = 200_000  # klines waiting to be repaired, some 80 MB; beyond it the oldest stay incomplete
READS_LIMIT, READ_AGAIN_MS = 5, 900  # answers without the trades of a gap, and the pause between two of one symbol
READ_AGAIN_CAP_MS = 15_000  # the same where there is no answer, doubled each time
MISSES_MOST = 2  # reads in a row without an answer: no other gap is read in this step
UNREAD_MOST_MS = 3_600_000  # a gap that ended so long ago, and could not be read since, is left to the candles
GAPS_LIMIT = 20_000  # gaps waiting for their trades: beyond it the oldest are left to the candles
STEP_S = 1.0  # how often the thread works without being woken

log = structlog.get_logger()


class Key(NamedTuple):
    """One kline of one market."""

    market: str
    symbol: str
    interval_ms: int
    start_ms: int


@dataclass
class _PendingRepair:
    kline: Kline
    due_ms: int
    step_ms: int
    attempts: int = 0
    lacking: int = 0
    seen: Candle | None = None


class Repairer(ThreadOwner):
    """Owner of the `repair` thread; a KlineSink of what is published.

    `submit(market, correction or trades)` is called on the repair thread, corrections oldest first per symbol and
    interval; `step_others` about once a second, for what else is read on this thread. Symbols for which `has_feed` is
    False were subscribed by no stream: their incomplete klines are not repaired. `opens_at(market)` is the rule of the
    exchange's candles.
    """

    def __init__(
        self,
        history: HistorySource,
        submit: Callable[[str, Correction | InsertTrades], object],
        step_others: Callable[[], object] = lambda: None,
        has_feed: Callable[[str, str], bool] = lambda _market, _symbol: True,
        opens_at: Callable[[str], OpenRule] = lambda _market: "prev_close",
    ) -> None:
        self._history, self._submit = history, submit
        self._step_others, self._has_feed, self._opens_at = step_others, has_feed, opens_at
        self._gaps: deque[tuple[str, FeedGap, int]] = deque(maxlen=GAPS_LIMIT)
        self._read_ms: dict[tuple[str, str], int] = {}  # when the trades of a symbol were read last: one entry each
        self._pending: dict[Key, _PendingRepair] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="repair", daemon=True)
        self.repaired = self.given_up = 0
        self._logger = ThrottledLogger(log)

    def stop(self, deadline: float) -> bool:
        """End without finishing; False where the thread still waits for an answer at `deadline` (monotonic)."""
        self._stop.set()
        self._wake.set()
        return join_by(self._thread, deadline)

    def stats(self) -> dict[str, int]:
        """Counts since the start, and what waits now; any thread."""
        return {"repaired": self.repaired, "given_up": self.given_up, "waiting": len(self._pending)}

    def put(self, market: str, klines: Sequence[Kline]) -> None:
        """Queue incomplete klines for repair, and take out those that are complete by now. Any thread."""
        steps_ms = self._history.candle_steps_ms(market)
        with self._lock:
            for kline in klines:
                key = Key(market, kline.symbol, kline.interval, kline.timestamp)
                if kline.complete:
                    self._pending.pop(key, None)
                elif not self._has_feed(market, kline.symbol):
                    continue
                elif (step_ms := longest_step(steps_ms, kline.interval, kline.timestamp)) is not None:
                    due_ms = kline.timestamp + kline.interval + FIRST_READ_MS
                    self._pending[key] = _PendingRepair(kline, due_ms, step_ms)
            while len(self._pending) > PENDING_LIMIT:
                self._pending.pop(next(iter(self._pending)))
                self.given_up += 1

    def request_trades(self, market: str, gap: FeedGap) -> None:
        """Have the trades of a gap read, whose two sides are known. Any thread."""
        if len(self._gaps) == GAPS_LIMIT:
            self.given_up += 1
        self._gaps.append((market, gap, 0))
        self._wake.set()

    def wake(self) -> None:
        """Have `step_others` called soon. Any thread."""
        self._wake.set()

    # -- repair thread ---------------------------------------------------------------------------------

    def step(self) -> None:
        """Read everything that is due: trades first, for they repair more, then candles."""
        now_ms = self._history.clock.sure_ms()
        read_now: dict[tuple[str, str], Sequence[PastTrade] | None] = {}
        misses = 0
        for _ in range(len(self._gaps)):  # never empty here: this thread alone takes out
            if self._stop.is_set():
                return
            market, gap, due_ms = self._gaps.popleft()
            key = market, gap.symbol
            ids = None if gap.lacks_ids else gap.ids
            was_read = now_ms - READ_AGAIN_MS < self._read_ms.get(key, 0) <= now_ms and key not in read_now
            if due_ms > now_ms or misses >= MISSES_MOST or (was_read and ids is None):
                self._gaps.append((market, gap, due_ms))
                continue
            if ids is not None:
                trades = self._history.trades_by_id(*key, *ids)
            elif key not in read_now:
                trades = read_now[key] = self._history.recent_trades(*key)
                self._read_ms[key] = now_ms
            else:
                trades = read_now[key]
            misses = misses + 1 if trades is None else 0
            if trades is None:
                self._read_later(market, gap, now_ms)
            elif ids is not None:
                self._take_by_id(market, gap, ids, trades, now_ms)
            else:
                self._take_recent(market, gap, trades, now_ms)
        self._read_candles()

    def _read_later(self, market: str, gap: FeedGap, now_ms: int) -> None:
        """Plan the next read of a gap where there was no answer, which says nothing about its trades."""
        if now_ms - gap.until_ms > UNREAD_MOST_MS:
            self.given_up += 1
            return
        self._gaps.append((market, gap, now_ms + min(READ_AGAIN_MS << min(gap.misses, 10), READ_AGAIN_CAP_MS)))
        gap.misses += 1

    def _take_recent(self, market: str, gap: FeedGap, trades: Sequence[PastTrade], now_ms: int) -> None:
        """Submit the newest trades for a gap; or read again where they lack its far side: REST may be behind."""
        gap.reads, gap.misses = gap.reads + 1, 0
        if gap.reads < READS_LIMIT and all(trade.trade_id != gap.first_id for trade in trades):
            self._gaps.append((market, gap, now_ms + READ_AGAIN_MS))
        else:
            self._submit(market, InsertTrades(gap, trades))

    def _take_by_id(
        self, market: str, gap: FeedGap, ids: tuple[int, int], trades: Sequence[PastTrade], now_ms: int
    ) -> None:
        """Submit the trades of a hole; where the exchange lacks some by id, its newest trades are read instead."""
        gap.reads, gap.misses = gap.reads + 1, 0
        if covers(ids, [span_of(trade) for trade in trades]):
            self._submit(market, InsertTrades(gap, trades, by_id=True))
            return
        if gap.reads >= READS_LIMIT:
            gap.lacks_ids, gap.reads = True, 0
        self._gaps.append((market, gap, now_ms + READ_AGAIN_MS))

    def _read_candles(self) -> None:
        """Read the candles of what is due, one call per symbol and step."""
        now_ms = self._history.clock.sure_ms()
        groups: dict[tuple[str, str, int], list[Key]] = defaultdict(list)
        with self._lock:
            for key, pending in self._pending.items():
                if pending.due_ms <= now_ms:
                    groups[key.market, key.symbol, pending.step_ms].append(key)
        for (market, symbol, step_ms), keys in groups.items():
            if self._stop.is_set():
                return
            start_ms, end_ms = min(k.start_ms for k in keys), max(k.start_ms + k.interval_ms for k in keys)
            found = self._history.candles(market, symbol, step_ms, start_ms, end_ms)
            cap_ms = RETRY_CAP_MS if found is None else MISSING_CAP_MS
            by_start = {candle.start_ms: candle for candle in found or ()}
            for key in sorted(keys):
                with self._lock:
                    pending_now = self._pending.get(key)
                if pending_now is not None:
                    self._settle(key, pending_now, by_start, now_ms, cap_ms)

    def _settle(
        self, key: Key, pending: _PendingRepair, found: Mapping[int, Candle], now_ms: int, retry_cap_ms: int
    ) -> None:
        """Submit the correction of one kline, or plan the next read."""
        end_ms = key.start_ms + key.interval_ms
        candle = rolled_up(found, key.start_ms, end_ms, pending.step_ms, self._opens_at(key.market))
        if candle is None:
            pending.attempts += 1
            pending.due_ms = now_ms + min(RETRY_FIRST_MS * 2 ** min(pending.attempts - 1, 20), retry_cap_ms)
        elif lacks_trades(candle, pending.kline):
            self._wait_for_trades(key, pending, candle, now_ms)
        elif self._is_final(key, pending, candle, now_ms):
            with self._lock:
                self._pending.pop(key, None)
            self.repaired += 1
            self._submit(key.market, Correction(pending.kline, candle))

    def _wait_for_trades(self, key: Key, pending: _PendingRepair, candle: Candle, now_ms: int) -> None:
        """Plan the next read of a candle that lacks trades we counted; after LACKING_MOST of them give it up."""
        pending.lacking, pending.seen = pending.lacking + 1, None
        pending.due_ms = now_ms + min(RETRY_FIRST_MS * 2 ** (pending.lacking - 1), RETRY_CAP_MS)
        if pending.lacking < LACKING_MOST:
            return
        with self._lock:
            if self._pending.get(key) is pending:
                del self._pending[key]
        self.given_up += 1
        values = {"volume": str(pending.kline.volume), "exchange": str(candle.volume)}
        self._logger.warning("candle_lacks_trades", **key._asdict(), **values, remedy="left incomplete")

    def _is_final(self, key: Key, pending: _PendingRepair, candle: Candle, now_ms: int) -> bool:
        is_known = self._history.clock.is_known  # else both reads may have been too early
        if now_ms >= key.start_ms + key.interval_ms + SETTLED_MS or (is_known and pending.seen == candle):
            return True
        pending.seen, pending.due_ms = candle if is_known else None, now_ms + REREAD_MS
        return False

    def _run(self) -> None:
        while not self._stop.is_set():
            for work in (self._step_others, self.step):
                try:
                    work()
                except Exception:  # the thread's outermost loop: the other work, and the next kline, go on
                    self._logger.exception("repair_failed")
            self._wake.wait(STEP_S)
            self._wake.clear()
