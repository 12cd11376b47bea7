"""The repair thread: asks the exchange for the trades of an outage, and for candles that went out incomplete.

Named `repair`. It touches no table: what it learns goes to the aggregator. Klines shorter than a minute are only
healed by trades, for the exchange has no such candles. It waits for nobody and nobody waits for it.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import structlog

from aggregation.klines.decimals import total
from aggregation.trade_queue import Correction, FeedGap, InsertTrades
from model.intervals import longest_step
from model.pacing import LogThrottle
from model.records import Candle, Kline, PastTrade

FIRST_READ_MS = 1_500  # after the end of a candle: the exchange needs a moment to finish it
SETTLED_MS = 10_000  # after its end a candle does not change any more; before that, two reads must agree
REREAD_MS = 1_000
RETRY_FIRST_MS, RETRY_CAP_MS = 2_000, 60_000
MISSING_CAP_MS = 3_600_000  # a candle that good answers leave out is asked for less and less often
LACKING_MOST = 8  # looks at a candle that lacks trades we counted, some four minutes: then its kline stays incomplete
TURNOVER_SHARE = Decimal("0.99")  # of what we counted: the exchange may round or cut each trade's in another way
LOG_EVERY_S = 60.0  # between two log lines about such candles
PENDING_LIMIT = 200_000  # klines waiting to be repaired, some 80 MB; beyond it the oldest stay incomplete
READS_LIMIT, READ_AGAIN_MS = 5, 900  # looks for the trades of an outage, and the pause between two of one symbol
GAPS_LIMIT = 20_000  # outages waiting for their trades: beyond it the oldest are left to the candles
LOOK_S = 1.0  # how often the thread looks without being woken

log = structlog.get_logger()


ReadCandles = Callable[[str, str, int, int, int], Sequence[Candle] | None]
"""(market, symbol, step, start, end) -> candles of [start, end), ms; None where the exchange cannot be asked now."""


ReadTrades = Callable[[str, str], Sequence[PastTrade] | None]
"""(market, symbol) -> the newest trades, oldest first, without a hole; None where the exchange cannot be asked now."""


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
    seen: "tuple[Decimal, ...] | None" = None


class Repairer:
    """`steps_ms`: the lengths of candles the exchange serves (0 is a calendar month).

    `submit(market, correction or splice)` is called on the repair thread, corrections oldest first per symbol and
    interval; `look` about once a second, for what else is to be asked. `is_clock_known`: `now_ms` is the exchange's.
    """

    def __init__(
        self,
        read: ReadCandles,
        read_trades: ReadTrades,
        steps_ms: Sequence[int],
        give: Callable[[str, Correction | InsertTrades], object],
        now_ms: Callable[[], int],
        look: Callable[[], object] = lambda: None,
        is_clock_known: Callable[[], bool] = lambda: True,
    ) -> None:
        self._read, self._read_trades, self._submit, self._now_ms = read, read_trades, give, now_ms
        self._look, self._is_clock_known = look, is_clock_known
        self._gaps: deque[tuple[str, FeedGap, int]] = deque(maxlen=GAPS_LIMIT)
        self._read_ms: dict[tuple[str, str], int] = {}  # when the trades of a symbol were read last: one entry each
        self._steps_ms = sorted(steps_ms)
        self._pending: dict[Key, _PendingRepair] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="repair", daemon=True)
        self.repaired = self.given_up = 0
        self._next_log_s = float("-inf")
        self._throttle = LogThrottle()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def threads(self) -> list[threading.Thread]:
        """The threads that must live."""
        return [self._thread]

    def stop(self, deadline: float) -> bool:
        """End without finishing; False where the thread still waits for an answer at `deadline` (monotonic)."""
        self._stop.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def stats(self) -> dict[str, int]:
        """Counts since the start, and what waits now; any thread."""
        return {"repaired": self.repaired, "given_up": self.given_up, "waiting": len(self._pending)}

    def offer(self, market: str, klines: Iterable[Kline]) -> None:
        """Learn what goes out: incomplete klines are to be repaired, complete ones need it no more. Any thread."""
        with self._lock:
            for kline in klines:
                key = Key(market, kline.symbol, kline.interval, kline.timestamp)
                if kline.complete:
                    self._pending.pop(key, None)
                elif (step_ms := longest_step(self._steps_ms, kline.interval, kline.timestamp)) is not None:
                    due_ms = kline.timestamp + kline.interval + FIRST_READ_MS
                    self._pending[key] = _PendingRepair(kline, due_ms, step_ms)
            while len(self._pending) > PENDING_LIMIT:
                self._pending.pop(next(iter(self._pending)))
                self.given_up += 1

    def request_trades(self, market: str, outage: FeedGap) -> None:
        """Ask for the trades of an outage, whose two sides are known. Any thread."""
        if len(self._gaps) == GAPS_LIMIT:
            self.given_up += 1
        self._gaps.append((market, outage, 0))
        self._wake.set()

    def wake(self) -> None:
        """Have `look` called soon. Any thread."""
        self._wake.set()

    def step(self) -> None:
        """Ask for everything that is due: trades first, for they heal more, then candles."""
        now_ms = self._now_ms()
        read_now: dict[tuple[str, str], Sequence[PastTrade] | None] = {}
        for _ in range(len(self._gaps)):  # never empty here: this thread alone takes out
            if self._stop.is_set():
                return
            market, outage, due_ms = self._gaps.popleft()
            key = market, outage.symbol
            if due_ms > now_ms or (
                key not in read_now and now_ms - READ_AGAIN_MS < self._read_ms.get(key, 0) <= now_ms
            ):
                self._gaps.append((market, outage, due_ms))
                continue
            if key not in read_now:
                read_now[key], self._read_ms[key] = self._read_trades(*key), now_ms
            trades = read_now[key]
            outage.asked += 1
            if trades is not None and any(trade.trade_id == outage.first_id for trade in trades):
                self._submit(market, InsertTrades(outage, trades))
            elif outage.asked < READS_LIMIT:  # REST may lag behind the stream: look again the next time
                self._gaps.append((market, outage, now_ms + READ_AGAIN_MS))
            elif trades is not None:
                self._submit(market, InsertTrades(outage, trades))
        self._read_candles()

    def _read_candles(self) -> None:
        """One call per symbol and length of candle."""
        now_ms = self._now_ms()
        groups: dict[tuple[str, str, int], list[Key]] = defaultdict(list)
        with self._lock:
            for key, pending in self._pending.items():
                if pending.due_ms <= now_ms:
                    groups[key.market, key.symbol, pending.step_ms].append(key)
        for (market, symbol, step_ms), keys in groups.items():
            if self._stop.is_set():
                return
            start_ms, end_ms = min(k.start_ms for k in keys), max(k.start_ms + k.interval_ms for k in keys)
            found = self._read(market, symbol, step_ms, start_ms, end_ms)
            self._take(sorted(keys), found, now_ms)

    def _take(self, keys: list[Key], found: Sequence[Candle] | None, now_ms: int) -> None:
        for key in keys:
            with self._lock:
                pending = self._pending.get(key)
            if pending is None:
                continue
            candle = (
                None
                if found is None
                else rolled_up(found, key.start_ms, key.start_ms + key.interval_ms, pending.step_ms)
            )
            if candle is None:
                pending.attempts += 1
                cap_ms = RETRY_CAP_MS if found is None else MISSING_CAP_MS
                pending.due_ms = now_ms + min(RETRY_FIRST_MS * 2 ** min(pending.attempts - 1, 20), cap_ms)
            elif lacks_trades(candle, pending.kline):
                self._wait_for_trades(key, pending, candle, now_ms)
            elif self._is_final(key, pending, candle, now_ms):
                with self._lock:
                    self._pending.pop(key, None)
                self.repaired += 1
                self._submit(key.market, Correction(pending.kline, candle))

    def _wait_for_trades(self, key: Key, pending: _PendingRepair, candle: Candle, now_ms: int) -> None:
        """The exchange's candle has less than we counted: it is looked at again later, and some time left alone."""
        pending.lacking, pending.seen = pending.lacking + 1, None
        pending.due_ms = now_ms + min(RETRY_FIRST_MS * 2 ** (pending.lacking - 1), RETRY_CAP_MS)
        if pending.lacking < LACKING_MOST:
            return
        with self._lock:
            if self._pending.get(key) is pending:
                del self._pending[key]
        self.given_up += 1
        if time.monotonic() >= self._next_log_s:
            self._next_log_s = time.monotonic() + LOG_EVERY_S
            ours, theirs = str(pending.kline.volume), str(candle.volume)
            log.warning("candle_lacks_trades", **key._asdict(), volume=ours, exchange=theirs, remedy="left incomplete")

    def _is_final(self, key: Key, pending: _PendingRepair, candle: Candle, now_ms: int) -> bool:
        values = (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.turnover)
        is_known = self._is_clock_known()  # else both reads may have been too early
        if now_ms >= key.start_ms + key.interval_ms + SETTLED_MS or (is_known and pending.seen == values):
            return True
        pending.seen, pending.due_ms = values if is_known else None, now_ms + REREAD_MS
        return False

    def _run(self) -> None:
        while not self._stop.is_set():
            for work in (self._look, self.step):
                try:
                    work()
                except Exception:  # the thread's outermost loop: what else is asked, and the next kline, go on
                    if (held := self._throttle.allow("failed", time.monotonic())) is not None:
                        log.exception("repair_failed", held_back=held)
            self._wake.wait(LOOK_S)
            self._wake.clear()


