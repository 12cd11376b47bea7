"""All klines of one market: trades in, closed klines out.

Pure: no thread, no clock, no I/O; time is an argument. Here are the trades: duplicates, bad and late ones, and those
inserted into gaps. The windows are the roll-up's (rollup.py), what is verified of each is the feed's (feed_state.py).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from aggregation.klines import bars as b
from aggregation.klines.arithmetic import PLAIN, Arithmetic
from aggregation.klines.bars import FAR, Ints, floats, int64s
from aggregation.klines.closed import NO_WINDOW
from aggregation.klines.contracts import SizeOf
from aggregation.klines.dedupe import DUPLICATE, NEW, UNKNOWN, DedupeLimits, RecentIds
from aggregation.klines.feed_state import FeedState
from aggregation.klines.rollup import KLINES_AT_ONCE, Changes, IntervalRollup, TableCounts
from aggregation.klines.sequences import ConsecutiveIds
from aggregation.klines.symbols import TooManySymbolsError
from aggregation.recovery.gaps import gap_start_ms, missing_trades, placed, span_of, trades_before
from aggregation.recovery.liveness import Watermarks
from aggregation.trade_queue import FeedGap
from model.intervals import Interval
from model.ports import Report
from model.records import Candle, Delivery, Kline, PastTrade, TradeBatch, TradeId

MOST_SYMBOLS = 5_000  # of which trades came, wanted or not: the whole of Bybit has 1,500, and each takes memory
LATEST_MS = 4_102_444_800_000  # 2100-01-01: a later trade time is garbage
AHEAD_MS = 10_000  # a trade this far ahead of the clock is garbage, or the clock is wrong
IN_FLIGHT_MS = 1_000  # how long after its match a trade may still be on its way to us (70 ms seen on Bybit)
BEHIND_MS = 600_000  # a live trade is younger: this old its time is wrong, and its own candle long forgotten


class KlineTable:
    """Open and lately closed windows of every symbol of one market, at every interval asked for.

    One thread only. `event_clock`: time is the trades' own, per symbol; without it `close_until` moves time.
    `arithmetic` is the market's; `size_of` gives the contract sizes that it may need. `needs_feed`: nothing is
    verified of a symbol that no `feed.up` has named; without it trades verify themselves, as in a replay.
    `report(cause, sample)` counts trades that cannot be counted into windows, and klines that wait for a contract size;
    `on_gap` is called with gaps whose two sides are known, so that their trades can be inserted. `consecutive_ids`: the
    exchange numbers the trades of each symbol one after the other, and so ids prove what is missing. `has_ids`: else a
    trade of before the newest `feed.up` of its symbol may be one that was counted, and is left out: its window is not
    complete, whatever is counted into it.
    """

    def __init__(
        self,
        intervals: Iterable[Interval],
        *,
        arithmetic: Arithmetic = PLAIN,
        size_of: SizeOf | None = None,
        event_clock: bool = False,
        needs_feed: bool = False,
        report: Report = lambda _cause, _sample: None,
        on_gap: Callable[[FeedGap], object] = lambda _gap: None,
        dedupe: DedupeLimits | None = None,
        most_symbols: int = MOST_SYMBOLS,
        klines_at_once: int = KLINES_AT_ONCE,
        consecutive_ids: bool = False,
        has_ids: bool = True,
        give_way: Callable[[], object] = lambda: None,
    ) -> None:
        """`give_way()` is called between the parts of a long work: it may wait, and must not change the table."""
        self._give_way = give_way
        self._most_symbols, self._cuts = most_symbols, not has_ids and not event_clock
        self._event_clock, self._report = event_clock, report
        self._is_inverse, self._quotient_digits = arithmetic.is_inverse, arithmetic.quotient_digits
        self.counts = TableCounts()
        self._rollup = IntervalRollup(
            intervals,
            self.counts,
            lambda rows: self.feed.grow(rows),
            arithmetic=arithmetic,
            size_of=size_of,
            report=report,
            size_changed=lambda row, from_ms, until_ms: self.feed.coverage.add(row, from_ms, until_ms),
            klines_at_once=klines_at_once,
        )
        self.symbols = self._rollup.symbols
        self._ids = ConsecutiveIds(report, lambda row: self.symbols.names[row]) if consecutive_ids else None
        self.feed = FeedState(
            self._rollup, self.counts, event_clock=event_clock, needs_feed=needs_feed, on_gap=on_gap, ids=self._ids
        )
        # Looked up with each batch, and so here, too: none of them is ever replaced.
        self._gaps, self._silent, self._last_up_ms = self.feed.gaps, self.feed.silent, self.feed.last_up_ms
        self.ended, self.awaited, self.proven = self.feed.ended, self.feed.awaited, self.feed.proven
        self._recent = RecentIds(dedupe)  # not used where ids are consecutive
        self.lateness_ms = 0  # of the latest trade since it was set to 0, after the end of its window

    @property
    def base(self) -> Interval:
        """The interval that trades are counted into; the clock need not tick faster."""
        return self._rollup.base

    @property
    def skipped_windows(self) -> int:
        """Windows left out because a symbol was silent for longer than can be filled in."""
        return self._rollup.skipped_windows

    def last_close_ms(self, symbol: str, step_ms: int) -> int | None:
        """The end of the last window of an interval that has closed; None where none has. Any thread."""
        return self._rollup.last_close_ms(symbol, step_ms)

    # -- trades ---------------------------------------------------------------------------------------

    def add(self, trades: TradeBatch, now_ms: int | None = None) -> list[Kline]:
        """Count trades and return the klines that are over because of them, and corrected ones.

        A trade whose price or size is no positive number, or absurd, or of a time too far from `now_ms` (None: any time
        may be now), is refused and reported. Its symbol's windows of this moment are not complete: it may belong to
        any. Nor is the one of its own time, should that come.
        A duplicate is left out; what may be one of a trade whose id is forgotten is refused like a bad one. Without ids
        so is what is older than the subscription.
        """
        try:
            rows = self.symbols.rows(trades.symbols, most=self._most_symbols)
        except TooManySymbolsError as error:
            self._report("too_many_symbols", str(error).encode())
            return self.add(trades.at(self.symbols.positions_of_known(trades.symbols).tolist()), now_ms)
        ms = int64s(trades.event_ms, instead=0)
        if self._cuts and int(ms.min(initial=FAR)) < self.feed.newest_up_ms:
            up_ms = np.array([self._last_up_ms.get(row, 0) for row in rows.tolist()], np.int64)
            if (repeated := int((ms < up_ms).sum())) > 0:
                self.counts.duplicates += repeated
                return self.add(trades.at(np.flatnonzero(ms >= up_ms).tolist()), now_ms)
        earliest_ms, latest_ms = (1, LATEST_MS) if now_ms is None else (now_ms - BEHIND_MS, now_ms + AHEAD_MS)
        in_time = (ms >= earliest_ms) & (ms <= latest_ms)
        units = self.symbols.units(rows, floats(trades.prices), floats(trades.sizes), trades.written)
        is_sound = in_time & (units[0] > 0)
        if trades.broken or not is_sound.all():
            return self._add_without_bad(trades, rows, ms, is_sound, now_ms)
        columns = np.stack((rows, ms, int64s(trades.seqs, instead=0), *units))
        if trades.matches is not None:
            columns = np.vstack((columns, np.maximum(int64s(trades.matches, instead=1), 1)))
        until_ms = max(now_ms or 0, int(ms.max(initial=0)))
        forgotten_ms: dict[int, int] = {}
        self._give_way()
        if self._ids is not None:
            verdicts, revised = self._classify_consecutive(self._ids, trades, rows, ms)
        else:
            verdicts, revised = self._classify(trades.ids, rows, ms, now_ms), []
        if verdicts is not None:
            forgotten, new = np.flatnonzero(verdicts == UNKNOWN), np.flatnonzero(verdicts == NEW)
            self.counts.duplicates += int((verdicts == DUPLICATE).sum())
            if self._ids is None:
                self._refuse(trades, forgotten, is_forgotten=True)
            else:
                self.counts.refused += len(forgotten)
            forgotten_ms = _earliest(rows[forgotten], ms[forgotten])
            trades, rows, ms, columns = trades.at(new.tolist()), rows[new], ms[new], columns[:, new]
            if columns.dtype == object and not self.symbols.any_wide(rows):
                columns = b.ints(columns)  # those in Python's integers were left out
        if self._silent:
            self.feed.end_silences(rows, ms)
        self._give_way()
        self._gaps.observe(trades.symbols, rows, trades.ids, trades.event_ms)
        if forgotten_ms:
            return revised + self._add_across_gap(forgotten_ms, until_ms, lambda: self._take(columns))
        if now_ms is not None:
            self._observe_lateness(rows, ms, now_ms)
        self._give_way()
        return revised + self._take(columns) if revised else self._take(columns)

    def _take(self, columns: Ints) -> list[Kline]:
        self.counts.trades += columns.shape[1]
        klines, changed = self._counted(*columns)
        self._give_way()
        if self._ids is not None:
            changed |= self.feed.verify_by_ids(self._ids.filled)
        return klines + self._rollup.reissued(changed)

    def _classify(self, ids: Sequence[TradeId], rows: Ints, ms: Ints, now_ms: int | None) -> Ints | None:
        return self._recent.classify(ids, rows, ms, now_ms or int(ms.max())) if ids else None

    def _classify_consecutive(
        self, ids: ConsecutiveIds, trades: TradeBatch, rows: Ints, ms: Ints
    ) -> tuple[Ints | None, list[Kline]]:
        """`_classify` by consecutive ids; and revisions of windows that have a hole."""
        matches = None if trades.matches is None else int64s(trades.matches, instead=1)
        others = self.symbols.positions_of_known([symbol for symbol, _ in trades.uncounted])
        other_rows = self.symbols.rows([trades.uncounted[i][0] for i in others.tolist()])
        other_ids = numbers([trades.uncounted[i][1] for i in others.tolist()])
        verdicts = ids.classify(rows, numbers(trades.ids), matches, ms, other_rows, other_ids)
        return verdicts, self.feed.open_holes(ids.opened)

    def _observe_lateness(self, rows: Ints, ms: Ints, now_ms: int) -> None:
        """Measure how late trades are; what a gap held up, or a new connection sends again, is no delay."""
        starts = self.base.start_of(ms)
        late = np.flatnonzero(starts < self._rollup.open_starts()[rows])
        for i in late.tolist():
            if ms[i] >= self._last_up_ms.get(int(rows[i]), -FAR):
                self.lateness_ms = max(self.lateness_ms, now_ms - self.base.window_end(int(starts[i])))

    def _add_without_bad(
        self, trades: TradeBatch, rows: Ints, ms: Ints, is_sound: npt.NDArray[np.bool_], now_ms: int | None
    ) -> list[Kline]:
        """Count the sound trades; a bad one is a gap of its symbol, from its own time to the last of its batch.

        The ids of bad ones are not kept: what the exchange's REST API has in their place is new. A broken one has no
        time of its own: it was under way for IN_FLIGHT_MS at most.
        """
        bad, sound = np.flatnonzero(~is_sound), np.flatnonzero(is_sound)
        self._refuse(trades, bad, is_forgotten=False)
        until_ms = max(now_ms or 0, int(ms[sound].max(initial=0)))
        is_old = ms[bad] < (now_ms or 0) - BEHIND_MS
        since_ms = _earliest(rows[bad], np.where(is_old, until_ms - IN_FLIGHT_MS, ms[bad]))
        for row in self.symbols.known(trades.broken):
            since_ms[row] = min(since_ms.get(row, FAR), self.feed.trade_time(until_ms - IN_FLIGHT_MS))
        is_ahead = (ms > until_ms) & (ms <= LATEST_MS)
        for row, one_ms in zip(rows[is_ahead].tolist(), ms[is_ahead].tolist(), strict=True):
            self.feed.record_future(row, one_ms)
        rest = replace(trades.at(sound.tolist()), broken=[])
        return self._add_across_gap(since_ms, until_ms, lambda: self.add(rest, now_ms) if len(sound) else [])

    def _add_across_gap(self, since_ms: dict[int, int], until_ms: int, count: Callable[[], list[Kline]]) -> list[Kline]:
        """Count what is good of a batch of which trades of some rows were refused, since the times given."""
        klines: list[Kline] = []
        for row, from_ms in since_ms.items():
            klines += self.feed.begin_unverified([row], from_ms)
        klines += count()
        self.feed.mark_refused(since_ms, until_ms)
        return klines

    def _refuse(self, trades: TradeBatch, refused: Ints, *, is_forgotten: bool) -> None:
        self.counts.refused += len(refused)
        self.counts.forgotten += len(refused) * is_forgotten
        for i in refused.tolist():
            trade = (trades.symbols[i], trades.event_ms[i], trades.prices[i], trades.sizes[i])
            sample = "symbol={} event_ms={} price={} size={}".format(*trade)
            self._report("forgotten_trade" if is_forgotten else "bad_trade", sample.encode())

    def _counted(self, *trades: Ints) -> tuple[list[Kline], Changes]:
        """Count rows, match times, sequences, prices, sizes[, matches] (columns of trades, in stream order).

        Returns the klines that are over because of them, and the closed windows that late ones changed.
        """
        rows, ms, seqs = map(b.ints, trades[:3])
        prices, sizes = trades[3:5]
        matches = [b.ints(column) for column in trades[5:]]
        if not len(rows):
            return [], {}
        symbols = self.symbols
        if not symbols.any_wide(rows):
            self._ensure_headroom(rows, prices, sizes)
            if not symbols.any_wide(rows):
                return self._counted_alike(rows, ms, seqs, prices, sizes, *matches)
        narrow = np.flatnonzero(~symbols.is_wide[rows])
        if len(narrow):
            self._ensure_headroom(rows[narrow], b.ints(prices[narrow]), b.ints(sizes[narrow]))
        klines: list[Kline] = []
        changed: Changes = {}
        for is_wide in (False, True):
            own = np.flatnonzero(symbols.is_wide[rows] == is_wide)
            if len(own):
                dtype = object if is_wide else np.int64
                numbers = prices[own].astype(dtype), sizes[own].astype(dtype)
                counts = [column[own] for column in matches]
                more, also_changed = self._counted_alike(rows[own], ms[own], seqs[own], *numbers, *counts)
                klines += more
                changed |= also_changed
        return klines, changed

    def _ensure_headroom(self, rows: Ints, prices: Ints, sizes: Ints) -> None:
        self._rollup.ensure_headroom(rows, prices, sizes, self._exponents(rows))

    def _counted_alike(self, *trades: Ints) -> tuple[list[Kline], Changes]:
        """`_counted` of trades that are all of wide symbols, or of which none is."""
        rows, ms, *others = trades
        starts = self.base.start_of(ms)
        late = starts < self._rollup.open_starts()[rows]
        if not late.any():
            return self._add_bars(self._bars(rows, starts, ms, *others)), {}
        klines = [] if late.all() else self._add_bars(self._bars(*(a[~late] for a in (rows, starts, ms, *others))))
        return klines, self._rollup.amend(self._bars(*(a[late] for a in (rows, starts, ms, *others))))

    def _bars(self, *columns: Ints) -> Ints:
        rows, starts, ms, seqs, prices, sizes, *matches = columns
        return b.bars_of_trades(rows, starts, ms, seqs, prices, sizes, self._exponents(rows), *matches)

    def _exponents(self, rows: Ints) -> Ints | None:
        return self.symbols.quotient_exponents(rows, self._quotient_digits) if self._is_inverse else None

    def _add_bars(self, bars: Ints) -> list[Kline]:
        feed = self.feed
        feed.verify_by_trades(bars)
        if feed.future_from_ms < FAR and (until_ms := int(bars[b.START].max())) > feed.future_from_ms:
            feed.expire_future(until_ms)
        return [kline for klines in self._rollup.add_bars(bars, feed.unverified_until) for kline in klines]

    # -- closing by the clock --------------------------------------------------------------------------

    def close_until(self, now_ms: int) -> list[Kline]:
        """Close every window that ended at or before `now_ms`, flat where nothing was traded; wall clock only."""
        return [kline for klines in self.closing(now_ms) for kline in klines]

    def is_due(self, now_ms: int) -> bool:
        """Whether a window ended by then, or one that went out unproven waits for a proof."""
        start = self.base.window_start(now_ms)
        starts = self._rollup.open_starts()
        return bool(self.feed.suspect) or bool(((starts < start) & (starts != NO_WINDOW)).any())

    def unproven(self, now_ms: int, margin_ms: int, marks: Watermarks) -> list[Delivery]:
        """The connections of windows that ended by then and that have not delivered all until `margin_ms` after."""
        start = self.base.window_start(now_ms)
        behind = self.feed.deliveries.behind(marks, start + margin_ms)
        opened = self._rollup.open_starts()
        return self.feed.deliveries.of({row for row in behind if opened[row] < start and opened[row] != NO_WINDOW})

    def closing(self, now_ms: int, marks: Watermarks | None = None, margin_ms: int = 0) -> Iterator[list[Kline]]:
        """`close_until` in batches, so that the first can go out while the next is still being made.

        A window whose connections have not delivered all until `margin_ms` after its end is held for PROOF_WAIT_MS,
        then it closes and is not complete; it is sent again once that is proven. Without `marks` all is proven.
        """
        if self._event_clock:
            return
        feed = self.feed
        feed.forget_dropped()
        start = self.base.window_start(now_ms)
        if start > feed.future_from_ms:
            feed.expire_future(start)
        opened = self._rollup.open_starts()
        rows = np.flatnonzero((opened < start) & (opened != NO_WINDOW))
        self.awaited.clear()
        if not (len(rows) or feed.suspect):
            return
        behind = {} if marks is None else feed.deliveries.behind(marks, start + margin_ms)
        if feed.suspect:
            yield feed.verify_late(behind, margin_ms, start)
        until = np.full(len(opened), start)
        if behind and len(rows):
            until[rows] = feed.closing_times(rows, until[rows], behind, margin_ms, now_ms)
        yield from self._rollup.closing(until, feed.unverified_until)

    def open_klines(self, symbols: Collection[str] | None = None) -> list[Kline]:
        """The klines of some symbols, None: of all, that are open, as they are now. Changes nothing.

        Complete are those of which nothing is known to be missing so far.
        """
        return self._rollup.open_klines(symbols, self.feed.unverified_until)

    def silent_symbols(self, now_ms: int) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """`FeedState.silent_symbols`, by the newest trade of each symbol."""
        return self.feed.silent_symbols(now_ms, self._newest_by_row())

    @property
    def newest_ms(self) -> int:
        """The time of the newest trade that was counted; 0 where none was."""
        return int(self._newest_by_row().max(initial=0))

    def _newest_by_row(self) -> Ints:
        newest = self._recent if self._ids is None else self._ids
        return newest.newest_ms(len(self.symbols.names))

    # -- what the exchange's REST API has --------------------------------------------------------------

    def correct(self, kline: Kline, candle: Candle) -> list[Kline]:
        """Put the exchange's candle in the place of a kline that went out; returns revisions of all that changes."""
        return self._rollup.correct(kline, candle)

    def insert_trades(self, gap: FeedGap, past: Sequence[PastTrade], now_ms: int) -> list[Kline] | None:
        """Count the trades of a gap, where the exchange's newest ones (no hole) reach over both its sides.

        Returns revisions of all that changes, complete where nothing else is unverified; None where it is not proven.
        Nor is it where a trade cannot be counted, or is so old that it may have been counted and its id be forgotten.
        """
        (row,) = self.symbols.rows([gap.symbol]).tolist()
        missing = None if self.feed.is_dropped(row) else self._countable(row, gap, past)
        hole = self._ids.hole(row, gap.ids) if self._ids and gap.ids else None
        if missing is None:
            return None
        from_ms = gap_start_ms(gap, self.base)
        if not gap.last_id:
            self._set_first_open(row, from_ms, trades_before(past, from_ms)[-1])
        self.feed.verify_inserted(row, gap, from_ms)
        new = placed(self._new_ones(row, missing, now_ms), past)
        klines, changed = self._count_past(row, new)
        if lost_ms := self._rollup.base_of(row).forgotten(row, [trade.event_ms for trade in new]):
            self.feed.record_uncounted(row, lost_ms)
        if self._ids is not None:
            others = [each for each in self._ids.filled if each is not hole]
            self._ids.filled.clear()
            if hole is not None:
                self._ids.settle(hole)  # what is left of it does not count
            changed |= self.feed.verify_by_ids(others)
        coverage = self.feed.coverage
        with coverage.without_end(row, self.feed.open_spans(row)):
            changed |= self._rollup.mark_verified(row, min(from_ms, gap.open_ms), coverage)
        return klines + self._rollup.reissued(changed)

    def insert_by_id(self, gap: FeedGap, past: Sequence[PastTrade]) -> list[Kline] | None:
        """Count the trades whose ids are missing in a hole, all of them or none; as `insert_trades`."""
        (row,) = self.symbols.rows([gap.symbol]).tolist()
        hole = self._ids.hole(row, gap.ids) if self._ids and gap.ids else None
        if self._ids is None or hole is None or self.feed.is_dropped(row):
            return []  # its trades came late, or its symbol is gone
        spans = [span_of(trade) for trade in past]
        absent = [
            (trade, span)
            for trade, span in zip(past, spans, strict=True)
            if any(first <= span[0] and span[1] <= last for first, last in hole.missing)
        ]
        found = [trade for trade, _ in absent if trade.is_counted]
        is_all = sum(last - first + 1 for _, (first, last) in absent) == sum(b - a + 1 for a, b in hole.missing)
        prices, sizes = [trade.price for trade in found], [trade.size for trade in found]
        if not is_all or self._ids.splits(row, spans) or not self.symbols.can_count(prices, sizes):
            return None
        self._ids.settle(hole)
        klines, changed = self._count_past(row, found)
        if lost_ms := self._rollup.base_of(row).forgotten(row, [trade.event_ms for trade in found]):
            self.feed.record_uncounted(row, lost_ms)
        changed |= self.feed.verify_by_ids([hole])
        return klines + self._rollup.reissued(changed)

    def _countable(self, row: int, gap: FeedGap, past: Sequence[PastTrade]) -> list[PastTrade] | None:
        """The trades of a gap; None where these are not proven to be all, or one of them cannot be counted for sure."""
        missing = missing_trades(gap, past, self.base)
        if missing is None:
            return None
        missing = [trade for trade in missing if trade.trade_id != gap.last_id]
        if self._ids is not None and self._ids.splits(row, [span_of(trade) for trade in missing]):
            return None
        if any(self._recent.may_have_forgotten(row, trade.event_ms) for trade in missing):
            return None
        prices, sizes = [trade.price for trade in missing], [trade.size for trade in missing]
        return missing if self.symbols.can_count(prices, sizes) else None

    def _new_ones(self, row: int, past: list[PastTrade], now_ms: int) -> list[PastTrade]:
        rows, ms = np.full(len(past), row), np.array([trade.event_ms for trade in past], np.int64)
        if self._ids is not None:
            spans = np.array([span_of(trade) for trade in past], np.int64).reshape(-1, 2)
            verdicts = self._ids.classify(
                rows, spans[:, 1], np.diff(spans).ravel() + 1, ms, rows[:0], rows[:0], is_past=True
            )
        else:
            verdicts = self._classify([trade.trade_id for trade in past], rows, ms, now_ms)
        if verdicts is None:
            return past
        return [trade for trade, verdict in zip(past, verdicts.tolist(), strict=True) if verdict == NEW]

    def _count_past(self, row: int, past: list[PastTrade]) -> tuple[list[Kline], Changes]:
        """Count trades that come late; klines they close, and windows they change."""
        if not past:
            return [], {}
        rows, ms = np.full(len(past), row), np.array([trade.event_ms for trade in past], np.int64)
        prices, sizes = np.array([trade.price for trade in past]), np.array([trade.size for trade in past])
        ticks, lots = self.symbols.units(rows, prices, sizes)
        others = np.array([(trade.seq, max(trade.matches, 1)) for trade in past], np.int64).T
        columns: tuple[Ints, ...] = (rows, ms, others[0], ticks, lots, others[1])
        columns = tuple(column[ticks > 0] for column in columns)
        self.counts.trades += len(columns[0])
        return self._counted(*columns)

    def _set_first_open(self, row: int, start_ms: int, before: PastTrade) -> None:
        """Open the first window of all at the last price before it."""
        ((price,), (lots,)) = self.symbols.units(np.array([row]), np.array([before.price]), np.array([before.size]))
        if price > 0 and lots > 0:
            self._rollup.set_first_open(row, start_ms, int(price))


def numbers(ids: Sequence[TradeId]) -> Ints:
    """Consecutive ids as an array, -1 for what is none."""
    try:
        return int64s(ids, instead=-1)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return int64s([one if isinstance(one, int) else -1 for one in ids], instead=-1)


def _earliest(rows: Ints, ms: Ints) -> dict[int, int]:
    """The first time of each row."""
    first: dict[int, int] = {}
    for row, at_ms in zip(rows.tolist(), ms.tolist(), strict=True):
        first[row] = min(first.get(row, FAR), at_ms)
    return first
