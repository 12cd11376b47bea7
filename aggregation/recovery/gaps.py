"""Gaps of the feed, symbol by symbol: the trades on both sides of each, and the spans in which some may be missing.

Pure; the aggregator thread. Klines are not known here: what an outage does to them is the table's business.
"""

from collections.abc import Callable, Sequence

import numpy as np

from aggregation.klines.bars import FAR, Ints
from aggregation.recovery.coverage import CoverageGaps
from aggregation.trade_queue import FeedGap
from model.intervals import Interval
from model.records import PastTrade


class GapTracker:
    """Which rows are without a feed, or wait for the first trade after it. `tell(outage)`: both its sides are known."""

    def __init__(self, doubts: CoverageGaps, tell: Callable[[FeedGap], object]) -> None:
        self._coverage, self._tell = doubts, tell
        self._open: dict[int, FeedGap] = {}
        self._awaiting_first: dict[str, FeedGap] = {}
        self._last_ids: dict[int, str] = {}

    def open_gap(self, row: int) -> FeedGap | None:
        """The outage of `row` that nobody knows the end of yet."""
        return self._open.get(row)

    def forget(self, symbol: str, row: int) -> None:
        """Be as if the symbol had never been seen."""
        self._open.pop(row, None)
        self._awaiting_first.pop(symbol, None)
        self._last_ids.pop(row, None)

    def begin(self, symbol: str, row: int, from_ms: int, open_ms: int) -> None:
        """Where no trade came since the last outage, the new one includes it: they have one near side.

        Windows since `open_ms` have not closed yet.
        """
        before = self._awaiting_first.pop(symbol, None) or self._open.get(row)
        if before is None:
            before = FeedGap(symbol, from_ms, self._last_ids.get(row, ""), open_ms=open_ms)
        self._coverage.remove(row, before.from_ms, before.until_ms)
        self._open[row] = FeedGap(symbol, before.from_ms, before.last_id, open_ms=before.open_ms)

    def end(self, symbol: str, row: int, now_ms: int) -> FeedGap:
        """The symbol is delivered again, or for the first time; its next trade is the far side."""
        outage = self._open.pop(row, None) or FeedGap(symbol, -FAR, "")
        outage.until_ms = now_ms
        self._coverage.add(row, outage.from_ms, now_ms)
        self._awaiting_first[symbol] = outage
        return outage

    def cap_end(self, symbol: str, row: int, now_ms: int) -> None:
        """The outage that is over ended at `now_ms` at the latest, whatever the clock said then."""
        outage = self._awaiting_first.get(symbol)
        if outage is not None and outage.until_ms > now_ms:
            self._coverage.remove(row, outage.from_ms, outage.until_ms)
            outage.until_ms = now_ms
            self._coverage.add(row, outage.from_ms, now_ms)

    def observe(self, symbols: Sequence[str], rows: Ints, ids: Sequence[str], times_ms: Sequence[int]) -> None:
        """Learn trades, in stream order: the first that was matched after an outage is the far side of it."""
        if self._awaiting_first:
            for symbol, trade_id, ms in zip(symbols, ids, times_ms, strict=True):
                outage = self._awaiting_first.get(symbol)
                if outage is not None and ms >= outage.until_ms:
                    outage.first_id, outage.first_ms = trade_id, ms
                    del self._awaiting_first[symbol]
                    self._tell(outage)
        self._note_last(rows, ids)

    def _note_last(self, rows: Ints, ids: Sequence[str]) -> None:
        last = np.full(int(rows.max(initial=-1)) + 1, -1)
        last[rows] = np.arange(len(rows))  # of a row that comes again, the last one stays
        traded = np.flatnonzero(last >= 0)
        self._last_ids.update(zip(traded.tolist(), [ids[position] for position in last[traded].tolist()], strict=True))


def gap_start_ms(outage: FeedGap, base: Interval) -> int:
    """Begin of what an outage lost; at the start of the collector that of the first trade's window."""
    return outage.from_ms if outage.last_id else int(base.start_of(np.array([outage.first_ms]))[0])


def missing_trades(outage: FeedGap, past: Sequence[PastTrade], base: Interval) -> list[PastTrade] | None:
    """The trades between the two sides of an outage, oldest first; None where `past` does not reach over both, or
    one between them (without a size) could not be read.

    With those of the moment before it that may have been on their way; doubles are for the caller to know. At the
    start of the collector the near side is the begin of the window of the first trade.
    """
    position = {trade.trade_id: index for index, trade in enumerate(past)}
    first, last = position.get(outage.first_id, -1), position.get(outage.last_id, -1)
    if first < 0 or (outage.last_id and not 0 <= last < first):
        return None
    start_ms = gap_start_ms(outage, base)
    if past[0].event_ms >= start_ms:
        return None
    missing = [t for i, t in enumerate(past[:first]) if t.event_ms >= start_ms or (outage.last_id and i > last)]
    before = [] if outage.last_id else [t for t in past if t.event_ms < start_ms][-1:]  # where the first window opens
    return None if any(t.size <= 0 for t in (*before, *missing)) else missing
