"""Where an earlier run ended: what closed while nobody collected goes out before what closes now.

Pure but for the questions it is given; `admit` is called on the aggregator thread, `step` on the repair thread. What
went out shortly before the end is held against the exchange first: a process that is killed cannot take anything back.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import structlog
from msgspec.structs import replace

from aggregation.recovery.backfill_start import (
    EarlierRun,
    Key,
    Published,
    key_of,
    revision_after,
    starts_of,
    unverified_of,
)
from aggregation.recovery.repair import SETTLED_MS, ReadCandles, ReadTrades, lacks_trades, rolled_up
from aggregation.recovery.trade_candles import TradeCandle, candles_of_trades, decimal_of
from model.intervals import Interval, longest_step
from model.records import Candle, Kline, PastTrade

HOLD_S = 30.0  # how long klines wait for older ones where the exchange cannot be asked: then these go out incomplete
WINDOWS_AT_MOST = 20_000  # per symbol and interval, two weeks of minutes: an older past is not filled in
FINE_MS_AT_MOST = 3_600_000  # the same for intervals that only trades can fill: few symbols' trades reach back so far
TRADES_SETTLED_MS = 5_000  # trades over REST may lag behind the stream; a newer one proves those before it
ASK_AGAIN_S, ASK_IDLE_S = 1.0, 10.0  # pauses between questions: while klines wait, and while none does
ASK_HELD_CAP_S, ASK_CAP_S = 8.0, 3_600.0  # the same, doubled with every answer in which nothing new is
MISSING_S = 10.0  # how long a candle is waited for that the exchange leaves out between others
VAIN_MOST = 20  # answers in a row without anything new, most of a day: what is incomplete then stays so
MISSES_AT_MOST = 2  # questions in a row without an answer: the others of this round are not asked
OPEN_AT_MOST = 5_000  # per symbol and interval, incomplete klines that are looked after when the new run goes on

__all__ = ["Backfill", "Published"]

log = structlog.get_logger()

Answer = Mapping[int, Candle | None]
"""Start -> what the exchange says of the window; None where it will never say. What is not in it may come yet."""


@dataclass
class _Gap:
    """One symbol and interval that has not caught up yet."""

    interval: Interval
    next_ms: int  # start of the oldest window that is not out yet
    is_fine: bool  # the exchange has no such candles, but trades
    doubtful: dict[int, Kline]  # what is out and may be wrong, or is incomplete, by start
    is_filling: bool = True  # until the new run's own klines take over
    held: dict[int, Kline] = field(default_factory=dict)  # the new run's, by start; of each the latest issue
    due_s: float = 0.0
    vain_since_s: float = float("inf")
    missing_since_s: float = float("inf")  # since when answers leave the next window out
    was_read: bool = False  # whether the exchange has been asked in this step
    vain: int = 0  # answers in a row without anything new
    unanswered: int = 0  # questions in a row without an answer
    has_no_trades: bool = False  # the exchange's list of recent trades is empty: to wait for them is no use
    price: PastTrade | None = None  # the oldest trade known: what windows before it are drawn at

    def knows_more(self, start_ms: int, candle: Candle) -> bool:
        """Whether trades were counted here that the exchange's candle of the same window lacks."""
        ours = self.held.get(start_ms) or self.doubtful.get(start_ms)
        return ours is not None and lacks_trades(candle, ours)

    def has_traded_since(self, ms: int) -> bool:
        """Whether the new run has counted trades in a window that begins later."""
        return any(start > ms and kline.trade_count for start, kline in list(self.held.items()))

    def pause_s(self) -> float:
        """How long to wait with the next question."""
        if self.unanswered:
            return min(ASK_AGAIN_S * 2.0 ** min(self.unanswered - 1, 10), ASK_IDLE_S)
        is_waited_for = bool(self.held) or self.missing_since_s < float("inf")
        pause_s, cap_s = (ASK_AGAIN_S, ASK_HELD_CAP_S) if is_waited_for else (ASK_IDLE_S, ASK_CAP_S)
        return min(pause_s * 2.0 ** max(0, self.vain - 1), cap_s)

    def head(self) -> int | None:
        """Where the new run's klines take over: for fine ones at the first that knows its trades."""
        starts = [start for start, kline in self.held.items() if kline.complete or not self.is_fine]
        return min(starts, default=None)


