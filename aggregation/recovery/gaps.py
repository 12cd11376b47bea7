"""Outages of the feed, symbol by symbol: the trades on both sides of each, and the spans in which some may be missing.

Pure; the aggregator thread. Klines are not known here: what an outage does to them is the table's business.
"""

from collections.abc import Callable, Sequence

import numpy as np

from aggregation.klines.bars import FAR, Ints
from aggregation.recovery.coverage import Doubts
from aggregation.trade_queue import Outage
from model.intervals import Interval
from model.records import PastTrade


class Outages:
    """Which rows are without a feed, or wait for the first trade after it. `tell(outage)`: both its sides are known."""

    def __init__(self, doubts: Doubts, tell: Callable[[Outage], object]) -> None:
        self._doubts, self._tell = doubts, tell
        self._lasting: dict[int, Outage] = {}
        self._awaiting: dict[str, Outage] = {}
        self._last_ids: dict[int, str] = {}

    def lasting(self, row: int) -> Outage | None:
        """The outage of `row` that nobody knows the end of yet."""
        return self._lasting.get(row)

    def forget(self, symbol: str, row: int) -> None:
        """Be as if the symbol had never been seen."""
        self._lasting.pop(row, None)
        self._awaiting.pop(symbol, None)
        self._last_ids.pop(row, None)

    def begin(self, symbol: str, row: int, from_ms: int, open_ms: int) -> None:
        """Where no trade came since the last outage, the new one includes it: they have one near side.

        Windows since `open_ms` have not closed yet.
        """
        before = self._awaiting.pop(symbol, None) or self._lasting.get(row)
        if before is None:
            before = Outage(symbol, from_ms, self._last_ids.get(row, ""), open_ms=open_ms)
        self._doubts.remove(row, before.from_ms, before.until_ms)
        self._lasting[row] = Outage(symbol, before.from_ms, before.last_id, open_ms=before.open_ms)

    def end(self, symbol: str, row: int, now_ms: int) -> Outage:
        """The symbol is delivered again, or for the first time; its next trade is the far side."""
        outage = self._lasting.pop(row, None) or Outage(symbol, -FAR, "")
        outage.until_ms = now_ms
        self._doubts.add(row, outage.from_ms, now_ms)
        self._awaiting[symbol] = outage
        return outage

    def end_by(self, symbol: str, row: int, now_ms: int) -> None:
        """The outage that is over ended at `now_ms` at the latest, whatever the clock said then."""
        outage = self._awaiting.get(symbol)
        if outage is not None and outage.until_ms > now_ms:
            self._doubts.remove(row, outage.from_ms, outage.until_ms)
            outage.until_ms = now_ms
            self._doubts.add(row, outage.from_ms, now_ms)

    def notice(self, symbols: Sequence[str], rows: Ints, ids: Sequence[str], times_ms: Sequence[int]) -> None:
        """Learn trades, in stream order: the first that was matched after an outage is the far side of it."""
        if self._awaiting:
            for symbol, trade_id, ms in zip(symbols, ids, times_ms, strict=True):
                outage = self._awaiting.get(symbol)
                if outage is not None and ms >= outage.until_ms:
                    outage.first_id, outage.first_ms = trade_id, ms
                    del self._awaiting[symbol]
                    self._tell(outage)
        self._note_last(rows, ids)

    def _note_last(self, rows: Ints, ids: Sequence[str]) -> None:
        last = np.full(int(rows.max(initial=-1)) + 1, -1)
        last[rows] = np.arange(len(rows))  # of a row that comes again, the last one stays
        traded = np.flatnonzero(last >= 0)
        self._last_ids.update(zip(traded.tolist(), [ids[position] for position in last[traded].tolist()], strict=True))


def near_side_ms(outage: Outage, base: Interval) -> int:
    """Begin of what an outage lost; at the start of the collector that of the first trade's window."""
    return outage.from_ms if outage.last_id else int(base.start_of(np.array([outage.first_ms]))[0])


def missing_trades(outage: Outage, past: Sequence[PastTrade], base: Interval) -> list[PastTrade] | None:
    """The trades between the two sides of an outage, oldest first; None where `past` does not reach over both, or
    one between them (without a size) could not be read.

    With those of the moment before it that may have been on their way; doubles are for the caller to know. At the
    start of the collector the near side is the begin of the window of the first trade.
    """
    position = {trade.trade_id: index for index, trade in enumerate(past)}
    first, last = position.get(outage.first_id, -1), position.get(outage.last_id, -1)
    if first < 0 or (outage.last_id and not 0 <= last < first):
        return None
    start_ms = near_side_ms(outage, base)
    if past[0].event_ms >= start_ms:
        return None
    missing = [t for i, t in enumerate(past[:first]) if t.event_ms >= start_ms or (outage.last_id and i > last)]
    before = [] if outage.last_id else [t for t in past if t.event_ms < start_ms][-1:]  # where the first window opens
    return None if any(t.size <= 0 for t in (*before, *missing)) else missing
