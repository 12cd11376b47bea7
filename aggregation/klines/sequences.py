"""Proof by ids, where an exchange numbers the trades of each symbol one after the other: what is there and what is not.

Pure; the aggregator thread; rows of the table. Of each row one span of ids is covered, but for its holes: no set of ids
is kept. A trade may stand for several matches: its id is the last one's. A batch without a hole or a repeated id is
checked as a whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from aggregation.klines.bars import Ints
from aggregation.klines.dedupe import DUPLICATE, NEW, UNKNOWN
from model.ports import Report

LAST_ID = 2**62  # no exchange counts so far: an id beyond it is garbage
HOLE_MOST = 50_000  # ids that one hole may have: 50 requests of 1,000; what is larger is left to the exchange's candles
HOLES_MOST = 100  # of one symbol; beyond it the oldest is left to the candles
WAITING_MOST = 1_000  # ids that do not count, after a hole, of one symbol; beyond it the oldest count as missing
NONE = -1

Span = tuple[int, int]
"""First and last id, both included."""


@dataclass(eq=False)
class Hole:
    """Ids of one row that did not come, and the match times between which their trades lie, both included.

    A hole without `ids` is the jump to a new sequence: nothing can be said about what lies between.
    """

    row: int
    ids: Span | None
    from_ms: int
    until_ms: int
    last_id: int = NONE  # of the trade before it
    next_id: int = NONE  # of the trade after it
    missing: list[Span] = field(default_factory=list)
    is_reported: bool = False
    open_ms: int = LAST_ID  # windows since then had not closed yet when it was found


@dataclass
class _Row:
    """What is covered of one symbol in the slow path: `first` to `last`, but for the holes."""

    holes: list[Hole] = field(default_factory=list)
    before: list[Span] = field(default_factory=list)  # ids not there before the first that came: no holes of the feed
    waiting: list[int] = field(default_factory=list)  # ids that do not count: the next trade shows the hole before them
    candidate: tuple[int, int, int] | None = None  # first and last id, and time, of a trade of another sequence


class ConsecutiveIds:
    """The ids of one market. `opened` and `filled` are the holes of the last batch, which its caller takes.

    An id that goes back or far ahead is refused at first: where the next trade continues it, the symbol's sequence has
    begun anew, else it was garbage, and its own id is a hole. `name_of(row)` is for reports.
    """

    def __init__(self, report: Report = lambda _cause, _sample: None, name_of: Callable[[int], str] = str) -> None:
        self._report, self._name_of = report, name_of
        self._first: Ints = np.zeros(0, np.int64)
        self._last: Ints = np.zeros(0, np.int64)
        self._newest_ms: Ints = np.zeros(0, np.int64)
        self._rows: dict[int, _Row] = {}
        self._is_past = False
        self.opened: list[Hole] = []
        self.filled: list[Hole] = []

    # -- trades ----------------------------------------------------------------------------------------

    def classify(
        self,
        rows: Ints,
        ids: Ints,
        matches: Ints | None,
        ms: Ints,
        uncounted_rows: Ints,
        uncounted_ids: Ints,
        *,
        is_past: bool = False,
    ) -> Ints | None:
        """Add trades, and ids that do not count; NEW, DUPLICATE or UNKNOWN (refused) for each trade, None: all new.

        `is_past`: they are some of those before the feed began, and lack others.
        """
        self._is_past = is_past
        self._grow(int(rows.max(initial=-1)) + 1)
        all_rows, all_last = rows, ids
        all_first = ids if matches is None else ids - np.maximum(matches, 1) + 1
        firsts = all_first
        if len(uncounted_ids):
            self._grow(int(uncounted_rows.max()) + 1)
            all_rows, all_last = np.append(rows, uncounted_rows), np.append(ids, uncounted_ids)
            all_first = np.append(all_first, uncounted_ids)
            order = np.lexsort((all_last, all_rows))
        else:
            order = np.argsort(all_rows, kind="stable")
        odd = self._advance(all_rows[order], all_first[order], all_last[order])
        if not len(odd):
            np.maximum.at(self._newest_ms, rows, ms)
            return None
        return self._classify_odd(set(odd.tolist()), (rows, firsts, ids, ms), (uncounted_rows, uncounted_ids))

    def _advance(self, rows: Ints, first: Ints, last: Ints) -> Ints:
        """Move each row to its last id where all continue it; returns the rows where they do not."""
        begins = np.append(True, rows[1:] != rows[:-1])[: len(rows)]
        before = np.empty(len(rows), np.int64)
        before[1:] = last[:-1]
        before[begins] = self._last[rows[begins]]
        is_first = begins & (before == NONE) & (first >= 0) & (last < LAST_ID)
        wrong = (first != before + 1) & ~is_first
        wrong |= begins & (before == NONE) & ~is_first
        odd = np.unique(rows[wrong])
        is_good = ~np.isin(rows, odd) if len(odd) else np.ones(len(rows), np.bool_)
        starts = is_first & is_good
        self._first[rows[starts]] = first[starts]
        ends = np.append(begins[1:], True)[: len(rows)] & is_good
        self._last[rows[ends]] = last[ends]
        if self._rows:
            for row in np.unique(rows[ends]).tolist():
                if (state := self._rows.get(row)) is not None:
                    state.candidate = None
        return odd

    def _classify_odd(self, odd: set[int], trades: tuple[Ints, ...], uncounted: tuple[Ints, Ints]) -> Ints | None:
        """`classify` of rows in which an id is missing or comes again, trade by trade."""
        rows, firsts, lasts, ms = trades
        is_odd = np.isin(rows, list(odd))
        np.maximum.at(self._newest_ms, rows[~is_odd], ms[~is_odd])
        verdicts = np.zeros(len(rows), np.int64)
        for i in np.flatnonzero(is_odd).tolist():
            verdicts[i] = self._take(int(rows[i]), (int(firsts[i]), int(lasts[i])), int(ms[i]))
        others = sorted(
            (row, one) for row, one in zip(*(each.tolist() for each in uncounted), strict=True) if row in odd
        )
        for row, one in others:
            self._take(row, (one, one), None)
        opened = [hole for hole in self.opened if hole.missing or hole.ids is None]
        self.filled[:] = [hole for hole in self.filled if hole.is_reported]  # trades of one batch may change places
        for hole in opened:
            hole.is_reported = True
        self.opened[:] = opened
        return verdicts if verdicts.any() else None

    def _take(self, row: int, span: Span, ms: int | None) -> int:
        """Take one trade; `ms` None: it does not count, and its time is not known.

        So the times between which the trades of a hole lie are not known before the next one that counts.
        """
        first, last = span
        before, newest_ms = int(self._last[row]), int(self._newest_ms[row])
        at_ms = newest_ms if ms is None else ms
        if not 0 <= first <= last < LAST_ID:
            return self._refuse(row, span, None)
        state = self._rows.setdefault(row, _Row())
        if before == NONE:
            self._first[row], self._last[row] = span
        elif first == before + 1:
            self._last[row] = last
        elif first > before:
            if first - before - 1 > HOLE_MOST:
                return self._take_elsewhere(row, state, span, ms)
            if ms is None:
                state.waiting = [*state.waiting, first][-WAITING_MOST:]
                return NEW
            self._open(state, Hole(row, (before + 1, first - 1), newest_ms, max(newest_ms, at_ms), before, last))
            self._last[row] = last
        elif ms is not None and ms > newest_ms:  # a repeated or late trade is no newer than the last one
            return self._take_elsewhere(row, state, span, ms)
        else:
            return self._fill(row, state, span, at_ms)
        state.candidate = None
        self._newest_ms[row] = max(newest_ms, at_ms)
        if state.waiting:
            self._take_waiting(row, state)
        return NEW

    def _take_waiting(self, row: int, state: _Row) -> None:
        """Take the ids that do not count and that the last trade has left behind it."""
        last = int(self._last[row])
        reached = [one for one in state.waiting if one <= last]
        state.waiting = [one for one in state.waiting if one > last]
        for one in reached:
            self._fill(row, state, (one, one), int(self._newest_ms[row]))

    def _open(self, state: _Row, hole: Hole) -> None:
        if hole.ids is not None:
            hole.missing = [hole.ids]
            state.holes.append(hole)
        self.opened.append(hole)
        del state.holes[:-HOLES_MOST]

    def _fill(self, row: int, state: _Row, span: Span, ms: int) -> int:
        """Take a trade that is not after the last: one of a hole is new, what is there already a duplicate."""
        first, last = span
        begin = int(self._first[row])
        if last < begin:
            if begin - first > HOLE_MOST:
                return self._refuse(row, span, None)
            if last + 1 < begin and self._is_past:
                state.before = [*state.before, (last + 1, begin - 1)][-HOLES_MOST:]
            elif last + 1 < begin:
                self._open(state, Hole(row, (last + 1, begin - 1), ms, int(self._newest_ms[row]), last, begin))
            self._first[row] = first
            return NEW
        for hole in state.holes:
            if _cut(hole.missing, span):
                if not hole.missing:
                    state.holes.remove(hole)
                    self.filled.append(hole)
                return NEW
        return NEW if _cut(state.before, span) else DUPLICATE

    def _take_elsewhere(self, row: int, state: _Row, span: Span, ms: int | None) -> int:
        """Take a trade that cannot belong to the sequence: the second that continues another begins that one."""
        if ms is None:
            return UNKNOWN
        found = state.candidate
        if found is None or span[0] != found[1] + 1 or ms < found[2]:
            state.candidate = (*span, ms)
            return self._refuse(row, span, int(self._last[row]))
        numbers = f"symbol={self._name_of(row)} last_id={self._last[row]} first_id={found[0]}"
        self._report("trade_ids_began_anew", f"{numbers}: its trades are numbered anew, as after a relisting".encode())
        newest_ms = int(self._newest_ms[row])
        state.holes, state.before, state.waiting, state.candidate = [], [], [], None
        self._open(state, Hole(row, None, min(newest_ms, found[2]), max(newest_ms, found[2])))
        self._first[row], self._last[row] = found[0], span[1]
        self._open(state, Hole(row, found[:2], found[2], ms, found[0] - 1, span[1]))  # it was refused
        self._newest_ms[row] = max(newest_ms, ms)
        return NEW

    def _refuse(self, row: int, span: Span, last: int | None) -> int:
        cause = "trade_id_garbage" if last is None else "trade_id_backwards" if span[0] <= last else "trade_id_jump"
        numbers = f"symbol={self._name_of(row)} id={span[1]} last_id={self._last[row]}"
        sample = f"{numbers}: left out until the next trade shows whether ids begin anew; its candle is repaired"
        self._report(cause, sample.encode())
        return UNKNOWN

    # -- what is known of a row ------------------------------------------------------------------------

    def newest_ms(self, rows: int) -> Ints:
        """Time of the newest trade of each of the first rows, 0 where none came."""
        self._grow(rows)
        return np.maximum(self._newest_ms[:rows], 0)

    def last_id(self, row: int) -> int:
        """The last id of a row, NONE where none came."""
        return int(self._last[row]) if row < len(self._last) else NONE

    def continues(self, row: int, last_id: object) -> bool:
        """Whether all after this id, which came, is there or in a hole that is known."""
        return isinstance(last_id, int) and int(self._first[row]) <= last_id <= int(self._last[row])

    def hole(self, row: int, ids: Span) -> Hole | None:
        """The open hole that had these ids when it was found."""
        state = self._rows.get(row)
        return next((hole for hole in state.holes if hole.ids == ids), None) if state else None

    def splits(self, row: int, spans: Sequence[Span]) -> bool:
        """Whether one of these trades is there in part: the rest of it cannot be counted."""
        state = self._rows.get(row, _Row())
        begin, end = int(self._first[row]), int(self._last[row])
        missing = [*state.before, *(one for hole in state.holes for one in hole.missing)]
        for first, last in spans:
            absent = max(0, last - max(end, first - 1)) + max(0, min(begin, last + 1) - first)
            absent += sum(max(0, min(last, b) - max(first, a) + 1) for a, b in missing)
            if 0 < absent < last - first + 1:
                return True
        return False

    def settle(self, hole: Hole) -> None:
        """Take the ids of a hole as there: its trades are being counted, or are known not to be missing."""
        hole.missing.clear()
        if hole in (holes := self._rows[hole.row].holes):
            holes.remove(hole)

    def forget(self, row: int) -> None:
        """Begin a row anew."""
        self._rows.pop(row, None)
        if row < len(self._last):
            self._first[row] = self._last[row] = NONE
            self._newest_ms[row] = NONE

    def _grow(self, rows: int) -> None:
        if (more := rows - len(self._last)) > 0:
            self._first, self._last, self._newest_ms = (
                np.append(each, np.full(more, NONE)) for each in (self._first, self._last, self._newest_ms)
            )


def _cut(missing: list[Span], span: Span) -> bool:
    """Take a span out of what is missing; False where it does not lie within one of these."""
    for i, (first, last) in enumerate(missing):
        if first <= span[0] and span[1] <= last:
            missing[i : i + 1] = [rest for rest in ((first, span[0] - 1), (span[1] + 1, last)) if rest[0] <= rest[1]]
            return True
    return False


def covers(ids: Span, spans: Sequence[Span]) -> bool:
    """Whether these trades lie within `ids` and are all of them, each once."""
    following = ids[0]
    for first, last in sorted(spans):
        if first != following:
            return False
        following = last + 1
    return following == ids[1] + 1
