"""The state of each symbol's feed in one market: its connections, gaps, silences, and what these leave unproven.

Pure; the aggregator thread; rows of the table. Windows that went out as complete and were not are revised through the
roll-up. A row is *suspect* since windows of it closed without proof, *silent* since trades of it are missed.
"""

from collections.abc import Callable, Iterable

import numpy as np

from aggregation.klines import bars as b
from aggregation.klines.bars import FAR, Ints
from aggregation.klines.rollup import Changes, IntervalRollup, TableCounts
from aggregation.klines.sequences import ConsecutiveIds, Hole
from aggregation.recovery.coverage import CoverageGaps
from aggregation.recovery.gaps import GapTracker
from aggregation.recovery.liveness import Deliveries, TradeRhythm
from aggregation.trade_queue import FeedGap
from model.records import Delivery, Kline

PROOF_WAIT_MS = 1_000  # how long a window waits for the proof that all its trades have come: some round trips
FUTURE_WINDOWS_MOST = 10_000  # windows of the future, per symbol, that refused trades may belong to: the nearest ones


class FeedState:
    """The state of all feeds of one market; `grow` adds rows.

    `event_clock`: time is the trades' own. `needs_feed`: nothing is verified of a symbol that no `up` has named;
    without it trades verify themselves. `on_gap` is called with gaps whose two sides are known. `ids`: where they are
    consecutive, they prove what is there.
    """

    def __init__(
        self,
        rollup: IntervalRollup,
        counts: TableCounts,
        *,
        event_clock: bool,
        needs_feed: bool,
        on_gap: Callable[[FeedGap], object],
        ids: ConsecutiveIds | None = None,
    ) -> None:
        self._rollup, self._symbols, self._counts = rollup, rollup.symbols, counts
        self._event_clock, self._needs_feed = event_clock, needs_feed
        self.unverified_until: Ints = np.zeros(0, np.int64)  # per row: windows that begin before are not complete
        self._verified_by_trade: Ints = np.zeros(0, np.int64)  # per row: 1 where the next trade sets that time
        self._connections: dict[int, int] = {}  # by row
        self.last_up_ms: dict[int, int] = {}
        self.newest_up_ms = 0  # the latest of these
        self.coverage = CoverageGaps()
        self._ids, self._on_gap = ids, on_gap
        self.gaps = GapTracker(self.coverage, on_gap, ids.continues) if ids else GapTracker(self.coverage, on_gap)
        self._dropped: set[int] = set()
        self._future: dict[int, dict[int, int]] = {}  # by row: windows to come, and the last refused trade of each
        self.future_from_ms = FAR  # the earliest of those
        self.deliveries, self._rhythm = Deliveries(), TradeRhythm()
        self.suspect: dict[int, int] = {}
        self.silent: dict[int, int] = {}
        self.ended: list[FeedGap] = []  # silences that a trade has ended, and holes, until the aggregator clears it
        self.proven: list[tuple[str, int, int]] = []  # symbol, begin, end: of what ids have proven; as `ended`
        self.awaited: list[Delivery] = []  # connections whose windows wait for a proof

    def grow(self, rows: int) -> None:
        """Add rows for up to `rows` symbols."""
        unverified_until, verified_by_trade = self._initial
        added = np.zeros(rows - len(self.unverified_until), np.int64)
        self.unverified_until = np.concatenate((self.unverified_until, added + unverified_until))
        self._verified_by_trade = np.concatenate((self._verified_by_trade, added + verified_by_trade))

    @property
    def _initial(self) -> tuple[int, int]:
        """`unverified_until` and `_verified_by_trade` of a symbol without a feed."""
        return (FAR, 0) if self._needs_feed else (0, 1)

    # -- connections -----------------------------------------------------------------------------------

    def has_feed(self, symbol: str) -> bool:
        """Whether the symbol has or had a feed, and was not dropped since."""
        return any(row in self._connections for row in self._symbols.known([symbol]))

    def up(self, symbols: Iterable[str], now_ms: int, delivery: Delivery | None = None) -> list[FeedGap]:
        """Record one more connection of these symbols from `now_ms` on; returns the gaps that end with it.

        Where trades were missed, a new subscription ends nothing: a trade does, or the exchange's answer.
        """
        ended: list[FeedGap] = []
        for row in self._symbols.rows(list(symbols)).tolist():
            self._connections[row] = self._connections.get(row, 0) + 1
            self.last_up_ms[row] = now_ms
            self.newest_up_ms = max(self.newest_up_ms, now_ms)
            self.deliveries.add(row, delivery)
            if self._connections[row] == 1 and row not in self.silent:
                self._verify_from(row, now_ms)
                ended += self._end_gap(row, now_ms)
        return ended

    def down(self, symbols: Iterable[str], from_ms: int, delivery: Delivery | None = None) -> list[Kline]:
        """Record one connection fewer of these symbols, whose last proof of life was at `from_ms`.

        Returns the klines that went out as complete and were not, as revisions.
        """
        lost = []
        for row in self._symbols.rows(list(symbols)).tolist():
            self._connections[row] = max(self._connections.get(row, 0) - 1, 0)
            self.deliveries.remove(row, delivery)
            if self._connections[row] == 0 or self.last_up_ms[row] > from_ms:
                lost.append(row)
                self._begin_gap(row, min(from_ms, self.suspect.pop(row, from_ms)))
        self._counts.gaps += len(lost)
        klines = self.begin_unverified(lost, self.trade_time(from_ms))
        for row in lost:
            self._end_unverified([row], self.last_up_ms.get(row, from_ms))
            if self._connections[row] and row not in self.silent:
                self._end_gap(row, self.last_up_ms[row])
        self.forget_dropped()
        return klines

    def mark_lost(self, from_ms: int, until_ms: int) -> list[Kline]:
        """Record that trades of any symbol were lost between the two times; revisions of what was not complete."""
        rows = range(len(self._symbols.names))
        self._counts.gaps += len(rows)
        klines = self.begin_unverified(rows, self.trade_time(from_ms))
        self._end_unverified(rows, until_ms)
        for row in rows:
            is_followed = self._connections.get(row) and row not in self.silent and not self._event_clock
            if self._ids and is_followed and not self.gaps.open_gap(row):
                self._begin_gap(row, from_ms)  # the ids of the next trade prove what is missing
                self._end_gap(row, until_ms)
            else:
                self.coverage.add(row, from_ms, until_ms)
        return klines

    def mark_refused(self, since_ms: dict[int, int], until_ms: int) -> None:
        """End what `begin_unverified` began for rows of which trades were refused: the repair reads them."""
        for row, refused_ms in since_ms.items():
            from_ms, open_gap = min(refused_ms, until_ms), self.gaps.open_gap(row)
            if open_gap:
                open_gap.from_ms = min(open_gap.from_ms, from_ms)
            elif self._event_clock or not self._connections.get(row):
                self.coverage.add(row, from_ms, until_ms + 1)
            else:
                self._begin_gap(row, from_ms)
                self._end_gap(row, until_ms + 1)
        self._end_unverified(since_ms, until_ms + 1)

    def clock_changed(self, now_ms: int) -> list[Kline]:
        """Treat the clock as right from now on, and as wrong before: connections are up since now at the latest.

        Windows of the future were closed by a wrong time: they are not complete, and their symbols begin anew.
        """
        self.newest_up_ms = min(self.newest_up_ms, now_ms)
        for row, connections in self._connections.items():
            if connections and now_ms < self.unverified_until[row] < FAR:
                self.unverified_until[row] = now_ms
            self.last_up_ms[row] = min(self.last_up_ms.get(row, now_ms), now_ms)
            self.gaps.cap_end(self._symbols.names[row], row, now_ms)
        for since_ms in (self.suspect, self.silent):
            since_ms.update((row, min(ms, now_ms)) for row, ms in since_ms.items())
        klines = []
        for row in np.flatnonzero(self._rollup.open_starts() > now_ms).tolist():
            klines += self._rollup.mark_unverified(row, now_ms)
            self._rollup.forget(row)
        return klines

    def _begin_gap(self, row: int, from_ms: int) -> None:
        base = self._rollup.base_of(row)
        open_ms = int(base.open_bars[b.START, row]) if base.has_traded(row) else from_ms
        self.gaps.begin(self._symbols.names[row], row, from_ms, open_ms)

    def _end_gap(self, row: int, now_ms: int) -> list[FeedGap]:
        if self._event_clock:  # a replay's gaps cannot be read
            return []
        return [self.gaps.end(self._symbols.names[row], row, now_ms)]

    # -- unverified spans ------------------------------------------------------------------------------

    def begin_unverified(self, rows: Iterable[int], from_ms: int) -> list[Kline]:
        """Verify nothing from `from_ms` (trade time) on, nor the open windows; revisions of what had gone out."""
        klines = []
        for row in rows:
            self.unverified_until[row], self._verified_by_trade[row] = FAR, 0
            klines += self._rollup.mark_unverified(row, from_ms)
        return klines

    def _end_unverified(self, rows: Iterable[int], now_ms: int) -> None:
        for row in rows:
            if self._connections.get(row, not self._needs_feed):
                self._verify_from(row, now_ms)

    def _verify_from(self, row: int, now_ms: int) -> None:
        if row in self.suspect or row in self.silent:
            return
        self._verified_by_trade[row] = self._event_clock
        if not self._event_clock:
            self.unverified_until[row] = now_ms

    def verify_by_trades(self, bars: Ints) -> None:
        """End a gap at the time of the first trade after it, where time is the trades' own."""
        rows = b.ints(bars[b.ROW])
        waiting = self._verified_by_trade[rows] & (bars[b.COUNT] > 0)
        if waiting.any():
            rows, first_ms = rows[waiting == 1][::-1], bars[b.FIRST_MS, waiting == 1][::-1]
            self.unverified_until[rows] = first_ms
            self._verified_by_trade[rows] = 0

    def trade_time(self, wall_ms: int) -> int:
        """The begin of a gap in the trades' time: the wall's means nothing in a replay."""
        return FAR if self._event_clock else wall_ms

    def record_uncounted(self, row: int, lost_ms: list[int]) -> None:
        """Record the times of trades too old for any window kept: they moved the price that later windows open at."""
        self.coverage.add(row, min(lost_ms), max(lost_ms) + 1)
        self.unverified_until[row] = max(self.unverified_until[row], max(lost_ms) + 1)

    def verify_inserted(self, row: int, gap: FeedGap, from_ms: int) -> None:
        """Take a gap, whose trades are known now, out of what is unverified."""
        self.coverage.remove(row, gap.from_ms, gap.until_ms)
        if not gap.last_id:
            self.coverage.add(row, -FAR, from_ms)
        is_verified = self._connections.get(row) and row not in self.suspect and row not in self.silent
        self.unverified_until[row] = self.coverage.last_until(row) if is_verified else FAR

    def open_spans(self, row: int) -> list[int]:
        """Begins of the spans of a row whose end is not known yet: nothing is verified since then."""
        open_gap = self.gaps.open_gap(row)
        spans = [open_gap.from_ms] if open_gap else []
        return spans + [since[row] for since in (self.suspect, self.silent) if row in since]

    def record_future(self, row: int, ms: int) -> None:
        """Record a refused trade of the future: should its window come, that is not complete."""
        windows, start = self._future.setdefault(row, {}), self._rollup.base.window_start(ms)
        windows[start] = max(ms, windows.get(start, 0))
        self.future_from_ms = min(self.future_from_ms, start)
        if len(windows) > FUTURE_WINDOWS_MOST:
            del windows[max(windows)]

    def expire_future(self, until_ms: int) -> None:
        """Mark those windows of the future as unverified that are over by `until_ms`."""
        for row, windows in list(self._future.items()):
            for start in sorted(start for start in windows if start < until_ms):
                last_ms = windows.pop(start)
                self.unverified_until[row] = max(self.unverified_until[row], last_ms + 1)
                self.coverage.add(row, start, last_ms + 1)
            if not windows:
                del self._future[row]
        self.future_from_ms = min((min(windows) for windows in self._future.values()), default=FAR)

    # -- proof by ids ----------------------------------------------------------------------------------

    def open_holes(self, holes: list[Hole]) -> list[Kline]:
        """Take holes in the ids of trades: windows that they touch are not complete; revisions of what had gone out."""
        klines = []
        for hole in holes:
            row, until_ms = hole.row, hole.until_ms + 1
            if (base := self._rollup.base_of(row)).has_traded(row):
                hole.open_ms = int(base.open_bars[b.START, row])
            self._counts.gaps += 1
            klines += self._rollup.mark_unverified(row, hole.from_ms)
            if self._verified_by_trade[row]:
                self.unverified_until[row], self._verified_by_trade[row] = 0, 0
            self.unverified_until[row] = max(self.unverified_until[row], until_ms)
            self.coverage.add(row, hole.from_ms, until_ms)
            gap = FeedGap(self._symbols.names[row], hole.from_ms, hole.last_id, until_ms, hole.next_id, hole.until_ms)
            gap.ids, gap.reason = hole.ids, _reason_of(hole)
            self.ended.append(gap)
            if hole.ids is not None:
                self._on_gap(gap)
        holes.clear()
        return klines

    def verify_by_ids(self, holes: list[Hole]) -> Changes:
        """Take holes that are filled, and gaps in which ids show no trade missing; the closed windows that changed."""
        changed: Changes = {}
        spans = [(hole.row, hole.from_ms, hole.until_ms + 1, min(hole.from_ms, hole.open_ms)) for hole in holes]
        spans += [(row, gap.from_ms, gap.until_ms, min(gap.from_ms, gap.open_ms)) for row, gap in self.gaps.whole]
        for row, from_ms, until_ms, open_ms in spans:
            self.coverage.remove(row, from_ms, until_ms)
            is_verified = self._connections.get(row, not self._needs_feed)
            if is_verified and row not in self.suspect and row not in self.silent:
                self.unverified_until[row] = self.coverage.last_until(row)
            with self.coverage.without_end(row, self.open_spans(row)):
                changed |= self._rollup.mark_verified(row, open_ms, self.coverage)
            self.proven.append((self._symbols.names[row], from_ms, until_ms))
        holes.clear()
        self.gaps.whole.clear()
        return changed

    # -- proof by watermarks ---------------------------------------------------------------------------

    def closing_times(self, rows: Ints, starts: Ints, behind: dict[int, int], margin_ms: int, now_ms: int) -> Ints:
        """Times until which rows close, 0 for one that waits; a row that has waited too long closes, and is suspect."""
        base = self._rollup.base
        opened = self._rollup.open_starts()[rows]
        proven = np.array([behind.get(row, FAR) for row in rows.tolist()]) - margin_ms
        allowed = np.where(proven < starts, base.start_of(np.minimum(proven, starts)), starts)
        given_up = base.window_start(now_ms - PROOF_WAIT_MS)
        is_silent = np.isin(rows, list(self.silent))
        for i in np.flatnonzero((allowed < given_up) & (opened < given_up) & ~is_silent).tolist():
            row = int(rows[i])
            if row not in self.suspect:
                self.suspect[row] = max(int(proven[i]), int(opened[i]))
                self.unverified_until[row] = FAR
        allowed = np.where(is_silent, starts, np.maximum(allowed, given_up))
        self.awaited[:] = self.deliveries.of(set(rows[(allowed < starts) | (proven < starts)].tolist()))
        return np.where(allowed > opened, allowed, 0)

    def verify_late(self, behind: dict[int, int], margin_ms: int, start: int) -> list[Kline]:
        """Revisions of windows that went out without proof, as far as they are proven now."""
        klines: list[Kline] = []
        for row, since_ms in list(self.suspect.items()):
            proven_ms = behind.get(row, FAR) - margin_ms
            if row in self.silent or proven_ms <= since_ms:
                continue
            if proven_ms >= start:
                klines += self._clear(row, since_ms)
            else:
                self.suspect[row] = proven_ms
                with self.coverage.without_end(row, [proven_ms]):
                    changed = self._rollup.mark_verified(row, since_ms, self.coverage)
                klines += self._rollup.reissued(changed)
        return klines

    def _clear(self, row: int, since_ms: int) -> list[Kline]:
        """Mark a row as proven but for its gaps; revisions of what closed since `since_ms`."""
        del self.suspect[row]
        self.unverified_until[row] = self.coverage.last_until(row)
        return self._rollup.reissued(self._rollup.mark_verified(row, since_ms, self.coverage))

    # -- silence against the rhythm --------------------------------------------------------------------

    def silent_symbols(self, now_ms: int, newest: Ints) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """Symbols to look up at the exchange, with the time since when nothing came; once per CHECK_EVERY_MS.

        Returns also symbols newly silent for so long, without an answer, that trades count as missed. `newest`
        is the time of the newest trade of each row.
        """
        if self._event_clock:
            return [], []
        names = self._symbols.names
        up_ms = np.array([self.last_up_ms.get(row, 0) for row in range(len(names))], np.int64)
        asked, unanswered = self._rhythm.check(newest, up_ms, now_ms)
        asks = [row for row in asked.tolist() if self._is_followed(row)]
        missed = [row for row in unanswered.tolist() if self._is_followed(row) and row not in self.silent]
        return (
            [(names[row], int(max(newest[row], up_ms[row] if row in self.silent else 0))) for row in asks],
            [(names[row], int(newest[row])) for row in missed],
        )

    def mark_missed(self, symbol: str, since_ms: int) -> list[Kline]:
        """Record that trades since `since_ms` did not come: nothing is verified until the next one is here.

        Returns the klines that went out as complete and were not, as revisions.
        """
        klines: list[Kline] = []
        for row in self._symbols.known([symbol]):
            if row not in self.silent and self._is_followed(row):
                self.silent[row] = self.suspect[row] = min(since_ms, self.suspect.get(row, since_ms))
                self._counts.gaps += 1
                klines += self.begin_unverified([row], since_ms)
        return klines

    def confirm_quiet(self, symbol: str, until_ms: int) -> list[Kline]:
        """Record that no trade until `until_ms` is missing; revisions of what is proven by that."""
        klines: list[Kline] = []
        for row in self._symbols.known([symbol]):
            self._rhythm.confirm_quiet(row, until_ms)
            if row in self.silent and self._connections.get(row):
                since_ms = self.silent.pop(row)
                if self.gaps.open_gap(row):  # it was subscribed anew since, and that works
                    self.suspect.pop(row, None)
                    self._verify_from(row, self.last_up_ms[row])
                    self.ended += self._end_gap(row, self.last_up_ms[row])
                elif row in self.suspect:
                    klines += self._clear(row, since_ms)
        return klines

    def connections_of(self, symbol: str) -> list[Delivery]:
        """The connections that bring a symbol."""
        return self.deliveries.of(self._symbols.known([symbol]))

    def end_silences(self, rows: Ints, ms: Ints) -> None:
        """End the silence of rows of which a newer trade came; what lies before it is a gap."""
        for row in self.silent.keys() & set(rows.tolist()):
            newer = ms[(rows == row) & (ms > self.silent[row])]
            if len(newer):
                since_ms = self.silent.pop(row)
                self.suspect.pop(row, None)
                self._begin_gap(row, since_ms)
                if self._connections.get(row):
                    until_ms = max(int(newer.min()), self.last_up_ms[row])  # it may be of before, and come late
                    self.ended += self._end_gap(row, until_ms)
                    self._verify_from(row, until_ms)

    def _is_followed(self, row: int) -> bool:
        return bool(self._connections.get(row)) and self._rollup.base_of(row).has_traded(row)

    # -- symbols that are not wanted any more ----------------------------------------------------------

    def drop(self, symbols: Iterable[str], again: Iterable[str] = ()) -> None:
        """Forget symbols once no connection delivers them: nothing of them closes then. `again` are wanted anew.

        Should one be delivered again, it begins like a symbol never seen.
        """
        self._dropped |= self._symbols.known(list(symbols))
        self._dropped -= self._symbols.known(list(again))
        self.forget_dropped()

    def is_dropped(self, row: int) -> bool:
        """Whether a symbol is not wanted any more, and no connection delivers it."""
        return row in self._dropped and not self._connections.get(row)

    def forget_dropped(self) -> None:
        """Forget dropped symbols again: a late trade, or trades to insert, must not begin them anew."""
        for row in self._dropped:
            if self.is_dropped(row) and self._rollup.base_of(row).has_traded(row):
                self._forget(row)

    def _forget(self, row: int) -> None:
        self._rollup.forget(row)
        if self._ids:
            self._ids.forget(row)
        self.gaps.forget(self._symbols.names[row], row)
        self._connections.pop(row, None)
        self.last_up_ms.pop(row, None)
        self.coverage.clear(row)
        self._future.pop(row, None)
        self.suspect.pop(row, None)
        self.silent.pop(row, None)
        self.unverified_until[row], self._verified_by_trade[row] = self._initial


def _reason_of(hole: Hole) -> str:
    if hole.ids is None:
        return "the ids of trades began anew"
    count = hole.ids[1] - hole.ids[0] + 1
    return f"{count} trade id{'s' * (count > 1)} missing"
