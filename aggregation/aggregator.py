"""The aggregator thread: takes trade payloads from the queues, counts them, and publishes closed klines.

Named `aggregator`; no other thread touches the tables. It neither reads sockets nor writes outputs: decoding and
publishing are functions handed in.
"""

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import structlog

from aggregation.klines.arithmetic import PLAIN, Arithmetic
from aggregation.klines.dedupe import DedupeLimits
from aggregation.klines.lateness import CAP_MS, AllowedLateness
from aggregation.klines.table import IN_FLIGHT_MS, KlineTable
from aggregation.recovery.gaps import gap_start_ms
from aggregation.recovery.liveness import CHECK_EVERY_MS, Watermarks
from aggregation.trade_queue import (
    ControlMessage,
    Correction,
    DropSymbols,
    FeedGap,
    InsertTrades,
    Item,
    Overflow,
    SilenceAnswer,
    TradeQueue,
)
from model import clock
from model.events import NO_EVENTS, EventSink, Gap, Repaired
from model.intervals import Interval
from model.pacing import ThrottledLogger
from model.ports import ContractSizes, Report
from model.records import FeedMarker, Kline, TradeBatch
from model.wake import ReadRound, WakeSignal

BATCH_PAYLOADS = 2_000  # trades of one go: large enough for numpy, small enough to stay in cache
READS_DONE_WAIT_S = 0.005  # how long a batch waits for the end of the reads, where nothing is due: these take 2 ms
OPEN_SOONEST_S = 0.2  # between two states of the open klines: each takes some milliseconds
PAUSE_OPEN_S = 0.1  # how long trades gather at most while open klines are wanted
OPEN_RESTS = 50  # times what the last state took, of many symbols: until the next one, where somebody waits for it
BATCH_GOAL = 2_000  # trades that gather before they are counted: each batch costs 0.3 ms beside them
DECODED_AT_ONCE = 250  # payloads: half a millisecond
FLOOD_BATCHES = 4  # more that wait than so many batches: it comes faster than it can be counted
SLICE_S = 0.0005  # of work, after which a round of reads goes first
GIVE_WAY_S = 0.001  # how long a slice waits for the end of that round: what is due is due, however much is read
PAUSE_LEAST_S, PAUSE_S, PAUSE_MOST_S = 0.02, 0.04, 0.5  # how long they gather, but never past an end or a close
CLOCK_LATE_MS = 500  # a clock that only messages set is behind by less
ONLY_PAYLOADS = {bytes}
IN_EXCHANGE_MS = 100  # from a match to its message (70 ms seen on Bybit): what was sent so long after an end proves it
PROOF_POLL_S, PROOF_POLL_LONG_S = 0.005, 0.02  # how often a proof is looked for; the second once that takes long
PROOF_LONG_AFTER_S = 0.05
IDLE_S = 1.0  # longest sleep, should the clock be set meanwhile
OLDEST_PAYLOADS = 100  # one of which is about the oldest of all that wait: several connections leave theirs in turn
STOP_RESERVE_S = 0.5  # of the time to stop, for the last batch and what it closes: no other is begun then

Decode = Callable[[str, Sequence[bytes]], TradeBatch]
"""`decode(market, payloads)`."""
Publish = Callable[[str, list[Kline]], None]
WantedSymbols = Callable[[str], Collection[str] | None]
"""`wanted(market)`: its symbols whose open klines are wanted; None: all."""

log = structlog.get_logger()