class Backfill:
    """Fills the time between two runs, per market, symbol and interval; knows nothing of a first run.

    `known`: (market, symbol, interval in ms or 0 for months) -> what was published last; only (market, symbol) pairs in
    `followed` go on. `recent`: (market, last issue)
    of what was published shortly before the end, and of what is not complete yet. `publish(market, klines)` may be
    called on either thread, in order per symbol and interval.
    """

    def __init__(
        self,
        known: Mapping[Key, Published],
        intervals: Iterable[Interval],
        followed: Iterable[tuple[str, str]],
        read: ReadCandles,
        steps_ms: Sequence[int],
        publish: Callable[[str, list[Kline]], object],
        now_ms: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        *,
        read_trades: ReadTrades = lambda _market, _symbol: None,
        recent: Iterable[tuple[str, Kline]] = (),
        prev_close_opens: bool = True,
    ) -> None:
        self._clock, self._failing_since_s = clock, float("inf")
        self._read, self._read_trades, self._steps_ms = read, read_trades, steps_ms
        self._publish, self._now_ms, self._prev_close_opens = publish, now_ms, prev_close_opens
        self._lock = threading.Lock()
        self._gaps: dict[Key, _Gap] = {}
        self._trades: dict[tuple[str, str], Sequence[PastTrade] | None] = {}
        self.filled = self.holes = self.reissued = 0
        earlier = EarlierRun(known, recent, intervals, followed)
        self._begun_ms = now_ms()
        self._first_own = {key: start_ms + 1 for key, start_ms in earlier.newest.items()}  # the rest was sent before
        for key, interval, next_ms in starts_of(earlier):
            is_fine = longest_step(steps_ms, interval.window_end(next_ms) - next_ms, next_ms) is None
            self._gaps[key] = _Gap(interval, next_ms, is_fine, unverified_of(earlier, key))
            self._first_own[key] = next_ms

    @property
    def is_over(self) -> bool:
        """Whether everything has caught up."""
        return not self._gaps

    def admit(self, market: str, klines: list[Kline]) -> list[Kline]:
        """Those that may go out now; the others wait, or were out before this run."""
        if not self._first_own:
            return klines
        with self._lock:
            return [kline for kline in klines if self._may_pass(market, kline)]

    def _may_pass(self, market: str, kline: Kline) -> bool:
        key = key_of(market, kline)
        gap = self._gaps.get(key)
        if gap is None or not gap.is_filling:
            return kline.timestamp >= self._first_own.get(key, 0)
        if kline.timestamp >= gap.next_ms and kline.timestamp + kline.interval > self._begun_ms:
            gap.held[kline.timestamp] = kline
            gap.due_s = min(gap.due_s, self._clock() + ASK_AGAIN_S)
        return False

    # -- repair thread ---------------------------------------------------------------------------------

    def step(self) -> None:
        """Ask for what is missing, send it, and let go what waited for it."""
        misses = 0
        self._trades.clear()
        for key, gap in sorted(self._gaps.items(), key=lambda item: item[1].due_s):
            is_due = gap.due_s <= self._clock() and misses < MISSES_AT_MOST
            gap.was_read = False
            answer = self._ask(key, gap) if is_due else {}
            if answer is None:
                misses += 1
                self._failing_since_s = min(self._failing_since_s, self._clock())
            with self._lock:
                self._take(key, gap, answer, was_asked=is_due)

    def _ask(self, key: Key, gap: _Gap) -> Answer | None:
        """What the exchange knows of the windows in doubt and of those to be filled in; None where it is silent."""
        with self._lock:
            head_ms, doubtful = gap.head(), {start: kline.interval for start, kline in gap.doubtful.items()}
        if gap.is_fine:
            return self._ask_trades(key, gap, doubtful, head_ms)
        settled_ms = self._now_ms() - SETTLED_MS
        windows = [(start, start + length) for start, length in doubtful.items() if start + length <= settled_ms]
        if gap.is_filling:
            windows += self._windows(key, gap, settled_ms if head_ms is None else min(settled_ms, head_ms))
        if not windows:
            return {}
        begin_ms, end_ms = min(start for start, _ in windows), max(end for _, end in windows)
        step_ms = longest_step(self._steps_ms, windows[0][1] - windows[0][0], windows[0][0])
        assert step_ms is not None
        gap.was_read = True
        found = self._read(key[0], key[1], step_ms, begin_ms, end_ms)
        if found is None:
            return None
        self._failing_since_s = float("inf")
        by_start = {candle.start_ms: candle for candle in found}
        within = {w: [by_start[s] for s in range(*w, step_ms or w[1] - w[0]) if s in by_start] for w in windows}
        candles = ((start, rolled_up(parts, start, end, step_ms)) for (start, end), parts in within.items())
        return {start: candle for start, candle in candles if candle and not gap.knows_more(start, candle)}

    def _ask_trades(self, key: Key, gap: _Gap, doubtful: dict[int, int], head_ms: int | None) -> Answer | None:
        if not doubtful and gap.next_ms >= (self._now_ms() if head_ms is None else head_ms):
            return {}
        market, symbol, step_ms = key
        if (market, symbol) not in self._trades:  # one question for all intervals of a symbol
            self._trades[market, symbol] = self._read_trades(market, symbol)
        past, gap.was_read = self._trades[market, symbol], True
        if past is None:
            return None
        self._failing_since_s = float("inf")
        gap.has_no_trades = not past
        if not past:
            return {}
        gap.price = next((trade for trade in past if trade.size > 0), None)
        settled_ms = past[-1].event_ms
        if past[-1].size > 0 and not gap.has_traded_since(settled_ms):  # else that is all that the answer knows
            settled_ms = max(self._now_ms() - TRADES_SETTLED_MS, settled_ms)
        windows = [(start, start + step_ms) for start in sorted(doubtful) if start + step_ms <= settled_ms]
        if gap.is_filling:
            windows += self._windows(key, gap, settled_ms if head_ms is None else min(settled_ms, head_ms))
        covered = candles_of_trades(past, windows, prev_close_opens=self._prev_close_opens, inverse=market == "inverse")
        lacking = {start for start, candle in covered.items() if gap.knows_more(start, candle)}
        return {start: covered.get(start) for start, _ in windows if start not in lacking}

    def _windows(self, key: Key, gap: _Gap, until_ms: int) -> list[tuple[int, int]]:
        """(start, end) of the windows to be filled in that are over by `until_ms`, oldest first; at most so many."""
        at_most = FINE_MS_AT_MOST // gap.interval.step_ms if gap.is_fine else WINDOWS_AT_MOST
        windows = _windows(gap.interval, gap.next_ms, until_ms)
        if len(windows) > at_most:
            self.holes += 1
            log.warning("resumption_cut", symbol=key[1], interval=gap.interval.name, windows=len(windows))
            windows = windows[-at_most:]
            gap.next_ms = windows[0][0]
        return windows

    # -- under the lock ----------------------------------------------------------------------------------

    def _take(self, key: Key, gap: _Gap, answer: Answer | None, *, was_asked: bool) -> None:
        before, known = (gap.next_ms, len(gap.doubtful)), answer or {}
        revised = self._verified(gap, known)
        filled = self._fill(key, gap, known) if gap.is_filling else []
        if was_asked:
            is_vain = before == (gap.next_ms, len(gap.doubtful)) and bool(gap.held or gap.doubtful or gap.was_read)
            gap.unanswered = gap.unanswered + 1 if answer is None else 0
            gap.vain = gap.vain + (gap.was_read and answer is not None) if is_vain else 0
            gap.vain_since_s = min(gap.vain_since_s, self._clock()) if is_vain else float("inf")
            gap.due_s = self._clock() + gap.pause_s()
        if gap.is_filling and gap.held:
            filled += self._hand_over(key, gap, revised)
        self.reissued += len(revised)
        if revised or filled:
            self._publish(key[0], revised + filled)
        if not gap.is_filling and (not gap.doubtful or gap.vain >= VAIN_MOST):
            del self._gaps[key]

    def _verified(self, gap: _Gap, answer: Answer) -> list[Kline]:
        """Revisions of what was out and is not as the exchange has it, or cannot be known any more."""
        revised: list[Kline] = []
        for start_ms in sorted(gap.doubtful.keys() & answer.keys()):
            kline, candle = gap.doubtful.pop(start_ms), answer[start_ms]
            revision = self._again(kline)
            if candle is None:
                revised += [replace(kline, complete=False, revision=revision)] if kline.complete else []
            elif not kline.complete or not self._is_same(kline, candle):
                revised.append(_kline(kline.symbol, kline.interval, candle, revision))
        return revised

    def _is_same(self, kline: Kline, candle: Candle) -> bool:
        if isinstance(candle, TradeCandle) and candle.trade_count != kline.trade_count:
            return False
        names = ["close", "volume", "turnover"]
        if self._prev_close_opens or isinstance(candle, TradeCandle):  # the exchange's own candles open like that
            names += ["open", "high", "low"]
        return all(getattr(kline, name) == getattr(candle, name) for name in names)

    def _fill(self, key: Key, gap: _Gap, answer: Answer) -> list[Kline]:
        """The next windows, as far as it is known what they are, or that it will never be known."""
        filled: list[Kline] = []
        while gap.next_ms in answer or self._is_left_out(gap, answer):
            candle, own = answer.get(gap.next_ms), gap.held.pop(gap.next_ms, None)
            start_ms, end_ms = gap.next_ms, gap.interval.window_end(gap.next_ms)
            revision = revision_after(0, end_ms, self._now_ms())
            if candle is not None:
                filled.append(_kline(key[1], end_ms - start_ms, candle, revision))
            elif own is not None:
                filled.append(own)
            elif (price := _price_after(start_ms, gap, answer)) is not None:
                filled.append(_flat(key[1], start_ms, end_ms, price, revision))
            if start_ms not in answer:
                gap.doubtful |= {kline.timestamp: kline for kline in filled[-1:] if not kline.complete}
            gap.next_ms = end_ms
        self._first_own[key] = gap.next_ms
        self.filled += len(filled)
        return filled

    def _is_left_out(self, gap: _Gap, answer: Answer) -> bool:
        """Whether the exchange has later candles and not the next, and has been asked for it long enough."""
        if not gap.was_read:
            return False
        if all(start <= gap.next_ms for start in answer):
            gap.missing_since_s = float("inf")
            return False
        gap.missing_since_s = min(gap.missing_since_s, self._clock())
        return self._clock() - gap.missing_since_s >= MISSING_S

    def _hand_over(self, key: Key, gap: _Gap, revised: list[Kline]) -> list[Kline]:
        """What the new run has closed, where nothing older is missing or in doubt, or has been waited for enough."""
        since_s = min(self._failing_since_s, gap.vain_since_s)
        is_over = gap.has_no_trades or self._clock() - since_s >= HOLD_S
        is_sure = not any(kline.complete for kline in gap.doubtful.values())
        if not is_over and not (is_sure and gap.head() == gap.next_ms):
            return []
        released: list[Kline] = []
        first = gap.held[min(gap.held)]
        if is_over and gap.next_ms < first.timestamp:
            self.holes += 1
            log.warning("resumption_unread", symbol=key[1], interval=gap.interval.name, from_ms=gap.next_ms)
            for start_ms, end_ms in self._windows(key, gap, first.timestamp):
                revision = revision_after(0, end_ms, self._now_ms())
                released.append(_flat(key[1], start_ms, end_ms, first.open, revision))
        self._doubt_openly(gap, revised, released)
        own = [gap.held[start_ms] for start_ms in sorted(gap.held)]
        self._first_own[key] = gap.next_ms = first.timestamp
        gap.is_filling, gap.held = False, {}
        return released + own

    def _again(self, kline: Kline) -> int:
        return revision_after(kline.revision, kline.timestamp + kline.interval, self._now_ms())

    def _doubt_openly(self, gap: _Gap, revised: list[Kline], released: list[Kline]) -> None:
        """What nobody could verify until now is called incomplete, and looked after when the new run has gone on."""
        for start_ms, kline in sorted(gap.doubtful.items()):
            if kline.complete:
                gap.doubtful[start_ms] = replace(kline, complete=False, revision=self._again(kline))
                revised.append(gap.doubtful[start_ms])
        gap.doubtful |= {kline.timestamp: kline for kline in released[-OPEN_AT_MOST:]}


