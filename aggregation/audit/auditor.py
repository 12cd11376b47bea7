"""The self-audit: closed klines against the exchange's own candles, a sample of them, all the time.

Thread `audit`. It reads several candles at once, and seldom; klines never wait for it. Incomplete klines are left to
the repair.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from aggregation.audit.compare import FIELDS, VOLUME_ADVICE, Tally, compare, served_step, total
from aggregation.recovery.candles import lacks_trades
from model.clock import ThreadOwner, join_by
from model.intervals import step_name
from model.pacing import ThrottledLogger
from model.ports import AuditResults, HistorySource, ignore_result
from model.records import Candle, Kline

log = structlog.get_logger()

AUDIT_REQUESTS_PER_S = 1.0  # of several that any exchange allows: the repair and the user's own programs come first
SETTLE_MS = 10_000  # after its end, when a candle of the exchange does not change any more
RECHECK_MS = 30_000  # a difference counts when it is still there: a late trade may have been on its way to either side
RETRY_MS = 30_000  # after a read without an answer
CANDLES_PER_CALL = 1_000  # the span of one read, in candles: one page, or several
WAITING_LIMIT = 50_000  # klines waiting to be compared, some 30 MB; more are skipped, and counted
SUMMARY_MS = 60_000  # between two counts of what was compared, where anything was
IDLE_S = 1.0  # pause of the thread while nothing is due
LOGS_PER_MINUTE = 20  # differences written in full; the others are counted

Correct = Callable[[str, Kline, Candle], object]
"""(market, our kline, the exchange's candle): publish a revision with the exchange's values."""
Group = tuple[str, str, int]


@dataclass
class PendingComparison:
    """A kline that is to be compared."""

    kline: Kline
    due_ms: int
    has_differed: bool = False  # it differed once


class Auditor(ThreadOwner):
    """Owner of the `audit` thread; a KlineSink of what is published.

    `sample`: share of klines that are compared, in the fields that `fields_of(market)` gives. `is_left_out(market,
    kline)`: the exchange has no such candle, and ours is right; it was not there at two reads. `correct` is called on
    the audit thread; None leaves differences as they are, and a candle of the exchange that lacks trades counted here
    corrects nothing. `results` gets every difference, and the counts of a minute.
    """

    def __init__(
        self,
        history: HistorySource,
        *,
        sample: float = 0.05,
        correct: Correct | None = None,
        fields_of: Callable[[str], Sequence[str]] = lambda _market: FIELDS,
        is_left_out: Callable[[str, Kline], bool] = lambda _market, _kline: False,
        results: AuditResults = ignore_result,
        requests_per_s: float = AUDIT_REQUESTS_PER_S,
        choose: Callable[[], float] = random.random,
        waiting_limit: int = WAITING_LIMIT,
        recheck_ms: int = RECHECK_MS,
        retry_ms: int = RETRY_MS,
        idle_s: float = IDLE_S,
    ) -> None:
        self._recheck_ms, self._retry_ms, self._idle_s = recheck_ms, retry_ms, idle_s
        self._waiting_limit = waiting_limit
        self._history = history
        self._sample, self._correct, self._fields_of, self._choose = sample, correct, fields_of, choose
        self._is_left_out, self._results = is_left_out, results
        self._recent: dict[str, Counter[str]] = {}  # by market, since the last summary
        self._summary_ms = 0
        self._pause_s = 1.0 / requests_per_s
        self._groups: dict[Group, dict[int, PendingComparison]] = {}
        self._count = 0
        self._lock = threading.Lock()
        self._tallies: dict[tuple[str, int], Tally] = {}  # by market and step
        self._skipped = self._unanswered = self._corrected = 0
        self._logged, self._log_from_ms, self._held_back = 0, 0, 0
        self._logger = ThrottledLogger(log)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    # -- any thread ------------------------------------------------------------------------------------

    def stop(self, deadline: float) -> bool:
        """End without finishing; False where the thread still waits for an answer at `deadline` (monotonic)."""
        self._stop.set()
        return join_by(self._thread, deadline)

    def put(self, market: str, klines: Sequence[Kline]) -> None:
        """Queue a sample of what goes out; a revision takes the place of what it revises. Does not block."""
        steps_ms = self._history.candle_steps_ms(market)
        with self._lock:
            for kline in klines:
                step_ms = served_step(kline, steps_ms)
                if step_ms is not None:
                    self._take(market, kline, step_ms)

    def stats(self) -> dict[str, object]:
        """Figures since the start, by interval, and what waits now."""
        with self._lock:
            steps_ms = sorted({step_ms for _, step_ms in self._tallies})
            intervals = {step_name(step_ms): self._total(step_ms).as_dict() for step_ms in steps_ms}
        return {
            "waiting": self._count,
            "skipped": self._skipped,
            "unanswered": self._unanswered,
            "corrected": self._corrected,
            "intervals": intervals,
        }

    def by_market(self) -> dict[str, Tally]:
        """Results since the start by market."""
        with self._lock:
            return {market: self._total(market) for market in sorted({market for market, _ in self._tallies})}

    def _total(self, part: str | int) -> Tally:
        """Sum up the results of a market or step."""
        return total(tally for key, tally in self._tallies.items() if part in key)

    def _take(self, market: str, kline: Kline, step_ms: int) -> None:
        group = self._groups.get((market, kline.symbol, step_ms), {})
        known = group.pop(kline.timestamp, None)
        self._count -= known is not None
        if not kline.complete or (known is None and self._choose() >= self._sample):
            return
        if self._count >= self._waiting_limit:
            self._skipped += 1
            return
        now_ms = self._history.clock.sure_ms() if kline.revision else 0
        due_ms = max(kline.timestamp + kline.interval, now_ms) + SETTLE_MS
        self._enqueue((market, kline.symbol, step_ms), PendingComparison(kline, due_ms))

    def _enqueue(self, key: Group, waiting: PendingComparison) -> None:
        self._groups.setdefault(key, {})[waiting.kline.timestamp] = waiting
        self._count += 1

    # -- audit thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                was_read = self.step()
            except Exception:  # the thread's outermost loop: the next kline may be compared
                self._logger.exception("audit_failed")
                was_read = True
            self._stop.wait(self._pause_s if was_read else self._idle_s)
        self._summarize()

    def step(self) -> bool:
        """Read once, for the group that is due the longest; False where none is."""
        now_ms = self._history.clock.sure_ms()
        if now_ms - self._summary_ms >= SUMMARY_MS:
            self._summary_ms = now_ms
            self._summarize()
        taken = self._take_due(now_ms)
        if taken is None:
            return False
        (market, symbol, step_ms), waiting = taken
        begin_ms, end_ms = waiting[0].kline.timestamp, waiting[-1].kline.timestamp + waiting[-1].kline.interval
        found = self._history.candles(market, symbol, step_ms, begin_ms, end_ms)
        candles = {candle.start_ms: candle for candle in found or ()}
        for one in waiting:
            if found is None:
                self._requeue((market, symbol, step_ms), one, now_ms + self._retry_ms)
            else:
                self._settle((market, symbol, step_ms), one, candles.get(one.kline.timestamp), now_ms)
        self._unanswered += found is None
        return True

    def _take_due(self, now_ms: int) -> tuple[Group, list[PendingComparison]] | None:
        """Take out what one read answers of the group that has waited longest, oldest start first."""
        with self._lock:
            self._groups = {key: group for key, group in self._groups.items() if group}
            first_due = {key: min(one.due_ms for one in group.values()) for key, group in self._groups.items()}
            key = min(first_due, key=lambda key: first_due[key], default=None)
            if key is None or first_due[key] > now_ms:
                return None
            group = self._groups[key]
            due = sorted(start for start, one in group.items() if one.due_ms <= now_ms)
            reach_ms = group[due[0]].kline.interval * CANDLES_PER_CALL
            taken = [group.pop(start) for start in due if start < due[0] + reach_ms]
            self._count -= len(taken)
            return key, taken

    def _requeue(self, key: Group, waiting: PendingComparison, due_ms: int) -> None:
        with self._lock:
            if waiting.kline.timestamp not in self._groups.get(key, {}):  # else a revision came meanwhile
                waiting.due_ms = due_ms
                self._enqueue(key, waiting)

    def _settle(self, key: Group, waiting: PendingComparison, candle: Candle | None, now_ms: int) -> None:
        kline = waiting.kline
        differing = compare(kline, candle, self._fields_of(key[0])) if candle else ("unknown",)
        if differing and not waiting.has_differed:
            waiting.has_differed = True
            self._requeue(key, waiting, now_ms + self._recheck_ms)
            return
        is_left_out = candle is None and self._is_left_out(key[0], kline)
        with self._lock:
            tally = self._tallies.setdefault((key[0], key[2]), Tally())
            if candle:
                tally.count(kline, candle, differing)
            elif is_left_out:
                tally.agree()
            else:
                tally.unknown += 1
        is_equal = is_left_out or not differing
        self._recent.setdefault(key[0], Counter()).update(compared=1, equal=is_equal)
        if is_equal:
            return
        difference = _difference(key[0], kline, candle, differing)
        self._results(key[0], {"event": "kline_differs", **difference})
        self._log_difference(difference, now_ms)
        if candle and self._correct and not lacks_trades(candle, kline):
            self._corrected += 1
            self._correct(key[0], kline, candle)

    def _summarize(self) -> None:
        """Hand over what was compared since the last time, by market."""
        recent, self._recent = self._recent, {}
        for market, counts in recent.items():
            self._results(market, {"event": "audit", "market": market, **counts})

    def _log_difference(self, difference: dict[str, Any], now_ms: int) -> None:
        if now_ms - self._log_from_ms >= 60_000:
            self._log_from_ms, self._logged = now_ms, 0
        self._logged += 1
        if self._logged > LOGS_PER_MINUTE:
            self._held_back += 1
            return
        hint = {"hint": VOLUME_ADVICE} if "volume" in difference["fields"] else {}
        log.warning("kline_differs", **difference, held_back=self._held_back, **hint)
        self._held_back = 0


def _difference(market: str, kline: Kline, candle: Candle | None, differing: tuple[str, ...]) -> dict[str, Any]:
    return {
        "market": market,
        "symbol": kline.symbol,
        "interval": kline.interval,
        "timestamp": kline.timestamp,
        "revision": kline.revision,
        "source": kline.source,
        "fields": differing,
        "ours": {name: str(getattr(kline, name)) for name in FIELDS},
        "exchange": {name: str(getattr(candle, name)) for name in FIELDS} if candle else None,
    }
