"""The spans of time that an earlier run did not publish, or whose klines are not verified: one per symbol and interval.

Where each begins follows from what the earlier run left (`EarlierRun`, pure). How one is filled depends on what the
exchange has: candles of the interval's steps (`Span`), or only trades (`TradeSpan`). Repair thread.
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from aggregation.klines.arithmetic import ONE, PLAIN, Arithmetic
from aggregation.recovery.candles import candles_of_trades, decimal_of, lacks_trades, rolled_up
from aggregation.recovery.repair import SETTLED_MS
from model.intervals import MINUTE_MS, Interval, longest_step, step_of
from model.ports import ContractSizes, HistorySource
from model.records import Candle, Kline, LastPublished, PastTrade, SeriesKey

LATE_MS = 1_000  # a trade may still be on its way to us when a later one has come
BACK_MS = 300_000  # a long interval may wait for the exchange so long while the symbol's short ones go on
UNSEEN_REVISIONS = 10  # more than a kline may have been revised in its first seconds
WINDOWS_MOST = 20_000  # per symbol and interval, two weeks of minutes: an older past is not filled in
TRADES_REACH_MS = 3_600_000  # the same for intervals that only trades can fill: few symbols' trades reach back so far
TRADES_SETTLED_MS = 5_000  # trades over REST may lag behind the stream; a newer one proves those before it
ASK_AGAIN_S, ASK_IDLE_S = 1.0, 10.0  # pauses between reads: while klines wait, and while none does
ASK_HELD_CAP_S, ASK_CAP_S = 8.0, 3_600.0  # the same, doubled with every answer in which nothing new is


Answer = Mapping[int, Candle | None]
"""Start -> the exchange's values of the window; None where it will never have any. What is not in it may come yet."""
ReadTrades = Callable[[str, str], Sequence[PastTrade] | None]
"""`HistorySource.recent_trades`, each symbol read once per step."""


# -- what the earlier run left --------------------------------------------------------------------------------


class EarlierRun:
    """Klines that an earlier run published, by key: the newest start, and the klines whose values are known.

    A process that is killed cannot take back what it had called complete while its feed had fallen silent unnoticed.
    A kline before a later trade of the same symbol is proven: trades of one connection come in their order.
    """

    def __init__(
        self,
        known: Mapping[SeriesKey, LastPublished],
        recent: Iterable[tuple[str, Kline]],
        intervals: Iterable[Interval],
        followed: Iterable[tuple[str, str]],
    ) -> None:
        self.by_step = {interval.step_ms: interval for interval in intervals}
        self.followed = set(followed)  # (market, symbol)
        self.newest = {key: last[0] for key, last in known.items()}
        self.klines: dict[SeriesKey, dict[int, Kline]] = defaultdict(dict)
        self.add(recent)

    def add(self, klines: Iterable[tuple[str, Kline]]) -> None:
        """Add klines, or higher revisions."""
        for market, kline in klines:
            key = key_of(market, kline)
            self.klines[key][kline.timestamp] = kline
            self.newest[key] = max(self.newest.get(key, 0), kline.timestamp)

    def starts(self) -> Iterator[tuple[SeriesKey, Interval, int]]:
        """(key, interval, start of the oldest window that is not out) of everything that is still collected.

        An interval without a kline yet begins with the window that was open some time before its others ended.
        """
        ends: dict[tuple[str, str], int] = {}
        for key, start_ms in self.newest.items():
            if key[:2] in self.followed:
                interval = self.by_step.get(key[2])  # None: not made any more; of a month the start has to do then
                end_ms = interval.window_end(start_ms) if interval else start_ms + key[2]
                ends[key[:2]] = max(ends.get(key[:2], 0), end_ms)
        for (market, symbol), until_ms in ends.items():
            for step_ms, interval in self.by_step.items():
                key = (market, symbol, step_ms)
                if key in self.newest:
                    yield key, interval, interval.window_end(self.newest[key])
                else:
                    back_ms = 0 if 0 < step_ms < MINUTE_MS else BACK_MS
                    yield key, interval, interval.window_start(until_ms - 1 - back_ms)

    def unverified(self, key: SeriesKey) -> dict[int, Kline]:
        """The klines of `key`, by start, that are incomplete, or not proven by a later trade."""
        klines = self.klines.get(key, {})
        traded = [kline.timestamp for kline in klines.values() if kline.trade_count and kline.source == "trades"]
        alive_ms = max(traded, default=0) - LATE_MS
        return {
            start_ms: kline
            for start_ms, kline in sorted(klines.items())
            if not kline.complete or (kline.timestamp + kline.interval > alive_ms and kline.source == "trades")
        }


