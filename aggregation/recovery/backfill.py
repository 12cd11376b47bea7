"""Backfill between two runs: what closed while no collector ran goes out before what closes now.

`put` is called on the aggregator thread, `step` on the repair thread. What an earlier run published shortly before its
end is compared with the exchange first: a process that is killed cannot take anything back. What is published here
comes from the exchange, or is read again until it does: it takes no way through repair and audit.
"""

import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

import structlog
from msgspec.structs import replace

from aggregation.audit.compare import compare, compared_fields
from aggregation.klines.arithmetic import PLAIN, Arithmetic
from aggregation.recovery.backfill_spans import (
    ASK_AGAIN_S,
    Answer,
    EarlierRun,
    Span,
    key_of,
    revision_after,
    spans_of,
)
from aggregation.recovery.candles import TradeCandle
from model.intervals import Interval
from model.pacing import ThrottledLogger
from model.ports import ContractSizes, HistorySource, KlineSink
from model.records import Candle, Kline, Published, SeriesKey

HOLD_S = 30.0  # how long klines wait for older ones where the exchange cannot be read: then these go out incomplete
MISSING_S = 10.0  # how long a candle is waited for that the exchange leaves out between others
FRUITLESS_MOST = 20  # answers in a row without anything new, most of a day: what is incomplete then stays so
MISSES_MOST = 2  # reads in a row without an answer: the other spans are not read in this step
OPEN_MOST = 5_000  # per symbol and interval, incomplete klines that are read again when the new run goes on

log = structlog.get_logger()


