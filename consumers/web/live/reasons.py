"""Why a candle is incomplete, repaired or issued again: sentences made of the status events that touch it.

Pure; `add` may be called by any thread, the rest on the event loop's.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from consumers.web.live.rows import INCOMPLETE, REPAIRED, REVISED, Row
from model.events import NOT_WANTED, STOPPED, Disconnected, Gap, Repaired, StatusEvent
from model.intervals import DAY_MS

REMEMBERED = 2_000  # events
NAMED = 3  # of one candle
HOW = {
    "ids": "filled from the exchange's trades by their ids",
    "trades": "filled from the exchange's newest trades",
    "candle": "replaced by the exchange's own candle",
}
DIFFERED, LATE = "the exchange's candle differed", "trades of it came late"
Cause = tuple[int, StatusEvent]
"""An event, and when it happened, ms."""


class Causes:
    """The newest events that say why trades are missing, or that they were filled in."""

    def __init__(self, started_ms: int) -> None:
        self._started_ms = started_ms
        self._known: deque[Cause] = deque(maxlen=REMEMBERED)

    def add(self, at_ms: int, event: StatusEvent) -> bool:
        """Keep an event where it may be the cause of something; returns whether it is."""
        match event:
            case Gap(kind="trades"):
                is_one = True
            case Disconnected(kind="trades", reason=reason):
                is_one = reason not in (NOT_WANTED, STOPPED)
            case Repaired(how=how):
                is_one = how in HOW
            case _:
                is_one = False
        if is_one:
            self._known.append((at_ms, event))
        return is_one

    def of(self, market: str, symbol: str) -> Sequence[Cause]:
        """Return those of a symbol, oldest first."""
        return [
            (at_ms, event)
            for at_ms, event in list(self._known)
            if event.market == market and symbol in (event.symbols or ())  # type: ignore[attr-defined]
        ]

    def explained(self, row: Row, start_ms: int, end_ms: int, causes: Iterable[Cause]) -> tuple[Row, str]:
        """Return the row, marked as repaired where trades of it were filled in, and why it is as it is; "" where usual.

        `causes` are those of its symbol.
        """
        touching = [event for at_ms, event in causes if _touches(at_ms, event, start_ms, end_ms)]
        if not row.flags & INCOMPLETE and any(isinstance(event, Repaired) for event in touching):
            row = row._replace(flags=row.flags & ~REVISED | REPAIRED)
        if not row.flags & (INCOMPLETE | REPAIRED | REVISED):
            return row, ""
        parts = list(dict.fromkeys(_told(touching)))
        if row.flags & INCOMPLETE and start_ms < self._started_ms < end_ms:
            at = clock(self._started_ms, end_ms - start_ms)
            parts.insert(0, f"the collector started at {at} UTC, within this candle")
        if not parts:
            parts = [_without_cause(row)]
        more = len(parts) - NAMED
        text = "; ".join(parts[:NAMED]) + (f"; and {more} more" if more > 0 else "")
        return row, text[:1].upper() + text[1:]


def _touches(at_ms: int, event: StatusEvent, start_ms: int, end_ms: int) -> bool:
    if isinstance(event, Disconnected):
        return start_ms <= at_ms < end_ms
    assert isinstance(event, Gap | Repaired)
    from_ms = at_ms if event.from_ms is None else event.from_ms
    until_ms = at_ms if event.until_ms is None else event.until_ms
    if isinstance(event, Repaired) and event.interval is not None:
        return (from_ms, until_ms) == (start_ms, end_ms)
    return from_ms < end_ms and max(until_ms, from_ms + 1) > start_ms


def _told(events: Sequence[StatusEvent]) -> Iterable[str]:
    has_gap = any(isinstance(event, Gap) for event in events)
    for event in events:
        if isinstance(event, Gap):
            yield f"trades missing {_span(event)}" + (f" ({event.reason})" if event.reason else "")
        elif isinstance(event, Repaired):
            span = "" if event.interval is not None else f" {_span(event)}"
            yield f"{HOW[event.how]}{span}"
        elif isinstance(event, Disconnected) and not has_gap:
            yield f"connection lost ({event.reason})"


def _without_cause(row: Row) -> str:
    if row.flags & INCOMPLETE:
        return "not proven that every trade of it arrived"
    if row.flags & REPAIRED:
        return HOW["candle"] if row.source == "exchange" else "filled from the exchange's trades"
    return f"issued again: {DIFFERED if row.source == 'exchange' else LATE}"


def _span(event: Gap | Repaired) -> str:
    if event.from_ms is None or event.until_ms is None:
        return ""
    long_ms = max(event.until_ms - event.from_ms, 0)
    return f"{clock(event.from_ms, long_ms)} to {clock(event.until_ms, long_ms)} UTC"


def clock(ms: int, long_ms: int = 0) -> str:
    """Write a time of the day, with its date where it is about more than a day."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S" if long_ms >= DAY_MS else "%H:%M:%S")
