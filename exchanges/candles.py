"""Candles of REST answers: how a row is read, and how a span is read page by page. Pure, but for what a page costs.

An exchange may cut an answer at either end, leave candles out, or repeat them: nothing here takes the number of rows
for a promise. A page that does not lead on ends the read with HistoryError.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from exchanges.rest_rows import RowLog, decimals_of, is_candle, is_time, read_row
from model.intervals import LONGEST_MONTH_MS, SHORTEST_MONTH_MS
from model.ports import HistoryError
from model.records import Candle

PAGES_SPARE, PAGES_TIMES = 20, 10  # a span may take so many pages and so many times those it fills: answers are cut
ONE = Decimal(1)

Key = int | str
"""Where a value stands in a row: its column, or its name."""


@dataclass(frozen=True)
class CandleShape:
    """Where the values of a candle stand in a row of an exchange.

    `unit_ms`: what its start counts in: 1000 for seconds. `turnover` None: the exchange gives none, and it is volume
    times close, which is near it. `volume` is in contracts where the reader is given what one is.
    """

    start: Key = 0
    open: Key = 1
    high: Key = 2
    low: Key = 3
    close: Key = 4
    volume: Key = 5
    turnover: Key | None = 6
    unit_ms: int = 1

    def start_of(self, row: object) -> int | None:
        """The start of a row in ms, whatever else of it makes no sense."""
        try:
            start = read_row(row[self.start], int)  # type: ignore[index]
        except (LookupError, TypeError):
            return None
        return start * self.unit_ms if start is not None and is_time(start * self.unit_ms) else None

    def read(self, row: object, contract_size: Decimal = ONE) -> Candle | None:
        """Read a row, its volume times `contract_size`; None where no candle can look like it."""
        keys = (self.open, self.high, self.low, self.close, self.volume)
        start = self.start_of(row)
        try:
            values = [row[key] for key in keys]  # type: ignore[index]
            if self.turnover is not None:
                values.append(row[self.turnover])  # type: ignore[index]
        except (LookupError, TypeError):
            return None
        if start is None or (numbers := decimals_of(values)) is None:
            return None
        opened, high, low, closed, volume = numbers[:5]
        volume *= contract_size
        turnover = volume * closed if self.turnover is None else numbers[5]
        if not is_candle((opened, high, low, closed), volume, turnover):
            return None
        return Candle(start, opened, high, low, closed, volume, turnover)


class Page(NamedTuple):
    """One answer: its candles, and the starts of all rows that have one, whatever else of them makes no sense."""

    candles: Sequence[Candle]
    starts: Sequence[int]
    rows: int = 0  # in the answer


def page_of(
    rows: Sequence[object], shape: CandleShape, log: RowLog, path: str, symbol: str, contract_size: Decimal = ONE
) -> Page:
    """Read the rows of an answer; those that make no sense are logged."""
    read = [shape.read(row, contract_size) for row in rows]
    log.odd([row for row, candle in zip(rows, read, strict=True) if candle is None], path, symbol)
    starts = [start for row in rows if (start := shape.start_of(row)) is not None]
    return Page([candle for candle in read if candle], starts, len(rows))


@dataclass(frozen=True)
class OlderPages:
    """Pages of at most `rows` candles that begin before a time, of candles since `since_ms`.

    `read(before_ms, rows)` is asked for no more rows than are wanted.
    """

    read: Callable[[int, int], Page]
    rows: int
    since_ms: int = 0


def read_backward(readers: Iterable[OlderPages], step_ms: int, start_ms: int, end_ms: int, what: str) -> list[Candle]:
    """Candles with start_ms <= start < end_ms, oldest first, of an exchange that pages towards older ones.

    Where a reader has no more, or not so old ones, the next goes on. `what` is named in the error.
    """
    left = list(readers)
    found: dict[int, Candle] = {}
    shortest_ms = step_ms or SHORTEST_MONTH_MS
    pages = _Pages(what, (end_ms - start_ms) // (shortest_ms * min(each.rows for each in left)))
    last_ms = end_ms
    while last_ms > start_ms:
        while len(left) > 1 and last_ms <= left[0].since_ms:
            del left[0]
        most = min(left[0].rows, (last_ms - start_ms) // shortest_ms + 1)
        page = left[0].read(last_ms, most)
        found.update((each.start_ms, each) for each in page.candles if start_ms <= each.start_ms < end_ms)
        oldest_ms = min((start for start in page.starts if start < last_ms), default=None)
        if oldest_ms is None and len(left) == 1:
            break  # nothing is older
        if len(left) > 1 and (oldest_ms is None or page.rows < most):
            del left[0]
        last_ms = last_ms if oldest_ms is None else oldest_ms
        pages.turn()
    return [found[start] for start in sorted(found)]


def read_forward(
    read: Callable[[int, int], Page],
    rows: int,
    step_ms: int,
    start_ms: int,
    end_ms: int,
    what: str,
    span_most_ms: int | None = None,
) -> list[Candle]:
    """Candles with start_ms <= start < end_ms, oldest first, of an exchange that gives the oldest of a window.

    `read(first_ms, end_ms)` reads at most `rows` candles of a window, which is `span_most_ms` long at most: give
    `rows` times the step where an answer would have the newest ones of a longer window.
    """
    found: dict[int, Candle] = {}
    pages = _Pages(what, (end_ms - start_ms) // ((step_ms or SHORTEST_MONTH_MS) * rows))
    first_ms = start_ms
    while first_ms < end_ms:
        last_ms = end_ms if span_most_ms is None else min(end_ms, first_ms + span_most_ms)
        page = read(first_ms, last_ms)
        found.update((each.start_ms, each) for each in page.candles if start_ms <= each.start_ms < end_ms)
        newest_ms = max((start for start in page.starts if start >= first_ms), default=None)
        first_ms = last_ms if newest_ms is None else newest_ms + 1
        if newest_ms is not None and step_ms and newest_ms + step_ms >= last_ms:
            first_ms = last_ms  # the next one begins behind the span
        pages.turn()
    return [found[start] for start in sorted(found)]


def read_windows(
    read: Callable[[int, int], Page], rows: int, step_ms: int, start_ms: int, end_ms: int, what: str
) -> list[Candle]:
    """Candles with start_ms <= start < end_ms, oldest first, of an exchange whose answers may be cut at either end.

    `read(first_ms, end_ms)` reads a window of `rows` steps at most. Windows go from the newest to the oldest. A hole is
    taken for one only where an answer about it alone is empty.
    """
    return _Windows(read, rows, step_ms, start_ms, end_ms, what).read_all()


class _Windows:
    """The state of one read_windows."""

    def __init__(
        self, read: Callable[[int, int], Page], rows: int, step_ms: int, start_ms: int, end_ms: int, what: str
    ) -> None:
        self._read, self._start_ms, self._end_ms = read, start_ms, end_ms
        self._reach_ms, self._longest_ms = (step_ms or SHORTEST_MONTH_MS) * rows, step_ms or LONGEST_MONTH_MS
        self._found: dict[int, Candle] = {}
        self._pages = _Pages(what, (end_ms - start_ms) // self._reach_ms)

    def read_all(self) -> list[Candle]:
        """Read all windows."""
        last_ms, start_ms = self._end_ms, self._start_ms
        while last_ms > start_ms:
            first_ms = max(start_ms, last_ms - self._reach_ms)
            oldest_ms, newest_ms = self._page(first_ms, last_ms)
            is_empty = newest_ms < first_ms
            while not is_empty and newest_ms + 2 * self._longest_ms <= last_ms:  # cut off at its newer end, or a hole
                _, beyond_ms = self._page(newest_ms + 1, last_ms)
                newest_ms = beyond_ms if beyond_ms > newest_ms else last_ms
            if oldest_ms - first_ms >= self._longest_ms and not (is_empty and first_ms == start_ms):
                first_ms = self._older(first_ms, oldest_ms)
            last_ms = first_ms
            self._pages.turn()
        return [self._found[start] for start in sorted(self._found)]

    def _older(self, first_ms: int, oldest_ms: int) -> int:
        """Return where to go on below a page that does not reach its own start: the end, a cut or a hole.

        One answer about all that is left proves an end; an empty one about the hole proves the hole, for an empty
        answer is of its whole span however many rows a page may have.
        """
        start_ms = self._start_ms
        _, below_ms = self._page(start_ms, oldest_ms)
        if below_ms < start_ms:
            return start_ms
        if below_ms + 1 + self._longest_ms > oldest_ms:
            return below_ms  # nothing is between
        between_ms, _ = self._page(below_ms + 1, oldest_ms)
        return below_ms if between_ms >= oldest_ms else first_ms

    def _page(self, first_ms: int, end_ms: int) -> tuple[int, int]:
        """Keep the candles of one answer; return the oldest and the newest start in it.

        An empty answer gives `end_ms` and a time before `first_ms`.
        """
        if first_ms >= end_ms:
            return end_ms, first_ms - 1
        page = self._read(first_ms, end_ms)
        self._found.update((each.start_ms, each) for each in page.candles if first_ms <= each.start_ms < end_ms)
        seen = [start for start in page.starts if first_ms <= start < end_ms]
        return min(seen, default=end_ms), max(seen, default=first_ms - 1)


class _Pages:
    """How many more pages a span may take."""

    def __init__(self, what: str, filled: int) -> None:
        self._what, self._filled, self._left = what, filled, PAGES_SPARE + PAGES_TIMES * filled

    def turn(self) -> None:
        """Count a page; HistoryError where they do not end."""
        self._left -= 1
        if self._left < 0:
            raise HistoryError(f"{self._what}: {self._filled + 1} pages do not end")


def with_quiet(candles: Sequence[Candle], step_ms: int) -> list[Candle]:
    """Add what an exchange leaves out: candles without a trade, flat at the close before.

    Only between two that it has: a candle that is missing at the newest end may only be late, see quiet_end. Months are
    left as they are.
    """
    found = list(candles[:1])
    for candle in candles[1:]:
        before = found[-1]
        missing = range(before.start_ms + step_ms, candle.start_ms, step_ms) if step_ms else ()
        found += [*(_flat(start_ms, before.close) for start_ms in missing), candle]
    return found


class LastTrade(NamedTuple):
    """The last trade of a symbol as of a time of the exchange, until when none can still be on its way."""

    known_ms: int
    event_ms: int
    price: Decimal


def quiet_end(
    candles: Sequence[Candle], step_ms: int, start_ms: int, end_ms: int, last: Callable[[], LastTrade | None]
) -> list[Candle]:
    """Candles without a trade of [start_ms, end_ms), those that are over, behind all that an exchange has of it.

    `last` is asked where one is missing: only what came later than the last trade is quiet for sure. No weeks, no
    months.
    """
    first_ms = candles[-1].start_ms + step_ms if candles else -(-start_ms // step_ms) * step_ms
    if first_ms + step_ms > end_ms or (trade := last()) is None or trade.event_ms >= first_ms:
        return []
    until_ms = min(end_ms, trade.known_ms)
    return [_flat(start_ms, trade.price) for start_ms in range(first_ms, until_ms - step_ms + 1, step_ms)]


def _flat(start_ms: int, price: Decimal) -> Candle:
    return Candle(start_ms, price, price, price, price, Decimal(0), Decimal(0))
