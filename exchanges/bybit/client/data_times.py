"""Starts of candles and spans of time: open candles, coverage, gaps. Pure; ms since the epoch, UTC."""

from collections.abc import Sequence
from typing import TypeAlias

from exchanges.bybit.client.market import INTERVAL_MS
from exchanges.bybit.intervals import INTERVALS
from model.intervals import parse_interval, step_name

Span: TypeAlias = tuple[int, int]
"""[from, until)"""

SETTLE_MS = 5_000  # a candle that closed just now may still get its last trades
_OF_BYBITS_NAME = {name: parse_interval(step_name(step_ms)) for step_ms, name in INTERVALS.items()}


def begins_ms(time_ms: int, interval: str) -> int:
    """Where the candle that `time_ms` lies in begins; weeks begin on Monday, months are the calendar's."""
    return _OF_BYBITS_NAME[interval].window_start(time_ms)


def settled_until(now_ms: int, interval: str) -> int:
    """Candles that begin before this are closed for good: not the one that `now_ms` lies in, nor one just closed."""
    return begins_ms(now_ms - SETTLE_MS, interval)


def count_starts(span: Span, interval: str) -> int:
    """How many candles begin in `span`; 0 for months, which are not counted."""
    if interval == "M":
        return 0
    length_ms = INTERVAL_MS[interval]
    return max(0, (begins_ms(span[1] - 1, interval) - begins_ms(span[0] - 1, interval)) // length_ms)


# coverage


def merged(spans: Sequence[Span]) -> list[Span]:
    """The same times, sorted, without overlaps and without borders in between."""
    whole: list[Span] = []
    for begin, end in sorted(span for span in spans if span[0] < span[1]):
        if whole and begin <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(whole[-1][1], end))
        else:
            whole.append((begin, end))
    return whole


def missing(wanted: Span, have: Sequence[Span]) -> list[Span]:
    """What of `wanted` no span of `have` (as `merged` makes them) covers."""
    left: list[Span] = []
    begin, end = wanted
    for first, last in have:
        if last <= begin or first >= end:
            continue
        if first > begin:
            left.append((begin, first))
        begin = last
    return [*left, (begin, end)] if begin < end else left


def clipped(span: Span, bounds: Span) -> Span:
    """What of `span` lies in `bounds`; may be empty, then its end is not after its begin."""
    return max(span[0], bounds[0]), min(span[1], bounds[1])