def lacks_trades(candle: Candle, kline: Kline) -> bool:
    """Whether the exchange's candle is without trades that we counted ourselves: it is not final, or not right.

    The open may come from a trade before the window, so that only what lies beyond it was traded for sure.
    """
    if kline.source != "trades" or not kline.trade_count:
        return False
    return (
        candle.volume < kline.volume
        or candle.turnover < kline.turnover * TURNOVER_SHARE
        or not candle.low <= kline.close <= candle.high
        or kline.open < kline.high > candle.high
        or kline.open > kline.low < candle.low
    )


def rolled_up(candles: Sequence[Candle], start_ms: int, end_ms: int, step_ms: int) -> Candle | None:
    """The candles of [start_ms, end_ms) as one, `step_ms` each (0: one month); None where one is missing."""
    by_start = {candle.start_ms: candle for candle in candles}
    wanted = range(start_ms, end_ms, step_ms or end_ms - start_ms)
    parts = [by_start[start] for start in wanted if start in by_start]
    if len(parts) < len(wanted):
        return None
    return Candle(
        start_ms=start_ms,
        open=parts[0].open,
        high=max(candle.high for candle in parts),
        low=min(candle.low for candle in parts),
        close=parts[-1].close,
        volume=total(candle.volume for candle in parts),
        turnover=total(candle.turnover for candle in parts),
    )