class Aggregator(clock.ThreadOwner):
    """Owner of the `aggregator` thread and of one queue and one table per market.

    `publish(market, klines)` is called on the aggregator thread with closed klines, oldest first per symbol and
    interval. `arithmetic_of(market)` says how they are summed up; `contract_sizes`, called on the thread, gives what
    that needs. `grace_ms` is how long at least a window waits for late trades after its end, unless a later trade of
    the symbol proves it over; 0 closes at the end. `on_gap(market, gap)` is called, on the aggregator thread, when the
    trades on both sides of a gap are known; an InsertTrades in the queue answers it. `on_silence(market, symbol,
    since_ms)` is called for symbols silent against their rhythm; a SilenceAnswer answers it. `events` takes gaps and
    what was repaired. `now_ms` is the exchange's time; when the count of `clock_changes` grows, it was another one, or
    uncertain, until now.
    """

    def __init__(
        self,
        markets: Iterable[str],
        intervals: Sequence[Interval],
        decode: Decode,
        publish: Publish,
        *,
        arithmetic_of: Callable[[str], Arithmetic] = lambda _market: PLAIN,
        contract_sizes: ContractSizes = lambda _market, _symbol: None,
        event_clock: bool = False,
        grace_ms: int = 300,
        report: Report = lambda _cause, _sample: None,
        on_gap: Callable[[str, FeedGap], object] = lambda _market, _gap: None,
        now_ms: Callable[[], int] = clock.now_ms,
        clock_changes: Callable[[], int] = lambda: 0,
        events: EventSink = NO_EVENTS,
        on_silence: Callable[[str, str, int], object] | None = None,
        dedupe: DedupeLimits | None = None,
        consecutive_ids: bool = False,
        has_ids: bool = True,
        batch_payloads: int = BATCH_PAYLOADS,
        reads_done_wait_s: float = READS_DONE_WAIT_S,
    ) -> None:
        self._batch_payloads, self._reads_done_wait_s = batch_payloads, reads_done_wait_s
        self._events, self._on_silence = events, on_silence
        self._check_due_ms, self._awaited_since_s = 0, 0.0
        self._probed_ms: dict[str, int] = {}  # market -> the end of a window that connections were probed for last
        self._wake, self._pause_over, self.reads = WakeSignal(), WakeSignal(), ReadRound()
        self._stop, self._count_until_s = threading.Event(), float("inf")
        self._decode, self._publish, self._now_ms = decode, publish, now_ms
        self._clock_changes, self._seen_changes = clock_changes, clock_changes()
        self._lateness, self._event_clock = AllowedLateness(grace_ms), event_clock
        self._uncertainty_ms = max(grace_ms, IN_FLIGHT_MS)

        self._make_table = functools.partial(
            KlineTable,
            intervals,
            event_clock=event_clock,
            needs_feed=True,
            report=report,
            dedupe=dedupe,
            consecutive_ids=consecutive_ids,
            has_ids=has_ids,
            give_way=self.give_way,
        )
        self._on_gap, self._arithmetic_of, self._contract_sizes = on_gap, arithmetic_of, contract_sizes
        self.queues: Mapping[str, TradeQueue] = {}
        self._logger = ThrottledLogger(log)
        self.tables: Mapping[str, KlineTable] = {}
        for market in markets:
            self.add_market(market)
        self.failures = self.spliced = self.unspliced = 0
        self._wanted_open: WantedSymbols = lambda _market: ()
        self._offer_open: Publish = lambda _market, _klines: None
        self._open_every_s, self._open_due_s, self._open_soonest_s = IDLE_S, 0.0, 0.0
        self._is_open_asked: Callable[[], bool] = lambda: False
        self._is_open_wanted = False
        self._step_begun_s: float | None = None  # of the one that runs now, monotonic
        self._step_took_s = 0.0
        self._pause_s = PAUSE_S
        self._stepped_ms = now_ms()  # when the last step began: what was due then is done
        self._slice_ends_s = 0.0
        self._is_flooded = False  # then nothing gives way
        self._thread = threading.Thread(target=self._run, name="aggregator", daemon=True)

    def share_open_klines(
        self, wanted: WantedSymbols, offer: Publish, every_s: float, is_asked: Callable[[], bool] = lambda: False
    ) -> None:
        """Have `offer(market, klines)` called on the thread with the open klines of the symbols that are `wanted`.

        Every so often, and sooner where somebody waits for them: `is_asked`; before `start`.
        """
        self._wanted_open, self._offer_open, self._open_every_s = wanted, offer, every_s
        self._is_open_asked = is_asked

    def hurry(self) -> None:
        """Count what waits now, for somebody waits for open klines: as soon as they may be made again. Any thread."""
        self._wake.set()
        if time.monotonic() >= self._open_soonest_s:
            self._pause_over.set()

    def add_market(self, market: str) -> None:
        """Add a table and a queue for a market that has none yet; one caller at a time, also while the thread runs."""
        if market not in self.queues:  # both are read meanwhile: replaced, not changed, the table first
            on_gap = functools.partial(self._on_gap, market)
            size_of = functools.partial(self._contract_sizes, market)
            table = self._make_table(arithmetic=self._arithmetic_of(market), size_of=size_of, on_gap=on_gap)
            self.tables = {**self.tables, market: table}
            self.queues = {**self.queues, market: TradeQueue(self._wake, now_ms=self._now_ms)}

    def stop(self, deadline: float) -> bool:
        """Count what has arrived, publish what that closes, end; False if `deadline` (monotonic) passed before.

        Open windows are not closed: what is not over is not published. What there is no time to count is dropped, and
        what closes over it is not complete.
        """
        self._count_until_s = deadline - STOP_RESERVE_S
        self._stop.set()
        self._wake.set()
        self._pause_over.set()
        return clock.join_by(self._thread, deadline)

    def late_trades(self) -> dict[str, int]:
        """Trades since the start that came after their window had closed, by market, whatever became of them."""
        tables = self.tables.items()
        return {market: table.counts.late_amended + table.counts.late_dropped for market, table in tables}

    def stats(self) -> dict[str, int]:
        """Counts since the start over all markets; any thread, each value on its own."""
        counts: Counter[str] = Counter(failures=self.failures, spliced=self.spliced, unspliced=self.unspliced)
        for market, table in self.tables.items():
            counts.update(vars(table.counts))
            counts["skipped_windows"] += table.skipped_windows
            counts["dropped"] += self.queues[market].dropped
            counts["waiting"] += len(self.queues[market])
        return dict(counts)

    def behind_s(self, now_s: float) -> float:
        """How long the step of now, or else the last one, takes: all that came before it is counted after it."""
        begun_s = self._step_begun_s
        return self._step_took_s if begun_s is None else max(self._step_took_s, now_s - begun_s)

    def last_close_ms(self, market: str, symbol: str, step_ms: int) -> int | None:
        """The end of the last closed window of a symbol; None where none has closed yet. Any thread, a moment old."""
        table = self.tables.get(market)
        return table.last_close_ms(symbol, step_ms) if table else None

    def _run(self) -> None:
        before_s = time.monotonic()
        while not self._stop.is_set():
            self._wake.arm()
            if not any(map(len, self.queues.values())):
                self._wake.wait(self.idle_s(time.monotonic()))
            self._wake.is_armed = False
            self._step_begun_s = begun_s = time.monotonic()
            taken, gathered_s, before_s = self.step(), begun_s - before_s, begun_s
            self._step_begun_s, self._step_took_s = None, time.monotonic() - begun_s
            self.offer_open_klines(time.monotonic())
            self._pause_over.wait(min(self.next_pause_s(taken, gathered_s), self.until_due_s()))
            self.await_reads_done()
        self.step()

    def await_reads_done(self) -> None:
        """Wait for the end of a round of reads where nothing is due at once: both threads at a time slow each other."""
        if self.until_due_s() > self._reads_done_wait_s:
            self.reads.wait_until_over(self._reads_done_wait_s)

    def give_way(self) -> None:
        """Let a round of reads go first after SLICE_S of work; not in a flood, nor at the end."""
        if time.monotonic() >= self._slice_ends_s and not (self._is_flooded or self._stop.is_set()):
            self.reads.give_way(GIVE_WAY_S)
            self._slice_ends_s = time.monotonic() + SLICE_S

    def step(self) -> int:
        """Count what waits, then close what is due; what comes meanwhile is left to the next step.

        Returns how many payloads and control messages it took.
        """
        taken = 0
        # Before anything is taken: no window is closed while its trades still wait.
        self._stepped_ms = begun_ms = self._now_ms()
        due_ms = begun_ms - self._lateness.at(begun_ms)
        for market, queue in self.queues.items():
            table = self.tables[market]
            # Before anything is taken, too. What becomes due only now has its proof at the next step.
            marks = table.feed.deliveries.watermarks(begun_ms) if table.is_due(due_ms) else {}
            waiting = len(queue)
            self._is_flooded = waiting > FLOOD_BATCHES * self._batch_payloads
            self._slice_ends_s = time.monotonic() + SLICE_S
            while waiting > 0 and time.monotonic() < self._count_until_s:
                items = queue.take(min(waiting, self._batch_payloads))
                waiting -= len(items)
                taken += len(items)
                self._take(market, items)
            if waiting > 0:
                self._run_guarded(market, self._drop, queue)
            if not self._event_clock:
                now_ms = min(begun_ms, self._now_ms())  # trades may have shown that it is earlier
                self._run_guarded(market, self._close, (now_ms - self._lateness.at(now_ms), marks, now_ms))
                self._probe_ahead(market, now_ms)
        self._check_silences(self._now_ms())
        return taken

    def offer_open_klines(self, now_s: float) -> None:
        """Offer the open klines that are wanted where they are due; `now_s` is monotonic."""
        if now_s < self._open_due_s and (now_s < self._open_soonest_s or not self._is_open_asked()):
            return
        self._is_open_wanted = False
        for market, table in self.tables.items():
            symbols = self._wanted_open(market)
            if symbols is not None and not symbols:
                continue
            self._is_open_wanted = True
            self._open_due_s = now_s + self._open_every_s
            self._open_soonest_s = max(self._open_soonest_s, now_s + OPEN_SOONEST_S)
            begun_s = time.perf_counter()
            try:
                self._offer_open(market, table.open_klines(symbols))
                rest_s = (time.perf_counter() - begun_s) * OPEN_RESTS
                self._open_soonest_s = max(self._open_soonest_s, now_s + rest_s)
            except Exception:  # what is open is offered again in a moment; what closes goes on
                self.failures += 1
                self._logger.exception("open_klines_failed", market, market=market)

    def _take(self, market: str, items: list[Item]) -> None:
        if set(map(type, items)) == ONLY_PAYLOADS:  # nearly always; to group them takes 50 ns each
            self._run_guarded(market, self._count, items)
            return
        for is_payload, run in groupby(items, key=lambda item: type(item) is bytes):
            if is_payload:
                self._run_guarded(market, self._count, list(run))
            else:
                for message in run:
                    self._run_guarded(market, self._apply, message)

    def _run_guarded(self, market: str, work: Callable[[str, Any], list[Kline]], argument: Any) -> None:
        """Do one piece of work and publish what comes of it; a failure loses that piece, and marks trades as lost."""
        try:
            klines = work(market, argument)
            if klines:
                self._publish(market, klines)
        except Exception:  # the thread's outermost: the next piece goes on
            self.failures += 1
            self._logger.exception("aggregation_failed", market, market=market, failures=self.failures)
            now_ms = self._now_ms()
            self.tables[market].feed.mark_lost(now_ms, now_ms)

    def _drop(self, market: str, queue: TradeQueue) -> list[Kline]:
        """Drop what waits at the deadline of a stop; nothing is verified since the oldest trade of it."""
        payloads = queue.drop()
        log.warning("trades_left_uncounted", market=market, payloads=len(payloads))
        oldest = self._decode(market, payloads[:OLDEST_PAYLOADS]).event_ms
        now_ms = self._now_ms()
        return self.tables[market].feed.mark_lost(min([now_ms, *oldest]) - self._uncertainty_ms, now_ms)

    def _count(self, market: str, payloads: list[bytes]) -> list[Kline]:
        parts = []
        at_once = len(payloads) if self._is_flooded else DECODED_AT_ONCE
        for first in range(0, len(payloads), at_once):
            parts.append(self._decode(market, payloads[first : first + at_once]))
            self.give_way()
        trades, now_ms = TradeBatch.joined(parts), self._now_ms()
        if self._seen_changes != (changes := self._clock_changes()):
            self._seen_changes = changes
            self._follow_clock(now_ms)
        table = self.tables[market]
        klines = table.add(trades, None if self._event_clock else now_ms)
        if table.ended:
            self._emit_gaps(market, table.ended)
            table.ended.clear()
        if table.proven:
            self._emit_proven(market)
        if table.lateness_ms:
            self._lateness.observe(table.lateness_ms, now_ms)
            table.lateness_ms = 0
        return klines

    def _follow_clock(self, now_ms: int) -> None:
        """Limit to now what was marked by an uncertain or wrong clock; a replay has a time of its own.

        A trade that was counted is proof of its time: what messages alone say may fall behind it.
        """
        self._probed_ms.clear()
        for market, table in () if self._event_clock else self.tables.items():
            at_ms = max(now_ms + CLOCK_LATE_MS, table.newest_ms)
            self._run_guarded(market, lambda market, ms: self.tables[market].feed.clock_changed(ms), at_ms)

    def _apply(self, market: str, message: ControlMessage) -> list[Kline]:
        """Apply a control message; returns the klines that change by it."""
        table = self.tables[market]
        match message:
            case FeedMarker(kind="up"):
                self._emit_gaps(market, table.feed.up(message.symbols, message.at_ms, message.delivery))
                if self._clock_changes():
                    self._seen_changes = -1  # the clock is sure by now, and may not have been when the marker was made
            case FeedMarker():
                return table.feed.down(message.symbols, message.at_ms - self._uncertainty_ms, message.delivery)
            case Overflow():
                return table.feed.mark_lost(message.from_ms - self._uncertainty_ms, message.until_ms)
            case Correction():
                return self._correct(market, message)
            case InsertTrades():
                return self._insert_trades(market, message)
            case DropSymbols():
                table.feed.drop(message.symbols, message.again)
            case SilenceAnswer(is_missed=True):
                return self._resubscribe(market, message.symbol, message.since_ms)
            case SilenceAnswer():
                return table.feed.confirm_quiet(message.symbol, message.until_ms)
        return []

    def _insert_trades(self, market: str, message: InsertTrades) -> list[Kline]:
        table, gap = self.tables[market], message.gap
        if message.by_id:
            return self._insert_by_id(market, message)
        klines = table.insert_trades(gap, message.trades, self._now_ms())
        if klines is None:
            self.unspliced += 1
            return []
        self.spliced += 1
        self._emit_proven(market)
        from_ms = gap_start_ms(gap, table.base)
        if from_ms < gap.until_ms:  # at a start the first trade's window may have begun later
            symbols, until_ms = (gap.symbol,), gap.until_ms
            event = Repaired(market=market, symbols=symbols, how="trades", from_ms=from_ms, until_ms=until_ms)
            self._events.emit(event)
        return klines

    def _insert_by_id(self, market: str, message: InsertTrades) -> list[Kline]:
        klines = self.tables[market].insert_by_id(message.gap, message.trades)
        self.spliced += klines is not None
        self.unspliced += klines is None
        self._emit_proven(market)
        return klines or []

    def _emit_proven(self, market: str) -> None:
        """Emit one event for all symbols that ids have proven whole over the same time."""
        proven = self.tables[market].proven
        for (from_ms, until_ms), each in groupby(proven, key=lambda one: one[1:]):
            symbols = tuple(symbol for symbol, *_ in each)
            event = Repaired(market=market, symbols=symbols, how="ids", from_ms=from_ms, until_ms=until_ms)
            self._events.emit(event)
        proven.clear()

    def _correct(self, market: str, correction: Correction) -> list[Kline]:
        kline = correction.kline
        klines = self.tables[market].correct(kline, correction.candle)
        if klines:
            symbols, start_ms, end_ms = (kline.symbol,), kline.timestamp, kline.timestamp + kline.interval
            event = Repaired(
                market=market, symbols=symbols, how="candle", interval=kline.interval, from_ms=start_ms, until_ms=end_ms
            )
            self._events.emit(event)
        return klines

    def _emit_gaps(self, market: str, ended: list[FeedGap]) -> None:
        """Emit one event for all symbols of a connection that were away together; a start of the collector is none."""
        for (from_ms, until_ms, reason), gaps in groupby(
            ended, key=lambda gap: (gap.from_ms, gap.until_ms, gap.reason)
        ):
            symbols = tuple(gap.symbol for gap in gaps if gap.last_id)
            if symbols:
                times = {"from_ms": from_ms, "until_ms": until_ms}
                self._events.emit(Gap(market=market, kind="trades", symbols=symbols, reason=reason, **times))

    def _close(self, market: str, what: tuple[int, Watermarks, int]) -> list[Kline]:
        until_ms, marks, now_ms = what
        table, margin_ms = self.tables[market], min(IN_EXCHANGE_MS, now_ms - until_ms)
        for klines in table.closing(until_ms, marks, margin_ms):
            if klines:
                self._publish(market, klines)
                self.give_way()
        for delivery in table.awaited if marks else ():
            delivery.probe(now_ms)
        return []

    def _probe_ahead(self, market: str, now_ms: int) -> None:
        """Probe silent connections before their windows are due, once for each end: the answer is there by then."""
        table, passed_ms = self.tables[market], now_ms - self._probe_ms(now_ms)
        end_ms = table.base.window_start(passed_ms)
        is_due = now_ms - end_ms >= self._lateness.at(now_ms)  # then `_close` probes
        if is_due or end_ms == self._probed_ms.get(market) or not table.is_due(passed_ms):
            return
        self._probed_ms[market] = end_ms
        for delivery in table.unproven(passed_ms, IN_EXCHANGE_MS, table.feed.deliveries.watermarks(now_ms)):
            delivery.probe(now_ms)

    def _probe_ms(self, now_ms: int) -> int:
        """How long after an end connections are probed: when its last messages are out, and an answer comes in time."""
        return (min(IN_EXCHANGE_MS, grace_ms) + grace_ms) // 2 if (grace_ms := self._lateness.at(now_ms)) else 0

    def _check_silences(self, now_ms: int) -> None:
        """Check the rhythms about once a second, by a clock that may be set back."""
        if self._check_due_ms - 2 * CHECK_EVERY_MS <= now_ms < self._check_due_ms or self._on_silence is None:
            return
        self._check_due_ms = now_ms + CHECK_EVERY_MS
        for market in self.tables:
            self._run_guarded(market, self._check_silence, now_ms)

    def _check_silence(self, market: str, now_ms: int) -> list[Kline]:
        assert self._on_silence is not None
        asks, unanswered = self.tables[market].silent_symbols(now_ms)
        for symbol, since_ms in asks:
            self._on_silence(market, symbol, since_ms)
        return [kline for symbol, since_ms in unanswered for kline in self._resubscribe(market, symbol, since_ms)]

    def _resubscribe(self, market: str, symbol: str, since_ms: int) -> list[Kline]:
        """Subscribe a symbol anew of which trades are missed since `since_ms`."""
        table = self.tables[market]
        for delivery in table.feed.connections_of(symbol):
            delivery.recover(symbol)
        return table.feed.mark_missed(symbol, since_ms)

    def next_pause_s(self, taken: int, gathered_s: float) -> float:
        """How long trades may gather now: until there are about BATCH_GOAL, at the rate of those taken last.

        They gathered for `gathered_s`. A pause is at most twice the one before: a quiet moment is soon over. In the
        moments before an end and after it, when a trade may be late or prove a window over, they are looked at often.
        """
        wanted_s = max(PAUSE_LEAST_S, gathered_s * BATCH_GOAL / max(taken, 1))
        most_s = PAUSE_OPEN_S if self._is_open_wanted or self._event_clock else PAUSE_MOST_S
        now_ms, step_ms = self._now_ms(), self._step_ms()
        passed_ms = now_ms % step_ms
        left_s = (step_ms - passed_ms) / 1000
        is_near_end = passed_ms <= CAP_MS or left_s <= 2 * PAUSE_S
        most_s = min(most_s, PAUSE_S if is_near_end else left_s - PAUSE_S)
        self._pause_s = max(PAUSE_LEAST_S, min(most_s, 2 * self._pause_s, wanted_s))
        return min(self._pause_s, left_s)

    def _step_ms(self) -> int:
        """The shortest of the windows that the tables count."""
        return min(table.base.step_ms for table in self.tables.values())

    def idle_s(self, now_s: float) -> float:
        """How long to sleep where nothing waits: until something is due, or open klines that somebody waits for."""
        due_s = self.until_due_s()
        return min(due_s, max(0.0, self._open_soonest_s - now_s)) if self._is_open_asked() else due_s

    def until_due_s(self) -> float:
        """How long to sleep: until something closes, or connections are to be probed, at most IDLE_S."""
        if self._event_clock:
            return IDLE_S
        if any(table.awaited for table in self.tables.values()):
            self._awaited_since_s = self._awaited_since_s or time.monotonic()
            awaited_s = time.monotonic() - self._awaited_since_s
            return PROOF_POLL_S if awaited_s < PROOF_LONG_AFTER_S else PROOF_POLL_LONG_S
        self._awaited_since_s = 0.0
        step_ms, now_ms = self._step_ms(), self._now_ms()
        stepped_ms = min(self._stepped_ms, now_ms)  # the clock may have gone back
        after_ms = self._lateness.at(now_ms), self._probe_ms(now_ms)
        due_ms = stepped_ms + min(step_ms - (stepped_ms - after) % step_ms for after in after_ms)
        return min(IDLE_S, max(0, due_ms - now_ms) / 1000)