def key_of(market: str, kline: Kline) -> SeriesKey:
    """The key of a kline."""
    return market, kline.symbol, step_of(kline.interval, kline.timestamp)


def revision_after(known: int, end_ms: int, now_ms: int) -> int:
    """The revision of what goes out again, or may: higher than any that an earlier run gave, stored or not.

    What was on its way when a process was killed may have arrived and not been stored: the age of the window makes two
    runs, which begin at least a second apart, give different ones.
    """
    return known + UNSEEN_REVISIONS + max(0, now_ms - end_ms) // 1000


# -- spans ----------------------------------------------------------------------------------------------------


@dataclass
class Span:
    """One symbol and interval that has not caught up yet, and of which the exchange has candles.

    Until the new run's own klines take over it is open-ended, and these are withheld. `unverified` are klines that are
    out and may be wrong, or are incomplete, by start.
    """

    key: SeriesKey
    interval: Interval
    next_ms: int  # start of the oldest window that is not out yet
    unverified: dict[int, Kline]
    arithmetic: Arithmetic = PLAIN
    windows_most: int = WINDOWS_MOST  # that are filled in
    is_open_ended: bool = True
    withheld: dict[int, Kline] = field(default_factory=dict)  # the new run's, by start; of each the latest revision
    due_s: float = 0.0
    fruitless_since_s: float = float("inf")
    missing_since_s: float = float("inf")  # since when answers leave the next window out
    was_read: bool = False  # whether the exchange was read in this step
    is_hopeless: bool = False  # the exchange is sure not to have what is missing: to wait for it is no use
    fruitless: int = 0  # answers in a row without anything new
    unanswered: int = 0  # reads in a row without an answer
    cuts: int = 0  # how often windows were left out because the span was too long

    def read(self, history: HistorySource, read_trades: ReadTrades, until_ms: int | None) -> Answer | None:  # noqa: ARG002  # TradeSpan's
        """Read the windows that are unverified, or to be filled in until `until_ms`; None without an answer.

        Blocks. `until_ms` None: the new run has closed no window yet. Read are candles of the longest step that the
        windows are made of.
        """
        windows = self._to_read(history.clock.sure_ms() - SETTLED_MS, until_ms)
        if not windows:
            return {}
        begin_ms, end_ms = min(start for start, _ in windows), max(end for _, end in windows)
        step_ms = longest_step(history.candle_steps_ms(self.key[0]), windows[0][1] - windows[0][0], windows[0][0])
        assert step_ms is not None
        self.was_read = True
        found = history.candles(*self.key[:2], step_ms, begin_ms, end_ms)
        if found is None:
            return None
        by_start = {candle.start_ms: candle for candle in found}
        opens_at = self.arithmetic.exchange_opens_at
        candles = ((start, rolled_up(by_start, start, end, step_ms, opens_at)) for start, end in windows)
        return {start: candle for start, candle in candles if candle and not self._counted_more(start, candle)}

    def first_live(self) -> int | None:
        """Start of the first withheld kline at which the new run's take over; None where there is none yet."""
        return min(self.withheld, default=None)

    def price_at(self, start_ms: int, answer: Answer) -> Decimal | None:
        """The price at which a window without any value is drawn, the open of the next; None where none is known."""
        later = sorted(start for start in answer if start > start_ms)
        return next((candle.open for start in later if (candle := answer[start])), None)

    def pause_s(self) -> float:
        """How long to wait with the next read."""
        if self.unanswered:
            return min(ASK_AGAIN_S * 2.0 ** min(self.unanswered - 1, 10), ASK_IDLE_S)
        is_waited_for = bool(self.withheld) or self.missing_since_s < float("inf")
        pause_s, cap_s = (ASK_AGAIN_S, ASK_HELD_CAP_S) if is_waited_for else (ASK_IDLE_S, ASK_CAP_S)
        return min(pause_s * 2.0 ** max(0, self.fruitless - 1), cap_s)

    def windows(self, until_ms: int) -> list[tuple[int, int]]:
        """(start, end) of the windows to be filled in that are over by `until_ms`, oldest first; the newest ones."""
        windows = []
        start_ms = self.next_ms
        while (end_ms := self.interval.window_end(start_ms)) <= until_ms:
            windows.append((start_ms, end_ms))
            start_ms = end_ms
        if len(windows) > self.windows_most:
            self.cuts += 1
            windows = windows[-self.windows_most :]
            self.next_ms = windows[0][0]
        return windows

    def _to_read(self, settled_ms: int, until_ms: int | None) -> list[tuple[int, int]]:
        """(start, end) of the windows that are unverified, or to be filled in, and are over by `settled_ms`."""
        unverified = [(start, start + kline.interval) for start, kline in sorted(self.unverified.items())]
        windows = [window for window in unverified if window[1] <= settled_ms]
        if self.is_open_ended:
            windows += self.windows(settled_ms if until_ms is None else min(settled_ms, until_ms))
        return windows

    def _counted_more(self, start_ms: int, candle: Candle) -> bool:
        """Whether trades were counted here that the exchange's candle of the same window lacks."""
        ours = self.withheld.get(start_ms) or self.unverified.get(start_ms)
        return ours is not None and lacks_trades(candle, ours)


