"""All klines of one market: trades in, closed klines out, and what is proven about them.

Pure: no thread, no clock, no I/O; time is an argument. The windows are the ladder's (ladder.py); here is what trades
and the feed say of them: doubles, bad trades, gaps, outages and their splices.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from aggregation.klines import bars as b
from aggregation.klines.bars import FAR, Ints
from aggregation.klines.dedupe import DUPLICATE, NEW, UNKNOWN, RecentIds
from aggregation.klines.rollup import Changes, IntervalRollup, TableCounts
from aggregation.klines.symbols import TooManySymbolsError
from aggregation.klines.trades import floats, int64s
from aggregation.klines.windows import NO_WINDOW
from aggregation.recovery.coverage import CoverageGaps
from aggregation.recovery.gaps import GapTracker, gap_start_ms, missing_trades
from aggregation.recovery.liveness import Deliveries, TradeRhythm, Watermarks
from aggregation.trade_queue import FeedGap
from model.intervals import Interval
from model.ports import Report
from model.records import Candle, Delivery, Kline, PastTrade, TradeBatch

__all__ = ["KlineTable"]

PROOF_WAIT_MS = (
    1_000  # a window waits so long for the proof that all its trades have come: several ways to Bybit and back
)
MOST_SYMBOLS = 5_000  # of which trades came, wanted or not: the whole of Bybit has 1,500, and each takes memory
LATEST_MS = 4_102_444_800_000  # 2100-01-01: a later trade time is garbage
AHEAD_MS = 10_000  # a trade this far ahead of the clock is garbage, or the clock is wrong
IN_FLIGHT_MS = 1_000  # how long after its match a trade may still be on its way to us (70 ms seen on Bybit)
BEHIND_MS = 600_000  # a live trade is younger: this old its time is wrong, and its own candle long forgotten
FUTURE_WINDOWS_MOST = 10_000  # windows of the future, per symbol, that refused trades may belong to: the nearest ones


class KlineTable:
    """Open and lately closed windows of every symbol of one market, at every interval asked for.

    One thread only. `event_clock`: time is what the trades say, per symbol; without it `close_until` moves time.
    `inverse`: sizes are money, and turnover is in the coin. `needs_feed`: nothing is proven of a symbol that no
    `feed_up` has named; without it trades prove themselves, as in a replay. `report(cause, sample)` is told of trades
    that cannot be counted, `on_gap` of outages whose two sides are known, so that they can be spliced.
    """

    def __init__(
        self,
        intervals: Iterable[Interval],
        *,
        prev_close_opens: bool = True,
        event_clock: bool = False,
        inverse: bool = False,
        needs_feed: bool = False,
        report: Report = lambda _cause, _sample: None,
        on_gap: Callable[[FeedGap], object] = lambda _outage: None,
    ) -> None:
        self._event_clock, self._needs_feed = event_clock, needs_feed
        self._inverse = inverse
        self._report = report
        self.counts = TableCounts()
        self._rollup = IntervalRollup(
            intervals, self.counts, self._grow, prev_close_opens=prev_close_opens, inverse=inverse
        )
        self._symbols = self._rollup.symbols
        self._recent = RecentIds()
        self._unverified_until: Ints = np.zeros(0, np.int64)
        self._verified_by_trade: Ints = np.zeros(0, np.int64)
        self._feeds: dict[int, int] = {}
        self._last_up_ms: dict[int, int] = {}
        self._coverage = CoverageGaps()
        self._gaps = GapTracker(self._coverage, on_gap)
        self._dropped: set[int] = set()
        self._future_from_ms = FAR  # the earliest of those
        self._future: dict[
            int, dict[int, int]
        ] = {}  # by row: windows to come, and when the last refused trade of each was
        self._deliveries, self._rhythm = Deliveries(), TradeRhythm()
        self._suspect: dict[int, int] = {}  # rows that closed windows unproven, and since when they are
        self._silent: dict[int, int] = {}  # rows of which trades are missed, or nobody can say, since then
        self.ended: list[FeedGap] = []  # silences that a trade has ended, for whoever takes them
        self.held: list[Delivery] = []  # connections whose windows wait for a proof
        self.lateness_ms = 0  # of the latest trade since somebody set it to 0, after the end of its window

    @property
    def base(self) -> Interval:
        """The interval trades are counted into; the clock need not tick faster."""
        return self._rollup.base

    @property
    def skipped_windows(self) -> int:
        """Windows left out because a symbol was silent for longer than can be filled in."""
        return self._rollup.skipped_windows

    # -- trades ---------------------------------------------------------------------------------------

    def add(self, trades: TradeBatch, now_ms: int | None = None) -> list[Kline]:
        """Count trades and return the klines that are over because of them, and corrected ones.

        A trade whose price or size is no positive number, or absurd, or of a time too far from `now_ms` (None: any time
        may be now), is refused and reported. Its symbol's windows of this moment are not complete: it may belong to
        any. Nor is the one of its own time, should that come.
        A double is left out; what may be a double of a trade that is forgotten is refused like a bad one.
        """
        try:
            rows = self._symbols.rows(trades.symbols, most=MOST_SYMBOLS)
        except TooManySymbolsError as error:
            self._report("too_many_symbols", str(error).encode())
            return self.add(trades.at(self._symbols.positions_of_known(trades.symbols)), now_ms)
        ms = int64s(trades.event_ms, instead=0)
        earliest_ms, latest_ms = (1, LATEST_MS) if now_ms is None else (now_ms - BEHIND_MS, now_ms + AHEAD_MS)
        in_time = (ms >= earliest_ms) & (ms <= latest_ms)
        units = self._symbols.units(rows, floats(trades.prices), floats(trades.sizes), trades.written)
        is_sound = in_time & (units[0] > 0)
        if trades.broken or not is_sound.all():
            return self._add_without_bad(trades, rows, ms, is_sound, now_ms)
        columns = np.stack((rows, ms, int64s(trades.seqs, instead=0), *units))
        until_ms = max(now_ms or 0, int(ms.max(initial=0)))
        forgotten_ms: dict[int, int] = {}
        if (verdicts := self._judge(trades.ids, rows, ms, now_ms)) is not None:
            forgotten, new = np.flatnonzero(verdicts == UNKNOWN), np.flatnonzero(verdicts == NEW)
            self.counts.duplicates += int((verdicts == DUPLICATE).sum())
            self._refuse(trades, forgotten, is_forgotten=True)
            forgotten_ms = _earliest(rows[forgotten], ms[forgotten])
            trades, rows, ms, columns = trades.at(new), rows[new], ms[new], columns[:, new]
        if self._silent:
            self._end_silences(rows, ms)
        self._gaps.observe(trades.symbols, rows, trades.ids, trades.event_ms)
        if forgotten_ms:
            return self._add_across_gap(forgotten_ms, until_ms, lambda: self._take(columns))
        if now_ms is not None:
            self._observe_lateness(rows, ms, now_ms)
        return self._take(columns)

    def _take(self, columns: Ints) -> list[Kline]:
        self.counts.trades += columns.shape[1]
        return self._count(*columns)

    def _judge(self, ids: list[str], rows: Ints, ms: Ints, now_ms: int | None) -> Ints | None:
        return self._recent.classify(ids, rows, ms, now_ms or int(ms.max())) if ids else None

    def _observe_lateness(self, rows: Ints, ms: Ints, now_ms: int) -> None:
        """Trades that come after their window; what an outage held up, or a new connection sends again, is no delay."""
        starts = self.base.start_of(ms)
        late = np.flatnonzero(starts < self._rollup.open_starts()[rows])
        for i in late.tolist():
            if ms[i] >= self._last_up_ms.get(int(rows[i]), -FAR):
                self.lateness_ms = max(self.lateness_ms, now_ms - int(self.base.end_of(starts[[i]])[0]))

    def _add_without_bad(
        self, trades: TradeBatch, rows: Ints, ms: Ints, is_sound: npt.NDArray[np.bool_], now_ms: int | None
    ) -> list[Kline]:
        """Count the sound trades; a bad one is a gap of its symbol, from its own time to the last of its batch.

        Nobody notes the ids of bad ones: what the exchange's memory has in their place is new. A broken one has no time
        of its own: it was under way for IN_FLIGHT_MS at most.
        """
        bad, sound = np.flatnonzero(~is_sound), np.flatnonzero(is_sound)
        self._refuse(trades, bad, is_forgotten=False)
        until_ms = max(now_ms or 0, int(ms[sound].max(initial=0)))
        is_old = ms[bad] < (now_ms or 0) - BEHIND_MS
        since_ms = _earliest(rows[bad], np.where(is_old, until_ms - IN_FLIGHT_MS, ms[bad]))
        for row in self._symbols.known(trades.broken):
            since_ms[row] = min(since_ms.get(row, FAR), self._gap_from(until_ms - IN_FLIGHT_MS))
        is_ahead = (ms > until_ms) & (ms <= LATEST_MS)
        for row, one_ms in zip(rows[is_ahead].tolist(), ms[is_ahead].tolist(), strict=True):
            self._record_future(row, one_ms)
        rest = replace(trades.at(sound), broken=[])
        return self._add_across_gap(since_ms, until_ms, lambda: self.add(rest, now_ms) if len(sound) else [])

    def _add_across_gap(self, since_ms: dict[int, int], until_ms: int, count: Callable[[], list[Kline]]) -> list[Kline]:
        """Count what is good of a batch while symbols (rows) are in doubt, since then; the exchange is asked for it."""
        klines: list[Kline] = []
        for row, from_ms in since_ms.items():
            klines += self._begin_unverified([row], from_ms)
        klines += count()
        for row, from_ms in since_ms.items():
            from_ms, open_gap = min(from_ms, until_ms), self._gaps.open_gap(row)
            if open_gap:
                open_gap.from_ms = min(open_gap.from_ms, from_ms)
            elif self._event_clock or not self._feeds.get(row):
                self._coverage.add(row, from_ms, until_ms + 1)
            else:
                self._begin_gap(row, from_ms)
                self._end_gap(self._symbols.names[row], row, until_ms + 1)
        self._end_unverified(since_ms, until_ms + 1)
        return klines

    def _record_future(self, row: int, ms: int) -> None:
        windows, start = self._future.setdefault(row, {}), int(self.base.start_of(np.array([ms]))[0])
        windows[start] = max(ms, windows.get(start, 0))
        self._future_from_ms = min(self._future_from_ms, start)
        if len(windows) > FUTURE_WINDOWS_MOST:
            del windows[max(windows)]

    def _expire_future(self, until_ms: int) -> None:
        """Windows that are over now, and to which a trade belongs that was refused as of the future."""
        for row, windows in list(self._future.items()):
            for start in sorted(start for start in windows if start < until_ms):
                last_ms = windows.pop(start)
                self._unverified_until[row] = max(self._unverified_until[row], last_ms + 1)
                self._coverage.add(row, start, last_ms + 1)
            if not windows:
                del self._future[row]
        self._future_from_ms = min((min(windows) for windows in self._future.values()), default=FAR)

    def _refuse(self, trades: TradeBatch, refused: Ints, *, is_forgotten: bool) -> None:
        self.counts.refused += len(refused)
        self.counts.forgotten += len(refused) * is_forgotten
        for i in refused.tolist():
            trade = (trades.symbols[i], trades.event_ms[i], trades.prices[i], trades.sizes[i])
            sample = "symbol={} event_ms={} price={} size={}".format(*trade)
            self._report("forgotten_trade" if is_forgotten else "bad_trade", sample.encode())

    def _count(self, *trades: Ints) -> list[Kline]:
        klines, changed = self._counted(*trades)
        return klines + self._rollup.reissued(changed)

    def _counted(self, *trades: Ints) -> tuple[list[Kline], Changes]:
        """Count rows, match times, sequences, prices, sizes (columns of trades, in stream order).

        Returns the klines that are over because of them, and the closed windows that late ones changed.
        """
        rows, ms, seqs = map(b.ints, trades[:3])
        prices, sizes = trades[3:]
        if not len(rows):
            return [], {}
        symbols = self._symbols
        if not symbols.any_wide(rows):
            self._ensure_headroom(rows, prices, sizes)
            if not symbols.any_wide(rows):
                return self._counted_alike(rows, ms, seqs, prices, sizes)
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
                more, also_changed = self._counted_alike(rows[own], ms[own], seqs[own], *numbers)
                klines += more
                changed |= also_changed
        return klines, changed

    def _ensure_headroom(self, rows: Ints, prices: Ints, sizes: Ints) -> None:
        self._rollup.ensure_headroom(
            rows, prices, sizes, self._symbols.quotient_digits(rows) if self._inverse else None
        )

    def _counted_alike(self, *trades: Ints) -> tuple[list[Kline], Changes]:
        """`_counted` of trades that are all of wide symbols, or none is."""
        rows, ms, *others = trades
        starts = self.base.start_of(ms)
        late = starts < self._rollup.open_starts()[rows]
        if not late.any():
            return self._add_bars(self._bars(rows, starts, ms, *others)), {}
        klines = [] if late.all() else self._add_bars(self._bars(*(a[~late] for a in (rows, starts, ms, *others))))
        return klines, self._rollup.amend(self._bars(*(a[late] for a in (rows, starts, ms, *others))))

    def _bars(self, *columns: Ints) -> Ints:
        rows, starts, ms, seqs, prices, sizes = columns
        digits = self._symbols.quotient_digits(rows) if self._inverse else None
        return b.bars_of_trades(rows, starts, ms, seqs, prices, sizes, digits)

    def _add_bars(self, bars: Ints) -> list[Kline]:
        self._verify_by_trades(bars)
        if self._future and (until_ms := int(bars[b.START].max())) > self._future_from_ms:
            self._expire_future(until_ms)
        return [kline for klines in self._rollup.add_bars(bars, self._unverified_until) for kline in klines]

    def _verify_by_trades(self, bars: Ints) -> None:
        """Where only a trade can tell the time, the first one after a gap says until when nothing was proven."""
        rows = b.ints(bars[b.ROW])
        waiting = self._verified_by_trade[rows] & (bars[b.COUNT] > 0)
        if waiting.any():
            rows, first_ms = rows[waiting == 1][::-1], bars[b.FIRST_MS, waiting == 1][::-1]
            self._unverified_until[rows] = first_ms
            self._verified_by_trade[rows] = 0

    def close_until(self, now_ms: int) -> list[Kline]:
        """Close every window that ended at or before `now_ms`, flat where nobody traded; wall clock only."""
        return [kline for klines in self.closing(now_ms) for kline in klines]

    def is_due(self, now_ms: int) -> bool:
        """Whether a window ended by then, or one that went out unproven waits for a proof."""
        start = self.base.start_of(np.array([now_ms]))[0]
        starts = self._rollup.open_starts()
        return bool(self._suspect) or bool(((starts < start) & (starts != NO_WINDOW)).any())

    def watermarks(self, now_ms: int) -> Watermarks:
        """How far every connection has come; to be read before what it delivered is taken."""
        return self._deliveries.watermarks(now_ms)

    def unverified(self, now_ms: int, margin_ms: int, marks: Watermarks) -> list[Delivery]:
        """The connections of windows that ended by then and that have not delivered all until `margin_ms` after."""
        start = int(self.base.start_of(np.array([now_ms]))[0])
        behind = self._deliveries.behind(marks, start + margin_ms)
        opened = self._rollup.open_starts()
        return self._deliveries.of({row for row in behind if opened[row] < start and opened[row] != NO_WINDOW})

    def closing(self, now_ms: int, marks: Watermarks | None = None, margin_ms: int = 0) -> Iterator[list[Kline]]:
        """`close_until` in batches, so that the first can go out while the next is still being made.

        A window whose connections have not delivered all until `margin_ms` after its end is held for PROOF_WAIT_MS,
        then it closes and is not complete; it is sent again once that is proven. Without `marks` all is proven.
        """
        if self._event_clock:
            return
        self._forget_dropped()
        start = int(self.base.start_of(np.array([now_ms]))[0])
        if start > self._future_from_ms:
            self._expire_future(start)
        opened = self._rollup.open_starts()
        rows = np.flatnonzero((opened < start) & (opened != NO_WINDOW))
        self.held = []
        if not (len(rows) or self._suspect):
            return
        behind = {} if marks is None else self._deliveries.behind(marks, start + margin_ms)
        if self._suspect:
            yield self._verify_late(behind, margin_ms, start)
        until = np.full(len(opened), start)
        if behind and len(rows):
            until[rows] = self._closing_times(rows, until[rows], behind, margin_ms, now_ms)
        yield from self._rollup.closing(until, self._unverified_until)

    def _closing_times(self, rows: Ints, starts: Ints, behind: dict[int, int], margin_ms: int, now_ms: int) -> Ints:
        """Until when each row closes: 0 where it waits."""
        opened = self._rollup.open_starts()[rows]
        proven = np.array([behind.get(row, FAR) for row in rows.tolist()]) - margin_ms
        allowed = np.where(proven < starts, self.base.start_of(np.minimum(proven, starts)), starts)
        given_up = int(self.base.start_of(np.array([now_ms - PROOF_WAIT_MS]))[0])
        is_silent = np.isin(rows, list(self._silent))
        for i in np.flatnonzero((allowed < given_up) & (opened < given_up) & ~is_silent).tolist():
            row = int(rows[i])
            if row not in self._suspect:
                self._suspect[row] = max(int(proven[i]), int(opened[i]))
                self._unverified_until[row] = FAR
        allowed = np.where(is_silent, starts, np.maximum(allowed, given_up))
        self.held = self._deliveries.of(set(rows[(allowed < starts) | (proven < starts)].tolist()))
        return np.where(allowed > opened, allowed, 0)

    def _verify_late(self, behind: dict[int, int], margin_ms: int, start: int) -> list[Kline]:
        """Revisions of windows that went out unproven, as far as they are proven now."""
        klines: list[Kline] = []
        for row, since_ms in list(self._suspect.items()):
            proven_ms = behind.get(row, FAR) - margin_ms
            if row in self._silent or proven_ms <= since_ms:
                continue
            if proven_ms >= start:
                klines += self._clear(row, since_ms)
            else:
                self._suspect[row] = proven_ms
                self._coverage.add(row, proven_ms, FAR)
                klines += self._rollup.reissued(self._rollup.mark_verified(row, since_ms, self._coverage))
                self._coverage.remove(row, proven_ms, FAR)
        return klines

    def _clear(self, row: int, since_ms: int) -> list[Kline]:
        """All is proven of a row after all but for its outages; revisions of what closed since then."""
        del self._suspect[row]
        self._unverified_until[row] = self._coverage.last_until(row)
        return self._rollup.reissued(self._rollup.mark_verified(row, since_ms, self._coverage))

    def open_klines(self) -> list[Kline]:
        """Every candle that is open, as it is now; none of them is complete. Changes nothing."""
        return self._rollup.open_klines()

    def correct(self, kline: Kline, candle: Candle) -> list[Kline]:
        """Put the exchange's candle in the place of a kline that went out; returns revisions of all that changes."""
        return self._rollup.correct(kline, candle)

    # -- what the feed was seen to do --------------------------------------------------------------------

    def has_feed(self, symbol: str) -> bool:
        """Whether the symbol has or had a feed, and is not forgotten since."""
        return any(row in self._feeds for row in self._symbols.known([symbol]))

    def feed_up(self, symbols: Iterable[str], now_ms: int, delivery: Delivery | None = None) -> list[FeedGap]:
        """One more connection delivers these symbols from `now_ms` on; the outages that end with it.

        Where trades were missed, being subscribed anew ends nothing: a trade does, or the exchange's word.
        """
        names, ended = list(symbols), []
        for name, row in zip(names, self._symbols.rows(names).tolist(), strict=True):
            self._feeds[row] = self._feeds.get(row, 0) + 1
            self._last_up_ms[row] = now_ms
            self._deliveries.add(row, delivery)
            if self._feeds[row] == 1 and row not in self._silent:
                self._verify_from(row, now_ms)
                ended += self._end_gap(name, row, now_ms)
        return ended

    def feed_down(self, symbols: Iterable[str], from_ms: int, delivery: Delivery | None = None) -> list[Kline]:
        """One connection fewer delivers these symbols; the last proof of life was at `from_ms`.

        Returns the klines that went out as complete and were not, as revisions.
        """
        names, lost = list(symbols), []
        for row in self._symbols.rows(names).tolist():
            self._feeds[row] = max(self._feeds.get(row, 0) - 1, 0)
            self._deliveries.remove(row, delivery)
            if self._feeds[row] == 0 or self._last_up_ms[row] > from_ms:
                lost.append(row)
                self._begin_gap(row, min(from_ms, self._suspect.pop(row, from_ms)))
        self.counts.gaps += len(lost)
        klines = self._begin_unverified(lost, self._gap_from(from_ms))
        for row in lost:
            self._end_unverified([row], self._last_up_ms.get(row, from_ms))
            if self._feeds[row] and row not in self._silent:
                self._end_gap(self._symbols.names[row], row, self._last_up_ms[row])
        self._forget_dropped()
        return klines

    def _begin_gap(self, row: int, from_ms: int) -> None:
        base = self._rollup.base_of(row)
        open_ms = int(base.open_bars[b.START, row]) if base.has_traded(row) else from_ms
        self._gaps.begin(self._symbols.names[row], row, from_ms, open_ms)

    def _end_gap(self, symbol: str, row: int, now_ms: int) -> list[FeedGap]:
        return [] if self._event_clock else [self._gaps.end(symbol, row, now_ms)]  # a replay has no memory to ask

    def clock_changed(self, now_ms: int) -> list[Kline]:
        """The clock is right now, and may have been wrong before: whatever is delivered is so since now at the latest.

        Windows of the future were closed by a wrong time: they are not complete, and their symbols begin anew.
        """
        for row, feeds in self._feeds.items():
            if feeds and now_ms < self._unverified_until[row] < FAR:
                self._unverified_until[row] = now_ms
            self._last_up_ms[row] = min(self._last_up_ms.get(row, now_ms), now_ms)
            self._gaps.cap_end(self._symbols.names[row], row, now_ms)
        for since_ms in (self._suspect, self._silent):
            since_ms.update((row, min(ms, now_ms)) for row, ms in since_ms.items())
        klines = []
        for row in np.flatnonzero(self._rollup.open_starts() > now_ms).tolist():
            klines += self._rollup.mark_unverified(row, now_ms)
            self._rollup.forget(row)
        return klines

    # -- silence against the rhythm ----------------------------------------------------------------------

    def silent_symbols(self, now_ms: int) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """Symbols to ask the exchange about, with the time since when nothing came; once per CHECK_EVERY_MS.

        And those that are newly silent for so long, without an answer about them, that they count as missed.
        """
        if self._event_clock:
            return [], []
        names = self._symbols.names
        up_ms = np.array([self._last_up_ms.get(row, 0) for row in range(len(names))], np.int64)
        newest = self._recent.newest_ms(len(names))
        asked, unanswered = self._rhythm.check(newest, up_ms, now_ms)
        asks = [row for row in asked.tolist() if self._is_followed(row)]
        missed = [row for row in unanswered.tolist() if self._is_followed(row) and row not in self._silent]
        return (
            [(names[row], int(max(newest[row], up_ms[row] if row in self._silent else 0))) for row in asks],
            [(names[row], int(newest[row])) for row in missed],
        )

    def _is_followed(self, row: int) -> bool:
        return bool(self._feeds.get(row)) and self._rollup.base_of(row).has_traded(row)

    def mark_missed(self, symbol: str, since_ms: int) -> list[Kline]:
        """The exchange has trades since then that did not come: nothing is proven until the next one is here.

        Returns the klines that went out as complete and were not, as revisions.
        """
        return [kline for row in self._symbols.known([symbol]) for kline in self._begin_silence(row, since_ms)]

    def confirm_quiet(self, symbol: str, until_ms: int) -> list[Kline]:
        """The exchange has no trade until then that did not come; revisions of what is proven by that."""
        klines: list[Kline] = []
        for row in self._symbols.known([symbol]):
            self._rhythm.confirm_quiet(row, until_ms)
            if row in self._silent and self._feeds.get(row):
                since_ms = self._silent.pop(row)
                if self._gaps.open_gap(row):  # it was subscribed anew since, and that works
                    self._suspect.pop(row, None)
                    self._verify_from(row, self._last_up_ms[row])
                    self.ended += self._end_gap(symbol, row, self._last_up_ms[row])
                elif row in self._suspect:
                    klines += self._clear(row, since_ms)
        return klines

    def deliveries_of(self, symbol: str) -> list[Delivery]:
        """The connections that bring a symbol."""
        return self._deliveries.of(self._symbols.known([symbol]))

    def _begin_silence(self, row: int, since_ms: int) -> list[Kline]:
        if row in self._silent or not self._is_followed(row):
            return []
        self._silent[row] = self._suspect[row] = min(since_ms, self._suspect.get(row, since_ms))
        self.counts.gaps += 1
        return self._begin_unverified([row], since_ms)

    def _end_silences(self, rows: Ints, ms: Ints) -> None:
        """A trade came of symbols that were silent: from there on they are delivered, and what lies before is asked."""
        for row in self._silent.keys() & set(rows.tolist()):
            newer = ms[(rows == row) & (ms > self._silent[row])]
            if len(newer):
                since_ms = self._silent.pop(row)
                self._suspect.pop(row, None)
                self._begin_gap(row, since_ms)
                if self._feeds.get(row):
                    until_ms = max(int(newer.min()), self._last_up_ms[row])  # it may be of before, and come late
                    self.ended += self._end_gap(self._symbols.names[row], row, until_ms)
                    self._verify_from(row, until_ms)

    def drop(self, symbols: Iterable[str], again: Iterable[str] = ()) -> None:
        """Forget symbols once no connection delivers them: nothing of them closes then. `again` ones stay after all.

        Should one be delivered anew, it begins like a symbol never seen.
        """
        self._dropped |= self._symbols.known(list(symbols))
        self._dropped -= self._symbols.known(list(again))
        self._forget_dropped()

    def _forget_dropped(self) -> None:
        """A trade that comes after all, or a splice on its way, must not begin anew what nobody follows."""
        for row in self._dropped:
            if not self._feeds.get(row) and self._rollup.base_of(row).has_traded(row):
                self._forget(row)

    def _forget(self, row: int) -> None:
        self._rollup.forget(row)
        self._gaps.forget(self._symbols.names[row], row)
        self._feeds.pop(row, None)
        self._last_up_ms.pop(row, None)
        self._coverage.clear(row)
        self._future.pop(row, None)
        self._suspect.pop(row, None)
        self._silent.pop(row, None)
        self._unverified_until[row], self._verified_by_trade[row] = self._initial

    def mark_lost(self, from_ms: int, until_ms: int) -> list[Kline]:
        """Trades of any symbol were lost between the two times."""
        rows = range(len(self._symbols.names))
        self.counts.gaps += len(rows)
        klines = self._begin_unverified(rows, self._gap_from(from_ms))
        self._end_unverified(rows, until_ms)
        for row in rows:
            self._coverage.add(row, from_ms, until_ms)
        return klines

    def insert_trades(self, outage: FeedGap, past: Sequence[PastTrade], now_ms: int) -> list[Kline] | None:
        """Put the trades of an outage in, where the exchange's newest ones (no hole) reach over both its sides.

        Returns revisions of all that changes, complete where no other doubt is left; None where it is not proven.
        Nor is it where a trade cannot be counted, or is so old that it may have been counted and be forgotten.
        """
        (row,) = self._symbols.rows([outage.symbol]).tolist()
        missing = missing_trades(outage, past, self.base)
        if missing is None or (row in self._dropped and not self._feeds.get(row)):
            return None
        missing = [trade for trade in missing if trade.trade_id != outage.last_id]
        if any(self._recent.may_have_forgotten(row, trade.event_ms) for trade in missing):
            return None
        if not self._symbols.can_count([trade.price for trade in missing], [trade.size for trade in missing]):
            return None
        from_ms = gap_start_ms(outage, self.base)
        if not outage.last_id:
            self._set_first_open(row, from_ms, [trade for trade in past if trade.event_ms < from_ms][-1])
        self._coverage.remove(row, outage.from_ms, outage.until_ms)
        if not outage.last_id:
            self._coverage.add(row, -FAR, from_ms)
        new = self._new_ones(row, missing, now_ms)
        is_proven = self._feeds.get(row) and row not in self._suspect and row not in self._silent
        self._unverified_until[row] = self._coverage.last_until(row) if is_proven else FAR
        klines, changed = self._count_past(row, new)
        self._mark_uncounted(row, [trade.event_ms for trade in new])
        open_gap = self._gaps.open_gap(row)  # a newer one, of which nobody knows yet when it ends
        doubted = [open_gap.from_ms] if open_gap else []
        doubted += [since[row] for since in (self._suspect, self._silent) if row in since]
        for since_ms in doubted:
            self._coverage.add(row, since_ms, FAR)
        changed |= self._rollup.mark_verified(row, min(from_ms, outage.open_ms), self._coverage)
        for since_ms in doubted:
            self._coverage.remove(row, since_ms, FAR)
        return klines + self._rollup.reissued(changed)

    def _new_ones(self, row: int, past: list[PastTrade], now_ms: int) -> list[PastTrade]:
        rows, ms = np.full(len(past), row), np.array([trade.event_ms for trade in past], np.int64)
        verdicts = self._judge([trade.trade_id for trade in past], rows, ms, now_ms)
        if verdicts is None:
            return past
        return [trade for trade, verdict in zip(past, verdicts.tolist(), strict=True) if verdict == NEW]

    def _count_past(self, row: int, past: list[PastTrade]) -> tuple[list[Kline], Changes]:
        """Count trades that come late; klines they close, and windows they change."""
        if not past:
            return [], {}
        rows, ms = np.full(len(past), row), np.array([trade.event_ms for trade in past], np.int64)
        prices, sizes = np.array([trade.price for trade in past]), np.array([trade.size for trade in past])
        ticks, lots = self._symbols.units(rows, prices, sizes)
        columns = (rows, ms, np.array([trade.seq for trade in past], np.int64), ticks, lots)
        columns = tuple(column[ticks > 0] for column in columns)
        self.counts.trades += len(columns[0])
        return self._counted(*columns)

    def _mark_uncounted(self, row: int, past_ms: list[int]) -> None:
        """Trades too old for the windows remembered were not counted, and moved the price that later ones open at."""
        lost_ms = self._rollup.base_of(row).forgotten(row, past_ms)
        if lost_ms:
            self._coverage.add(row, min(lost_ms), max(lost_ms) + 1)
            self._unverified_until[row] = max(self._unverified_until[row], max(lost_ms) + 1)

    def _set_first_open(self, row: int, start_ms: int, before: PastTrade) -> None:
        """The first window of all opens at the last price before it."""
        ((price,), (lots,)) = self._symbols.units(np.array([row]), np.array([before.price]), np.array([before.size]))
        if price > 0 and lots > 0:
            self._rollup.set_first_open(row, start_ms, int(price))

    def _begin_unverified(self, rows: Iterable[int], from_ms: int) -> list[Kline]:
        """Nothing is proven from `from_ms` (trade time) on, nor about the open windows, until `_end_unverified`."""
        klines = []
        for row in rows:
            self._unverified_until[row], self._verified_by_trade[row] = FAR, 0
            klines += self._rollup.mark_unverified(row, from_ms)
        return klines

    def _gap_from(self, wall_ms: int) -> int:
        """Where a gap begins in the trades' time: the wall's says nothing about a replay's."""
        return FAR if self._event_clock else wall_ms

    def _end_unverified(self, rows: Iterable[int], now_ms: int) -> None:
        for row in rows:
            if self._feeds.get(row, not self._needs_feed):
                self._verify_from(row, now_ms)

    def _verify_from(self, row: int, now_ms: int) -> None:
        if row in self._suspect or row in self._silent:
            return
        self._verified_by_trade[row] = self._event_clock
        if not self._event_clock:
            self._unverified_until[row] = now_ms

    def _grow(self, rows: int) -> None:
        unverified_until, verified_by_trade = self._initial
        added = np.zeros(rows - len(self._unverified_until), np.int64)
        self._unverified_until = np.concatenate((self._unverified_until, added + unverified_until))
        self._verified_by_trade = np.concatenate((self._verified_by_trade, added + verified_by_trade))

    @property
    def _initial(self) -> tuple[int, int]:
        """What is proven of a symbol without a feed: `_unverified_until` and `_verified_by_trade`."""
        return (FAR, 0) if self._needs_feed else (0, 1)


def _earliest(rows: Ints, ms: Ints) -> dict[int, int]:
    """The first time of each row."""
    first: dict[int, int] = {}
    for row, at_ms in zip(rows.tolist(), ms.tolist(), strict=True):
        first[row] = min(first.get(row, FAR), at_ms)
    return first