def _price_after(start_ms: int, gap: _Gap, answer: Answer) -> Decimal | None:
    """What a window of which nothing is known is drawn at: the open of the next known one, or the oldest trade."""
    later = sorted(start for start in answer if start > start_ms)
    candle = next((found for start in later if (found := answer[start])), None)
    if candle is not None and not gap.is_fine:
        return candle.open
    return None if gap.price is None else decimal_of(gap.price.price)


def _kline(symbol: str, interval_ms: int, candle: Candle, revision: int) -> Kline:
    """As the exchange has it; of how many trades its own candles are, it does not tell."""
    is_traded = isinstance(candle, TradeCandle)
    return Kline(
        symbol=symbol,
        interval=interval_ms,
        timestamp=candle.start_ms,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        trade_count=candle.trade_count if isinstance(candle, TradeCandle) else 0,
        turnover=candle.turnover,
        complete=True,
        source="trades" if is_traded else "exchange",
        revision=revision,
    )


def _flat(symbol: str, start_ms: int, end_ms: int, price: Decimal, revision: int) -> Kline:
    """A window of which nothing is known but a price from later; it says so."""
    candle = Candle(start_ms, price, price, price, price, Decimal(0), Decimal(0))
    flat = _kline(symbol, end_ms - start_ms, candle, revision)
    return replace(flat, complete=False, source="trades")


def _windows(interval: Interval, start_ms: int, until_ms: int) -> list[tuple[int, int]]:
    """(start, end) of the windows from `start_ms` on that are over by `until_ms`, oldest first."""
    windows = []
    while (end_ms := interval.window_end(start_ms)) <= until_ms:
        windows.append((start_ms, end_ms))
        start_ms = end_ms
    return windows
