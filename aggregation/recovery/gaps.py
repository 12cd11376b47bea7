"""Gaps of the feed, symbol by symbol: the trades on both sides of each, and the spans in which some may be missing.

Pure; the aggregator thread. Holds no klines: klines/feed_state.py marks them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from aggregation.klines.bars import FAR, Ints
from aggregation.recovery.coverage import CoverageGaps
from aggregation.trade_queue import FeedGap
from model.intervals import Interval
from model.records import PastTrade, TradeId


class GapTracker:
    """The rows without a feed, and those that wait for the first trade after it.

    `on_gap` is called with each gap whose two sides are known, but for those that lack no trade by
    `is_whole(row, last id)`: these are in `whole`, with their rows, until the caller takes them.
    """

    def __init__(
        self,
        coverage: CoverageGaps,
        on_gap: Callable[[FeedGap], object],
        is_whole: Callable[[int, TradeId], bool] = lambda _row, _id: False,
    ) -> None:
        self._coverage, self._on_gap, self._is_whole = coverage, on_gap, is_whole
        self.whole: list[tuple[int, FeedGap]] = []
        self._open: dict[int, FeedGap] = {}
        self._awaiting_first: dict[str, FeedGap] = {}
        self._last_ids: dict[int, TradeId] = {}

    def open_gap(self, row: int) -> FeedGap | None:
        """The gap of `row` that has no end yet."""
        return self._open.get(row)

    def forget(self, symbol: str, row: int) -> None:
        """Reset a symbol to the state of one never seen."""
        self._open.pop(row, None)
        self._awaiting_first.pop(symbol, None)
        self._last_ids.pop(row, None)

    def begin(self, symbol: str, row: int, from_ms: int, open_ms: int) -> None:
        """Begin a gap; where no trade came since the last one, the new one includes it: both have one near side.

        Windows since `open_ms` have not closed yet.
        """
        before = self._awaiting_first.pop(symbol, None) or self._open.get(row)
        if before is None:
            before = FeedGap(symbol, from_ms, self._last_ids.get(row, ""), open_ms=open_ms)
        self._coverage.remove(row, before.from_ms, before.until_ms)
        self._open[row] = FeedGap(
            symbol, before.from_ms, before.last_id, open_ms=before.open_ms, early_ms=before.early_ms
        )

    def end(self, symbol: str, row: int, now_ms: int) -> FeedGap:
        """End a gap: the symbol is delivered again, or for the first time; its next trade is the far side."""
        gap = self._open.pop(row, None) or FeedGap(symbol, -FAR, "")
        gap.until_ms = now_ms
        self._coverage.add(row, gap.from_ms, now_ms)
        self._awaiting_first[symbol] = gap
        return gap

    def cap_end(self, symbol: str, row: int, now_ms: int) -> None:
        """Set the end of a gap that is over to `now_ms` at the latest: the clock may have been wrong."""
        gap = self._awaiting_first.get(symbol)
        if gap is not None and gap.until_ms > now_ms:
            self._coverage.remove(row, gap.from_ms, gap.until_ms)
            gap.until_ms = now_ms
            self._coverage.add(row, gap.from_ms, now_ms)

    def observe(self, symbols: Sequence[str], rows: Ints, ids: Sequence[TradeId], times_ms: Sequence[int]) -> None:
        """Take trades, in stream order: the first that was matched after a gap is the far side of it."""
        if self._awaiting_first:
            for symbol, row, trade_id, ms in zip(symbols, rows.tolist(), ids, times_ms, strict=True):
                gap = self._awaiting_first.get(symbol)
                if gap is None:
                    continue
                if ms < gap.until_ms:
                    gap.early_ms = min(gap.early_ms, ms)
                else:
                    gap.first_id, gap.first_ms = trade_id, ms
                    del self._awaiting_first[symbol]
                    if self._is_whole(row, gap.last_id):
                        self.whole.append((row, gap))
                    else:
                        self._on_gap(gap)
        self._record_last(rows, ids)

    def _record_last(self, rows: Ints, ids: Sequence[TradeId]) -> None:
        last = np.full(int(rows.max(initial=-1)) + 1, -1)
        last[rows] = np.arange(len(rows))  # of a row that comes again, the last one stays
        traded = np.flatnonzero(last >= 0)
        self._last_ids.update(zip(traded.tolist(), [ids[position] for position in last[traded].tolist()], strict=True))


def gap_start_ms(gap: FeedGap, base: Interval) -> int:
    """The begin of a gap's lost trades; at the start of the collector that of the first trade's window."""
    return gap.from_ms if gap.last_id else base.window_start(min(gap.first_ms, gap.early_ms))


def span_of(trade: PastTrade) -> tuple[int, int]:
    """The first and the last id of a trade of an exchange with consecutive ids; (0, -1) where it has none."""
    return (trade.trade_id - trade.matches + 1, trade.trade_id) if isinstance(trade.trade_id, int) else (0, -1)


def trades_before(past: Sequence[PastTrade], ms: int) -> list[PastTrade]:
    """The trades that count and were matched before `ms`."""
    return [trade for trade in past if trade.event_ms < ms and trade.is_counted]


def placed(new: Sequence[PastTrade], past: Sequence[PastTrade]) -> list[PastTrade]:
    """Return the trades to be inserted, each before the counted ones that the exchange lists after it.

    Two messages may share time and sequence number (BYBIT_V5.md, trap T12). What is counted last of such is taken for
    the last: a trade of the first message, inserted later, would be the close. Its number is made one less.
    """
    ids = {trade.trade_id for trade in new}
    last = {(t.event_ms, t.seq): index for index, t in enumerate(past) if t.trade_id not in ids}
    position = {trade.trade_id: index for index, trade in enumerate(past)}
    return [
        replace(t, seq=t.seq - 1) if position.get(t.trade_id, 0) < last.get((t.event_ms, t.seq), -1) else t for t in new
    ]


def missing_trades(gap: FeedGap, past: Sequence[PastTrade], base: Interval) -> list[PastTrade] | None:
    """The trades between the two sides of a gap, oldest first; None where `past` does not reach over both, or
    one between them (without a size) could not be read.

    The trades of the moment before, which may have been on their way, are included; the caller drops duplicates. At the
    start of the collector the near side is the begin of the window of the first trade.
    """
    position = {trade.trade_id: index for index, trade in enumerate(past)}
    first, last = position.get(gap.first_id, -1), position.get(gap.last_id, -1)
    if first < 0 or (gap.last_id and not 0 <= last < first):
        return None
    start_ms = gap_start_ms(gap, base)
    if past[0].event_ms >= start_ms:
        return None
    between = [t for i, t in enumerate(past[:first]) if t.event_ms >= start_ms or (gap.last_id and i > last)]
    missing = [t for t in between if t.is_counted]
    before = [] if gap.last_id else trades_before(past, start_ms)[-1:]  # where the first window opens
    if not gap.last_id and not before:
        return None
    return None if any(t.size <= 0 for t in (*before, *missing)) else missing
