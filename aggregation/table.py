"""All klines of one market: trades in, closed klines out.

Pure: no thread, no clock, no I/O; time is an argument. Trades are counted once, into the longest interval
that divides all asked for; every longer interval is rolled up from closed windows of a shorter one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from aggregation import bars as b
from aggregation.bars import FAR, Ints
from aggregation.dedupe import DOUBLE, NEW, UNKNOWN, RecentIds
from aggregation.doubts import Doubts
from aggregation.intervals import DAY_MS, Interval, base_of, sources_of
from aggregation.kline import Kline
from aggregation.level import FROM_EXCHANGE, NO_WINDOW, REVISION, Level
from aggregation.mailbox import CandleLike, Outage, PastTradeLike
from aggregation.records import klines_of, turnover_units
from aggregation.symbols import Symbols

LATEST_MS = 4_102_444_800_000  # 2100-01-01: a later trade time is garbage
AHEAD_MS = 60_000  # a trade this far ahead of the clock is garbage, or the clock is wrong
TOGETHER = 500  # klines that leave at once where many close together: some three milliseconds of work with them

Report = Callable[[str, str], None]
Changes = dict[tuple[int, int, int], None]
"""Closed windows as (level, row, slot), in the order in which they changed."""


@dataclass
class TableCounts:
    """What happened to trades, since the start."""

    trades: int = 0
    late_amended: int = 0
    late_dropped: int = 0
    refused: int = 0
    klines: int = 0
    revisions: int = 0
    gaps: int = 0
    duplicates: int = 0
    forgotten: int = 0  # of the refused: so old that nobody knows any more whether they were counted


@dataclass
class Trades:
    """Decoded trades of one market, in stream order; five equally long columns.

    `event_ms` is the exchange's match time; `seq` its sequence number, 0 where it sends none.
    """

    symbols: list[str]
    event_ms: list[int]
    prices: list[float]
    sizes: list[float]
    seqs: list[int]
    ids: list[str]
    broken: list[str] = field(default_factory=list)  # symbols of which a trade could not be read

    def at(self, positions: Ints) -> "Trades":
        """Those at these positions."""
        kept = positions.tolist()
        return Trades(
            [self.symbols[i] for i in kept],
            [self.event_ms[i] for i in kept],
            [self.prices[i] for i in kept],
            [self.sizes[i] for i in kept],
            [self.seqs[i] for i in kept],
            [self.ids[i] for i in kept],
            self.broken,
        )


class KlineTable:
    """Open and lately closed windows of every symbol of one market, at every interval asked for.

    One thread only. `event_clock`: time is what the trades say, per symbol; without it `close_until` moves time.
    `inverse`: sizes are money, and turnover is in the coin. `report(cause, sample)` is told of trades that cannot be
    counted, `on_outage` of outages whose two sides are known, so that they can be spliced.
    """

    def __init__(
        self,
        intervals: Iterable[Interval],
        *,
        prev_close_opens: bool = True,
        event_clock: bool = False,
        inverse: bool = False,
        report: Report = lambda _cause, _sample: None,
        on_outage: Callable[[Outage], object] | None = None,
    ) -> None:
        distinct = {(interval.step_ms, interval.anchor_ms): interval for interval in intervals}  # 60s is 1m
        wanted = sorted(distinct.values(), key=lambda i: i.step_ms or 31 * DAY_MS)
        if not wanted:
            raise ValueError("no kline interval given: name at least one, for example 1m")
        base = base_of(wanted)
        ladder = wanted if base in wanted else [base, *wanted]
        self._wanted = [interval in wanted for interval in ladder]
        self._sources = sources_of(ladder)
        self._levels = [Level(interval, prev_close_opens=prev_close_opens) for interval in ladder]
        self._event_clock = event_clock
        self._inverse = inverse
        self._report = report
        self._symbols = Symbols(self._grow, self._rescaled)
        self._recent = RecentIds()
        self._unproven_until: Ints = np.zeros(0, np.int64)
        self._proven_by_trade: Ints = np.zeros(0, np.int64)
        self._feeds: dict[int, int] = {}
        self._last_up_ms: dict[int, int] = {}
        self._doubts = Doubts()
        self._outages: dict[int, Outage] = {}
        self._awaiting: dict[str, Outage] = {}
        self._last_ids: dict[int, str] = {}
        self._retired: set[int] = set()
        self._on_outage = on_outage
        self.counts = TableCounts()
        self.lateness_ms = 0  # of the latest trade since somebody set it to 0, after the end of its window

    @property
    def base(self) -> Interval:
        """The interval trades are counted into; the clock need not tick faster."""
        return self._levels[0].interval

    @property
    def skipped_windows(self) -> int:
        """Windows left out because a symbol was silent for longer than can be filled in."""
        return sum(level.skipped for level in self._levels)

    # -- trades ---------------------------------------------------------------------------------------

    def add(self, trades: Trades, now_ms: int | None = None) -> list[Kline]:
        """Count trades and return the klines that are over because of them, and corrected ones.

        A trade with no positive finite price and size, or of a time too far after `now_ms` (None: any time may be
        now), is refused and reported. Its symbol's windows of this moment are not complete: it may belong to any.
        A double is left out; what may be a double of a trade that is forgotten is refused like a bad one.
        """
        rows, ms = self._symbols.rows(trades.symbols), _int64(trades.event_ms, instead=0)
        in_time = (ms > 0) & (ms <= (LATEST_MS if now_ms is None else now_ms + AHEAD_MS))
        verdicts = self._judge(trades.ids, rows, np.where(in_time, ms, 0), now_ms)
        if verdicts is not None and (verdicts == DOUBLE).any():
            new = np.flatnonzero(verdicts != DOUBLE)
            self.counts.duplicates += len(rows) - len(new)
            trades, rows, ms, in_time, verdicts = trades.at(new), rows[new], ms[new], in_time[new], verdicts[new]
        if self._awaiting:
            self._notice_first(trades)
        self._note_last(rows, trades.ids)
        units = self._symbols.units(rows, np.where(in_time, _floats(trades.prices), 0.0), _floats(trades.sizes))
        columns = np.stack((rows, ms, _int64(trades.seqs, instead=0), *units))
        keep = units[0] > 0
        if verdicts is not None:
            keep &= verdicts == NEW
        if trades.broken or not keep.all():
            self._refuse(trades, np.flatnonzero(~keep), verdicts)
            return self._add_despite_bad(trades, columns, keep, max(now_ms or 0, int(ms[in_time].max(initial=0))))
        self.counts.trades += len(rows)
        if now_ms is not None:
            self._note_lateness(rows, ms, now_ms)
        return self._count(*columns)

    def _judge(self, ids: list[str], rows: Ints, ms: Ints, now_ms: int | None) -> Ints | None:
        return self._recent.judge(ids, rows, ms, now_ms or int(ms.max())) if ids else None

    def _note_last(self, rows: Ints, ids: list[str]) -> None:
        last = np.full(len(self._symbols.names), -1)
        last[rows] = np.arange(len(rows))  # of a row that comes again, the last one stays
        traded = np.flatnonzero(last >= 0)
        self._last_ids.update(zip(traded.tolist(), [ids[position] for position in last[traded].tolist()], strict=True))

    def _note_lateness(self, rows: Ints, ms: Ints, now_ms: int) -> None:
        """Trades that come after their window; what an outage held up, or a new connection sends again, is no delay."""
        starts = self.base.start_of(ms)
        late = np.flatnonzero(starts < self._levels[0].open_bars[b.START, rows])
        for i in late.tolist():
            if ms[i] >= self._last_up_ms.get(int(rows[i]), -FAR):
                self.lateness_ms = max(self.lateness_ms, now_ms - int(self.base.end_of(starts[[i]])[0]))

    def _add_despite_bad(
        self, trades: Trades, columns: Ints, keep: npt.NDArray[np.bool_], until_ms: int
    ) -> list[Kline]:
        """A bad trade is a gap of its symbol, from its own time (if that is known) to the last of its batch."""
        rows, ms = columns[:2, ~keep]
        doubted = self._symbols.known(trades.broken) | set(rows.tolist())
        self.counts.trades += int(keep.sum())
        klines = self._gap(doubted, int(ms.min(initial=FAR)))
        klines += self._count(*columns[:, keep])
        for row in doubted:
            self._doubts.add(row, int(ms.min(initial=until_ms)), until_ms + 1)
        self._end_gap(doubted, until_ms + 1)
        return klines

    def _refuse(self, trades: Trades, refused: Ints, verdicts: Ints | None) -> None:
        self.counts.refused += len(refused)
        for i in refused.tolist():
            is_forgotten = verdicts is not None and verdicts[i] == UNKNOWN
            self.counts.forgotten += is_forgotten
            trade = (trades.symbols[i], trades.event_ms[i], trades.prices[i], trades.sizes[i])
            sample = "symbol={} event_ms={} price={} size={}".format(*trade)
            self._report("forgotten_trade" if is_forgotten else "bad_trade", sample)

    def _count(self, *trades: Ints) -> list[Kline]:
        klines, changed = self._counted(*trades)
        return klines + self._reissued(changed)

    def _counted(self, *trades: Ints) -> tuple[list[Kline], Changes]:
        """Count rows, match times, sequences, prices, sizes (columns of trades, in stream order).

        Returns the klines that are over because of them, and the closed windows that late ones changed.
        """
        rows, ms, *others = trades
        klines: list[Kline] = []
        if not len(rows):
            return klines, {}
        starts = self.base.start_of(ms)
        late = starts < self._levels[0].open_bars[b.START, rows]
        if not late.all():
            klines = self._fold(self._bars(*(a[~late] for a in (rows, starts, ms, *others))))
        changed = self._amend(self._bars(*(a[late] for a in (rows, starts, ms, *others)))) if late.any() else {}
        return klines, changed

    def _bars(self, *columns: Ints) -> Ints:
        return b.bars_of_trades(*columns, inverse=self._inverse)

    def _fold(self, bars: Ints) -> list[Kline]:
        return [kline for klines in self._folded(bars) for kline in klines]

    def _folded(self, bars: Ints) -> Iterator[list[Kline]]:
        """Fold bars into the base and its closed windows into the longer intervals, shortest first.

        All of it is done before the first klines come out: these are made batch by batch, as somebody takes them.
        """
        self._prove_by_trades(bars)
        closed = [self._levels[0].fold_trades(bars, self._unproven_until)]
        for level, source in zip(self._levels[1:], self._sources[1:], strict=True):
            children = closed[source][: b.COLUMNS]
            over = level.fold_children(children, self._levels[source].interval) if children.shape[1] else children
            closed.append(over)
        klines: list[Kline] = []
        for level, windows, wanted in zip(self._levels, closed, self._wanted, strict=True):
            if wanted and windows.shape[1]:
                klines += klines_of(level, windows, self._symbols, inverse=self._inverse)
                if len(klines) >= TOGETHER:
                    self.counts.klines += len(klines)
                    yield klines
                    klines = []
        self.counts.klines += len(klines)
        yield klines

    def _prove_by_trades(self, bars: Ints) -> None:
        """Where only a trade can tell the time, the first one after a gap says until when nothing was proven."""
        waiting = self._proven_by_trade[bars[b.ROW]] & (bars[b.COUNT] > 0)
        if waiting.any():
            rows, first_ms = bars[b.ROW, waiting == 1][::-1], bars[b.FIRST_MS, waiting == 1][::-1]
            self._unproven_until[rows] = first_ms
            self._proven_by_trade[rows] = 0

    def close_until(self, now_ms: int) -> list[Kline]:
        """Close every window that ended at or before `now_ms`, flat where nobody traded; wall clock only."""
        return [kline for klines in self.closing(now_ms) for kline in klines]

    def closing(self, now_ms: int) -> Iterator[list[Kline]]:
        """`close_until` in batches, so that the first can go out while the next is still being made."""
        if self._event_clock:
            return
        self._forget_retired()
        start = self.base.start_of(np.array([now_ms]))[0]
        rows = np.flatnonzero(self._levels[0].open_bars[b.START] < start)
        rows = rows[self._levels[0].open_bars[b.START, rows] != NO_WINDOW]
        if len(rows):
            yield from self._folded(b.empty_bars(rows, np.full(len(rows), start)))

    def open_klines(self) -> list[Kline]:
        """Every candle that is open, as it is now; none of them is complete. Changes nothing."""
        klines: list[Kline] = []
        bars: list[Ints] = []
        if not (self._levels[0].open_bars[b.START] != NO_WINDOW).any():
            return klines
        for number, level in enumerate(self._levels):
            segs, windows = level.open_windows(bars[self._sources[number]] if number else None)
            bars.append(segs)
            if self._wanted[number]:
                klines += klines_of(level, windows, self._symbols, inverse=self._inverse)
        return klines

    # -- what the feed was seen to do --------------------------------------------------------------------

    def feed_up(self, symbols: Iterable[str], now_ms: int) -> list[Outage]:
        """One more connection delivers these symbols from `now_ms` on; the outages that end with it."""
        names, ended = list(symbols), []
        for name, row in zip(names, self._symbols.rows(names).tolist(), strict=True):
            self._feeds[row] = self._feeds.get(row, 0) + 1
            self._last_up_ms[row] = now_ms
            if self._feeds[row] == 1:
                self._prove_from(row, now_ms)
                ended += self._end_outage(name, row, now_ms)
        return ended

    def feed_down(self, symbols: Iterable[str], from_ms: int) -> list[Kline]:
        """One connection fewer delivers these symbols; the last proof of life was at `from_ms`.

        Returns the klines that went out as complete and were not, as revisions.
        """
        names, lost = list(symbols), []
        for name, row in zip(names, self._symbols.rows(names).tolist(), strict=True):
            self._feeds[row] = max(self._feeds.get(row, 0) - 1, 0)
            if self._feeds[row] == 0 or self._last_up_ms[row] > from_ms:
                lost.append(row)
                self._begin_outage(name, row, from_ms)
        self.counts.gaps += len(lost)
        klines = self._gap(lost, self._known_from(from_ms))
        for row in lost:
            self._end_gap([row], self._last_up_ms.get(row, from_ms))
            if self._feeds[row]:
                self._end_outage(self._symbols.names[row], row, self._last_up_ms[row])
        self._forget_retired()
        return klines

    def retire(self, symbols: Iterable[str], again: Iterable[str] = ()) -> None:
        """Forget symbols once no connection delivers them: nothing of them closes then. `again` ones stay after all.

        Should one be delivered anew, it begins like a symbol never seen.
        """
        self._retired |= self._symbols.known(list(symbols))
        self._retired -= self._symbols.known(list(again))
        self._forget_retired()

    def _forget_retired(self) -> None:
        """A trade that comes after all, or a splice on its way, must not begin anew what nobody follows."""
        for row in self._retired:
            if not self._feeds.get(row) and self._levels[0].has_traded(row):
                self._forget(row)

    def _forget(self, row: int) -> None:
        name = self._symbols.names[row]
        for level in self._levels:
            level.forget(row)
        for known in (self._outages, self._feeds, self._last_up_ms):
            known.pop(row, None)
        self._awaiting.pop(name, None)
        self._last_ids.pop(row, None)
        self._doubts.clear(row)
        self._unproven_until[row], self._proven_by_trade[row] = 0, 1

    def overflowed(self, from_ms: int, until_ms: int) -> list[Kline]:
        """Trades of any symbol were lost between the two times."""
        rows = range(len(self._symbols.names))
        self.counts.gaps += len(rows)
        klines = self._gap(rows, self._known_from(from_ms))
        self._end_gap(rows, until_ms)
        for row in rows:
            self._doubts.add(row, from_ms, until_ms)
        return klines

    def _begin_outage(self, symbol: str, row: int, from_ms: int) -> None:
        """Where no trade came since the last outage, the new one includes it: they have one near side."""
        before = self._awaiting.pop(symbol, None) or self._outages.get(row)
        if before is None:
            before = Outage(symbol, from_ms, self._last_ids.get(row, ""))
        self._doubts.remove(row, before.from_ms, before.until_ms)
        self._outages[row] = Outage(symbol, before.from_ms, before.last_id)

    def _end_outage(self, symbol: str, row: int, now_ms: int) -> list[Outage]:
        if self._event_clock:
            return []  # a replay has no memory to ask
        outage = self._outages.pop(row, None) or Outage(symbol, -FAR, "")
        outage.until_ms = now_ms
        self._doubts.add(row, outage.from_ms, now_ms)
        self._awaiting[symbol] = outage
        return [outage]

    def _notice_first(self, trades: Trades) -> None:
        """The first trade of a symbol that was matched after an outage is the far side of it."""
        for symbol, trade_id, ms in zip(trades.symbols, trades.ids, trades.event_ms, strict=True):
            outage = self._awaiting.get(symbol)
            if outage is not None and ms >= outage.until_ms:
                outage.first_id, outage.first_ms = trade_id, ms
                del self._awaiting[symbol]
                if self._on_outage is not None:
                    self._on_outage(outage)

    def splice(self, outage: Outage, past: Sequence[PastTradeLike], now_ms: int) -> list[Kline] | None:
        """Put the trades of an outage in, where the exchange's newest ones (no hole) reach over both its sides.

        Returns revisions of all that changes, complete where no other doubt is left; None where it is not proven.
        Nor is it where a trade is so old that it may have been counted and be forgotten.
        """
        (row,) = self._symbols.rows([outage.symbol]).tolist()
        missing = missing_trades(outage, past, self.base)
        if missing is None or (row in self._retired and not self._feeds.get(row)):
            return None
        missing = [trade for trade in missing if trade.trade_id != outage.last_id]
        if any(self._recent.has_forgotten(row, trade.event_ms) for trade in missing):
            return None
        from_ms = outage.from_ms
        if not outage.last_id:
            from_ms = int(self.base.start_of(np.array([outage.first_ms]))[0])
            self._seed_open(row, from_ms, [trade for trade in past if trade.event_ms < from_ms][-1])
        self._doubts.remove(row, outage.from_ms, outage.until_ms)
        if not outage.last_id:
            self._doubts.add(row, -FAR, from_ms)
        new = self._new_ones(row, missing, now_ms)
        self._unproven_until[row] = self._doubts.last_until(row) if self._feeds.get(row) else FAR
        klines, changed = self._count_past(row, new)
        self._doubt_forgotten(row, [trade.event_ms for trade in new])
        lasting = self._outages.get(row)  # a newer one, of which nobody knows yet when it ends
        if lasting:
            self._doubts.add(row, lasting.from_ms, FAR)
        for index, level in enumerate(self._levels):
            changed |= dict.fromkeys((index, row, slot) for slot in level.trust(row, from_ms, self._doubts))
        if lasting:
            self._doubts.remove(row, lasting.from_ms, FAR)
        return klines + self._reissued(changed)

    def _new_ones(self, row: int, past: list[PastTradeLike], now_ms: int) -> list[PastTradeLike]:
        rows, ms = np.full(len(past), row), np.array([trade.event_ms for trade in past], np.int64)
        verdicts = self._judge([trade.trade_id for trade in past], rows, ms, now_ms)
        if verdicts is None:
            return past
        self.counts.duplicates += int((verdicts == DOUBLE).sum())
        return [trade for trade, verdict in zip(past, verdicts.tolist(), strict=True) if verdict == NEW]

    def _count_past(self, row: int, past: list[PastTradeLike]) -> tuple[list[Kline], Changes]:
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

    def _doubt_forgotten(self, row: int, past_ms: list[int]) -> None:
        """Trades too old for the windows remembered were not counted, and moved the price that later ones open at."""
        lost_ms = self._levels[0].forgotten(row, past_ms)
        if lost_ms:
            self._doubts.add(row, min(lost_ms), max(lost_ms) + 1)
            self._unproven_until[row] = max(self._unproven_until[row], max(lost_ms) + 1)

    def _seed_open(self, row: int, start_ms: int, before: PastTradeLike) -> None:
        """The first window of all opens at the last price before it."""
        ((price,), (lots,)) = self._symbols.units(np.array([row]), np.array([before.price]), np.array([before.size]))
        if price > 0 and lots > 0:
            for level in self._levels:
                level.seed_open(row, start_ms, int(price))

    def _gap(self, rows: Iterable[int], from_ms: int) -> list[Kline]:
        """Nothing is proven from `from_ms` (trade time) on, nor about the open windows, until `_end_gap`."""
        klines = []
        for row in rows:
            self._unproven_until[row], self._proven_by_trade[row] = FAR, 0
            klines += self._revised(row, [(level, level.distrust(row, from_ms)) for level in self._levels])
        return klines

    def _known_from(self, wall_ms: int) -> int:
        """Where a gap begins in the trades' time: the wall's says nothing about a replay's."""
        return FAR if self._event_clock else wall_ms

    def _end_gap(self, rows: Iterable[int], now_ms: int) -> None:
        for row in rows:
            if self._feeds.get(row, 1):
                self._prove_from(row, now_ms)

    def _prove_from(self, row: int, now_ms: int) -> None:
        self._proven_by_trade[row] = self._event_clock
        if not self._event_clock:
            self._unproven_until[row] = now_ms

    # -- late trades ------------------------------------------------------------------------------------

    def _amend(self, late: Ints) -> Changes:
        """Correct the windows that late trades (bars) belong to; the closed ones that changed."""
        changed: Changes = {}
        for i in range(late.shape[1]):
            bar = late[:, [i]]
            slots, is_counted = self._amend_one(int(bar[b.ROW, 0]), bar)
            changed |= dict.fromkeys(slots)
            if is_counted:
                self.counts.late_amended += int(bar[b.COUNT, 0])
            else:
                self.counts.late_dropped += int(bar[b.COUNT, 0])
        return changed

    def _reissued(self, changed: Changes) -> list[Kline]:
        """One revision of each changed window, however much changed in it."""
        klines: list[Kline] = []
        for index, row, slot in sorted(changed, key=self._by_level_and_start):
            klines += self._revised(row, [(self._levels[index], [slot])])
        return klines

    def _by_level_and_start(self, key: tuple[int, int, int]) -> tuple[int, int, int]:
        index, row, slot = key
        return index, row, int(self._levels[index].closed[b.START, row, slot])

    def _amend_one(self, row: int, late: Ints) -> tuple[list[tuple[int, int, int]], bool]:
        """Count late trades (one bar) once at every interval.

        Returns the closed windows that changed as (level, row, slot), and whether any window took the trades in.
        A window still open takes them in and hands them on when it closes, so the intervals above must not.
        """
        changed: list[tuple[int, int, int]] = []
        passed_on, is_counted = [False] * len(self._levels), False
        for index, level in enumerate(self._levels):
            source = self._sources[index]
            if (source >= 0 and passed_on[source]) or level.amend_open(row, late):
                passed_on[index] = True
            elif level.knows_better(row, late):
                is_counted = True
            else:
                changed += [(index, row, slot) for slot in level.amend_closed(row, late)]
        return changed, is_counted or bool(changed) or any(passed_on)

    # -- the exchange's own candles --------------------------------------------------------------------

    def correct(self, kline: Kline, candle: CandleLike) -> list[Kline]:
        """Put the exchange's candle in the place of a kline that went out; returns revisions of all that changes.

        A window that was healed meanwhile stays as it is; one that is forgotten leaves as a record of its own.
        """
        row = int(self._symbols.rows([kline.symbol])[0])
        level, slot = self._window_of(row, kline)
        units = self._symbols.exact_units(row, (candle.open, candle.high, candle.low, candle.close), candle.volume)
        if level is None or slot is None or units is None:
            self.counts.revisions += 1
            return [_as_the_exchange_has_it(kline, candle)]
        if level.closed[FROM_EXCHANGE, row, slot] or (not kline.complete and level.is_complete(row, slot)):
            return []
        scales = int(self._symbols.price_scale[row]), int(self._symbols.size_scale[row])
        turnover = turnover_units(candle.turnover, *scales, inverse=self._inverse)
        return self._revised(row, [(level, level.replace(row, slot, *units, turnover))])

    def _window_of(self, row: int, kline: Kline) -> tuple[Level | None, int | None]:
        start = np.array([kline.timestamp])
        for level in self._levels:
            interval = level.interval
            if interval.start_of(start) == start and interval.end_of(start) == start + kline.interval:
                return level, level.slot_of(row, kline.timestamp)
        return None, None

    def _revised(self, row: int, changes: Iterable[tuple[Level, list[int]]]) -> list[Kline]:
        klines: list[Kline] = []
        for level, slots in changes:
            level.closed[REVISION, row, slots] += 1
            if slots and self._wanted[self._levels.index(level)]:
                klines += klines_of(level, level.closed[:, row, slots], self._symbols, inverse=self._inverse)
        self.counts.revisions += len(klines)
        return klines

    def _rescaled(self, row: int, price: int, size: int) -> bool:
        if not self._levels[0].has_traded(row):
            return True
        turnover = Fraction(size, price) if self._inverse else Fraction(price * size)
        if not all(level.can_rescale(row, price, size, turnover) for level in self._levels):
            return False
        for level in self._levels:
            level.rescale(row, price, size, turnover)
        return True

    def _grow(self, rows: int) -> None:
        added = np.zeros(rows - len(self._unproven_until), np.int64)
        self._unproven_until = np.concatenate((self._unproven_until, added))
        self._proven_by_trade = np.concatenate((self._proven_by_trade, added + 1))
        for level in self._levels:
            level.grow(rows)


