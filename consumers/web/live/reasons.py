"""Why a candle is incomplete, repaired or issued again: sentences made of the status events that touch it.

Pure; `add` may be called by any thread, the rest on the event loop's.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from consumers.web.live.rows import INCOMPLETE, REPAIRED, REVISED, Row
from model.events import NOT_WANTED, STOPPED, Connected, Disconnected, Gap, Repaired, StatusEvent
from model.intervals import DAY_MS

REMEMBERED = 2_000  # events
NAMED = 3  # of one candle
BEFORE_MS = 2_000  # a connection that ends may have brought nothing for so long
STILL = 2**62  # the end of what has not ended
HOW = {
    "ids": "filled from the exchange's trades by their ids",
    "trades": "filled from the exchange's newest trades",
    "candle": "replaced by the exchange's own candle",
}
DIFFERED, LATE = "the exchange's candle differed", "trades of it came late"


class Cause(NamedTuple):
    """Something that happened to the trades of a symbol, and from when until when, ms. `what`: gap, lost, or of HOW."""

    from_ms: int
    until_ms: int
    what: str
    reason: str = ""
    is_of_one: bool = False  # of the candle of exactly this span

    def touches(self, start_ms: int, end_ms: int) -> bool:
        """Whether it concerns the candle of a span."""
        if self.is_of_one:
            return (self.from_ms, self.until_ms) == (start_ms, end_ms)
        return self.from_ms < end_ms and max(self.until_ms, self.from_ms + 1) > start_ms


class Causes:
    """The newest events that say why trades are missing, or that they were filled in."""

    def __init__(self, started_ms: int) -> None:
        self._started_ms = started_ms
        self._known: deque[tuple[int, StatusEvent]] = deque(maxlen=REMEMBERED)

    def add(self, at_ms: int, event: StatusEvent) -> bool:
        """Keep an event of this time where it may be the cause of something; returns whether it is."""
        match event:
            case Gap(kind="trades") | Connected(kind="trades"):
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
        """Return what happened to a symbol, oldest first."""
        found: list[Cause] = []
        for at_ms, event in list(self._known):
            if event.market != market or symbol not in (event.symbols or ()):  # type: ignore[attr-defined]
                continue
            match event:
                case Connected():
                    found = [each._replace(until_ms=min(each.until_ms, at_ms)) for each in found]
                case Disconnected(reason=reason):
                    found.append(Cause(at_ms - BEFORE_MS, STILL, "lost", reason))
                case Gap(from_ms=from_ms, until_ms=until_ms, reason=reason):
                    found.append(Cause(_or(from_ms, at_ms), _or(until_ms, at_ms), "gap", reason or ""))
                case Repaired(from_ms=from_ms, until_ms=until_ms, how=how, interval=interval):
                    span = _or(from_ms, at_ms), _or(until_ms, at_ms)
                    found.append(Cause(*span, how, is_of_one=interval is not None))
        return found

    def explained(self, row: Row, start_ms: int, end_ms: int, causes: Iterable[Cause]) -> tuple[Row, str]:
        """Return the row, marked as repaired where trades of it were filled in, and why it is as it is; "" where usual.

        `causes` are those of its symbol.
        """
        touching = [cause for cause in causes if cause.touches(start_ms, end_ms)]
        if not row.flags & INCOMPLETE and any(cause.what in HOW for cause in touching):
            row = row._replace(flags=row.flags & ~REVISED | REPAIRED)
        if not row.flags & (INCOMPLETE | REPAIRED | REVISED):
            return row, ""
        parts = list(_told(touching))
        if row.flags & INCOMPLETE and start_ms < self._started_ms < end_ms:
            at = clock(self._started_ms, end_ms - start_ms)
            parts.insert(0, f"the collector started at {at} UTC, within this candle")
        if not parts:
            parts = [_without_cause(row)]
        more = len(parts) - NAMED
        text = "; ".join(parts[:NAMED]) + (f"; and {more} more" if more > 0 else "")
        return row, text[:1].upper() + text[1:]


def _told(causes: Sequence[Cause]) -> Iterator[str]:
    """The causes as parts of a sentence: gaps, how they were filled, and else how the connection was lost."""
    gaps = _joined([cause for cause in causes if cause.what == "gap"])
    for gap in gaps:
        yield f"trades missing {_span(gap)}" + (f" ({gap.reason})" if gap.reason else "")
    if not gaps:
        for lost in _joined([cause for cause in causes if cause.what == "lost"]):
            since = clock(lost.from_ms + BEFORE_MS)
            span = f"since {since} UTC" if lost.until_ms == STILL else f"from {since} to {clock(lost.until_ms)} UTC"
            yield f"no connection {span} ({lost.reason})"
    for how, text in HOW.items():
        for filled in _joined([cause for cause in causes if cause.what == how]):
            is_told = filled.is_of_one or any(gap.touches(filled.from_ms, filled.until_ms) for gap in gaps)
            yield text if is_told else f"{text}, {_span(filled)}"


def _joined(causes: Sequence[Cause]) -> list[Cause]:
    """Causes of one sort, those that overlap as one."""
    found: list[Cause] = []
    for cause in sorted(causes, key=lambda each: each.from_ms):
        if found and cause.from_ms <= found[-1].until_ms:
            last = found.pop()
            reasons = dict.fromkeys(reason for reason in (last.reason, cause.reason) if reason)
            cause = cause._replace(
                from_ms=last.from_ms, until_ms=max(last.until_ms, cause.until_ms), reason=", ".join(reasons)
            )
        found.append(cause)
    return found


def _without_cause(row: Row) -> str:
    if row.flags & INCOMPLETE:
        return "not proven that every trade of it arrived"
    if row.flags & REPAIRED:
        return HOW["candle"] if row.source == "exchange" else "filled from the exchange's trades"
    return f"issued again: {DIFFERED if row.source == 'exchange' else LATE}"


def _or(ms: int | None, at_ms: int) -> int:
    return at_ms if ms is None else ms


def _span(cause: Cause) -> str:
    long_ms = cause.until_ms - cause.from_ms
    return f"{clock(cause.from_ms, long_ms)} to {clock(cause.until_ms, long_ms)} UTC"


def clock(ms: int, long_ms: int = 0) -> str:
    """Write a time of the day, with its date where it is about more than a day."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S" if long_ms >= DAY_MS else "%H:%M:%S")