class Backfill:
    """Fills the time between two runs, per market, symbol and interval; a KlineSink in front of `outputs`.

    `published` is what the earlier run left; only (market, symbol) pairs in `followed` go on. `outputs` is called on
    either thread, in order per symbol and interval.
    """

    def __init__(
        self,
        published: Published,
        intervals: Iterable[Interval],
        followed: Iterable[tuple[str, str]],
        history: HistorySource,
        outputs: KlineSink,
        *,
        arithmetic_of: Callable[[str], Arithmetic] = lambda _market: PLAIN,
        contract_sizes: ContractSizes = lambda _market, _symbol: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._history, self._outputs, self._monotonic = history, outputs, monotonic
        self._failing_since_s = float("inf")
        self._logger = ThrottledLogger(log)
        self._lock = threading.Lock()
        self.filled = self.holes = self.reissued = 0
        self._begun_ms, self._certain_until_ms = self._now_ms(), published.certain_until_ms
        earlier = EarlierRun(published.last, published.recent, intervals, followed)
        self._again = [
            (market, replace(kline, revision=self._next_revision(kline)))
            for market, kline in published.unconfirmed
            if (market, kline.symbol) in earlier.followed
        ]
        earlier.add(self._again)
        self._first_own = {key: start_ms + 1 for key, start_ms in earlier.newest.items()}  # the rest was sent before
        spans = spans_of(earlier, history.candle_steps_ms, arithmetic_of, contract_sizes)
        self._spans: dict[SeriesKey, Span] = {span.key: span for span in spans}
        self._first_own |= {key: span.next_ms for key, span in self._spans.items()}

    @property
    def is_over(self) -> bool:
        """Whether everything has caught up."""
        return not self._spans

    def put(self, market: str, klines: Sequence[Kline]) -> None:
        """Pass on the klines that may go out now; the others are withheld, or were out before this run."""
        if self._first_own:
            with self._lock:
                klines = [kline for kline in klines if self._may_pass(market, kline)]
        self._outputs.put(market, klines)

    def _may_pass(self, market: str, kline: Kline) -> bool:
        key = key_of(market, kline)
        span = self._spans.get(key)
        if span is None or not span.is_open_ended:
            return kline.timestamp >= self._first_own.get(key, 0)
        if kline.timestamp >= span.next_ms and kline.timestamp + kline.interval > self._begun_ms:
            span.withheld[kline.timestamp] = kline
            span.due_s = min(span.due_s, self._monotonic() + ASK_AGAIN_S)
        return False

    def _now_ms(self) -> int:
        return self._history.clock.sure_ms()

    # -- repair thread ---------------------------------------------------------------------------------

    def step(self) -> None:
        """Read what is missing, publish it, and release what waited for it."""
        self._issue_again()
        misses = 0
        read_trades = functools.cache(self._history.recent_trades)  # one read for all intervals of a symbol
        for span in sorted(self._spans.values(), key=lambda span: span.due_s):
            is_due = span.due_s <= self._monotonic() and misses < MISSES_MOST
            span.was_read = False
            with self._lock:
                until_ms = span.first_live()
            answer = span.read(self._history, read_trades, until_ms) if is_due else {}
            if answer is None:
                misses += 1
                self._failing_since_s = min(self._failing_since_s, self._monotonic())
            elif span.was_read:
                self._failing_since_s = float("inf")
            with self._lock:
                self._settle(span, answer, was_due=is_due)

    def _issue_again(self) -> None:
        """Publish, with a higher revision, what may not have been published, as it is; once."""
        again, self._again = self._again, []
        for market, klines in itertools.groupby(again, key=lambda one: one[0]):
            with self._lock:
                self._outputs.put(market, [kline for _, kline in klines])
        self.reissued += len(again)

    # -- under the lock --------------------------------------------------------------------------------

    def _settle(self, span: Span, answer: Answer | None, *, was_due: bool) -> None:
        """Publish what an answer brought to one span, and drop the span where it has caught up."""
        before, known = (span.next_ms, len(span.unverified)), answer or {}
        revised = self._verified(span, known)
        filled = self._fill(span, known) if span.is_open_ended else []
        if was_due:
            is_waiting = bool(span.withheld or span.unverified or span.was_read)
            is_fruitless = is_waiting and before == (span.next_ms, len(span.unverified))
            span.unanswered = span.unanswered + 1 if answer is None else 0
            span.fruitless = span.fruitless + (span.was_read and answer is not None) if is_fruitless else 0
            span.fruitless_since_s = min(span.fruitless_since_s, self._monotonic()) if is_fruitless else float("inf")
            span.due_s = self._monotonic() + span.pause_s()
        if span.is_open_ended and span.withheld:
            filled += self._hand_over(span, revised)
        if span.cuts:
            self._logger.warning(
                "backfill_cut", symbol=span.key[1], interval=span.interval.name, most=span.windows_most
            )
        self.holes, span.cuts = self.holes + span.cuts, 0
        self.reissued += len(revised)
        if revised or filled:
            self._outputs.put(span.key[0], revised + filled)
        if not span.is_open_ended and (not span.unverified or span.fruitless >= FRUITLESS_MOST):
            del self._spans[span.key]

    def _verified(self, span: Span, answer: Answer) -> list[Kline]:
        """Revisions of klines that are out and differ from the exchange's values, or can never be verified."""
        revised: list[Kline] = []
        for start_ms in sorted(span.unverified.keys() & answer.keys()):
            kline, candle = span.unverified.pop(start_ms), answer[start_ms]
            revision = self._next_revision(kline)
            if candle is None:
                revised += [replace(kline, complete=False, revision=revision)] if kline.complete else []
            elif not kline.complete or not _is_same(kline, candle, span.arithmetic):
                revised.append(_kline(kline.symbol, kline.interval, candle, revision))
            elif kline.timestamp + kline.interval > self._certain_until_ms:
                revised.append(replace(kline, revision=revision))
        return revised

    def _fill(self, span: Span, answer: Answer) -> list[Kline]:
        """Klines of the next windows, as far as these have values, or are sure never to have any."""
        filled: list[Kline] = []
        symbol = span.key[1]
        while span.next_ms in answer or self._is_left_out(span, answer):
            candle, own = answer.get(span.next_ms), span.withheld.pop(span.next_ms, None)
            start_ms, end_ms = span.next_ms, span.interval.window_end(span.next_ms)
            revision = revision_after(0, end_ms, self._now_ms())
            if candle is not None:
                filled.append(_kline(symbol, end_ms - start_ms, candle, revision))
            elif own is not None:
                filled.append(own)
            elif (price := span.price_at(start_ms, answer)) is not None:
                filled.append(_flat(symbol, start_ms, end_ms, price, revision))
            if start_ms not in answer:
                span.unverified |= {kline.timestamp: kline for kline in filled[-1:] if not kline.complete}
            span.next_ms = end_ms
        self._first_own[span.key] = span.next_ms
        self.filled += len(filled)
        return filled

    def _is_left_out(self, span: Span, answer: Answer) -> bool:
        """Whether the exchange has later candles and not the next, and was read for it long enough."""
        if not span.was_read:
            return False
        if all(start <= span.next_ms for start in answer):
            span.missing_since_s = float("inf")
            return False
        span.missing_since_s = min(span.missing_since_s, self._monotonic())
        return self._monotonic() - span.missing_since_s >= MISSING_S

    def _hand_over(self, span: Span, revised: list[Kline]) -> list[Kline]:
        """Release what was withheld, where nothing older is missing or unverified, or was waited for long enough."""
        since_s = min(self._failing_since_s, span.fruitless_since_s)
        is_over = span.is_hopeless or self._monotonic() - since_s >= HOLD_S
        is_sure = not any(kline.complete for kline in span.unverified.values())
        if not is_over and not (is_sure and span.first_live() == span.next_ms):
            return []
        released: list[Kline] = []
        first = span.withheld[min(span.withheld)]
        if is_over and span.next_ms < first.timestamp:
            self.holes += 1
            symbol = span.key[1]
            self._logger.warning(
                "backfill_unread",
                symbol=symbol,
                interval=span.interval.name,
                from_ms=span.next_ms,
                remedy="sent incomplete, and again once they can be read",
            )
            for start_ms, end_ms in span.windows(first.timestamp):
                revision = revision_after(0, end_ms, self._now_ms())
                released.append(_flat(symbol, start_ms, end_ms, first.open, revision))
        for start_ms, kline in sorted(span.unverified.items()):
            if kline.complete:  # it could not be verified until now, and is read again when the new run has gone on
                span.unverified[start_ms] = replace(kline, complete=False, revision=self._next_revision(kline))
                revised.append(span.unverified[start_ms])
        span.unverified |= {kline.timestamp: kline for kline in released[-OPEN_MOST:]}
        own = [span.withheld[start_ms] for start_ms in sorted(span.withheld)]
        self._first_own[span.key] = span.next_ms = first.timestamp
        span.is_open_ended, span.withheld = False, {}
        return released + own

    def _next_revision(self, kline: Kline) -> int:
        return revision_after(kline.revision, kline.timestamp + kline.interval, self._now_ms())


def _is_same(kline: Kline, candle: Candle, arithmetic: Arithmetic) -> bool:
    if isinstance(candle, TradeCandle):  # made here, by the rule that klines are made by
        return candle.trade_count == kline.trade_count and not compare(kline, candle)
    return not compare(kline, candle, compared_fields(arithmetic))


def _kline(symbol: str, interval_ms: int, candle: Candle, revision: int) -> Kline:
    """A kline with the values of a candle; the exchange's own have no count of trades."""
    trade_count, source = (candle.trade_count, "trades") if isinstance(candle, TradeCandle) else (0, "exchange")
    prices = candle.open, candle.high, candle.low, candle.close
    sums = candle.volume, trade_count, candle.turnover
    return Kline(symbol, interval_ms, candle.start_ms, *prices, *sums, True, source, revision)


def _flat(symbol: str, start_ms: int, end_ms: int, price: Decimal, revision: int) -> Kline:
    """A window without any value but a price from later; it is incomplete."""
    candle = TradeCandle(start_ms, price, price, price, price, Decimal(0), Decimal(0), trade_count=0)
    return replace(_kline(symbol, end_ms - start_ms, candle, revision), complete=False)