def _as_the_exchange_has_it(kline: Kline, candle: CandleLike) -> Kline:
    """A revision; the count of trades stays that of the trades seen, for the exchange does not tell it."""
    names = ("open", "high", "low", "close", "volume", "turnover")
    values = {name: getattr(candle, name) for name in names}
    return replace(kline, **values, complete=True, source="exchange", revision=kline.revision + 1)


def _floats(values: Sequence[float]) -> npt.NDArray[np.float64]:
    return np.fromiter(values, np.float64, len(values))  # a fifth quicker than an array of the list


def _int64(values: Sequence[int], instead: int) -> Ints:
    """`values`, with `instead` for what no int64 holds."""
    try:
        return np.fromiter(values, np.int64, len(values))  # a third quicker than an array of the list
    except OverflowError:
        return np.array([value if -FAR < value < FAR else instead for value in values], np.int64)


def missing_trades(outage: Outage, past: Sequence[PastTradeLike], base: Interval) -> list[PastTradeLike] | None:
    """The trades between the two sides of an outage, oldest first; None where `past` does not reach over both.

    With those of the moment before it that may have been on their way; doubles are for the caller to know. At the
    start of the collector the near side is the begin of the window of the first trade.
    """
    position = {trade.trade_id: index for index, trade in enumerate(past)}
    first, last = position.get(outage.first_id, -1), position.get(outage.last_id, -1)
    if first < 0 or (outage.last_id and not 0 <= last < first):
        return None
    start_ms = outage.from_ms if outage.last_id else int(base.start_of(np.array([outage.first_ms]))[0])
    if past[0].event_ms >= start_ms:
        return None
    return [t for i, t in enumerate(past[:first]) if t.event_ms >= start_ms or (outage.last_id and i > last)]