@dataclass
class TradeSpan(Span):
    """A span of an interval of which the exchange has no candles, but recent trades."""

    contract_size: Callable[[], Decimal | None] = lambda: ONE
    oldest: PastTrade | None = None  # the oldest trade known: what windows before it are drawn at

    def read(self, history: HistorySource, read_trades: ReadTrades, until_ms: int | None) -> Answer | None:
        """`Span.read` of the recent trades: candles are made of them, where they reach over a window."""
        now_ms = history.clock.sure_ms
        if not self.unverified and self.next_ms >= (now_ms() if until_ms is None else until_ms):
            return {}
        if (size := self.contract_size()) is None:  # nor do the new run's klines go out before it is known
            return {}
        market, symbol, _ = self.key
        past, self.was_read = read_trades(market, symbol), True
        if past is None:
            return None
        past = [trade for trade in past if trade.is_counted]
        self.is_hopeless = not past
        if not past:
            return {}
        self.oldest = next((trade for trade in past if trade.size > 0), None)
        settled_ms = past[-1].event_ms
        has_traded_since = any(start > settled_ms and k.trade_count for start, k in list(self.withheld.items()))
        if past[-1].size > 0 and not has_traded_since:  # else the answer reaches no further
            settled_ms = max(now_ms() - TRADES_SETTLED_MS, settled_ms)
        windows = self._to_read(settled_ms, until_ms)
        covered = candles_of_trades(past, windows, self.arithmetic, size)
        lacking = {start for start, candle in covered.items() if self._counted_more(start, candle)}
        return {start: covered.get(start) for start, _ in windows if start not in lacking}

    def first_live(self) -> int | None:
        """`Span.first_live`: the first withheld kline that has all of its trades."""
        return min((start for start, kline in self.withheld.items() if kline.complete), default=None)

    def price_at(self, start_ms: int, answer: Answer) -> Decimal | None:  # noqa: ARG002  # Span's
        """`Span.price_at`: the price of the oldest trade."""
        return None if self.oldest is None else decimal_of(self.oldest.price)


def spans_of(
    earlier: EarlierRun,
    steps_of: Callable[[str], Sequence[int]],
    arithmetic_of: Callable[[str], Arithmetic],
    contract_sizes: ContractSizes,
) -> Iterator[Span]:
    """The spans of all that is still collected, by the lengths of candles that the exchange has in each market."""
    for key, interval, next_ms in earlier.starts():
        unverified, arithmetic = earlier.unverified(key), arithmetic_of(key[0])
        if longest_step(steps_of(key[0]), interval.window_end(next_ms) - next_ms, next_ms) is None:
            most = TRADES_REACH_MS // interval.step_ms
            size_of = functools.partial(contract_sizes, *key[:2]) if arithmetic.has_contracts else lambda: ONE
            yield TradeSpan(key, interval, next_ms, unverified, arithmetic, most, contract_size=size_of)
        else:
            yield Span(key, interval, next_ms, unverified, arithmetic)
