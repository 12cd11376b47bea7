"""The exchange's own candles of the trades it generated, exact, computed apart from any collector.

Decimal throughout; event loop thread only. Rules as measured on Bybit's candles: the open is the previous close,
high and low include it, an interval without trades is flat, a trade's T decides its candle, higher intervals are
roll-ups, an inverse turnover is a sum of quotients cut to eight decimals. Trades are put aside as tuples and folded
later, so that generating stays cheap.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

SECOND_MS, MINUTE_MS, DAY_MS = 1000, 60_000, 86_400_000
WEEK_MS = 7 * DAY_MS
MONDAY_MS = 4 * DAY_MS  # the first Monday after the epoch
MINUTES_KEPT = 4320  # three days of 1m candles per symbol
SECONDS_KEPT = 4200  # seventy minutes of 1s candles per symbol, about 0.2 KB each
ZERO = Decimal(0)
INVERSE_TURNOVER_STEP = Decimal("0.00000001")  # what Bybit cuts each inverse trade's turnover to, as of 2022

Interval = int | str  # milliseconds, or "M" for calendar months


class Candle(NamedTuple):
    """One interval from `start` (ms). `last_ms` is the time of its last trade, 0 without one."""

    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    trade_count: int
    last_ms: int = 0


def flat(start: int, price: Decimal) -> Candle:
    """The candle of an interval without trades."""
    return Candle(start, price, price, price, price, ZERO, ZERO, 0)


def merge(start: int, candles: list[Candle]) -> Candle:
    """Merge candles, oldest first, into one."""
    return Candle(
        start,
        candles[0].open,
        max(c.high for c in candles),
        min(c.low for c in candles),
        candles[-1].close,
        sum((c.volume for c in candles), ZERO),
        sum((c.turnover for c in candles), ZERO),
        sum(c.trade_count for c in candles),
        max(c.last_ms for c in candles),
    )


def coins(size: Decimal, price: Decimal) -> Decimal:
    """Turnover of one inverse trade: in the base coin, cut after the eighth decimal."""
    return size // (price * INVERSE_TURNOVER_STEP) * INVERSE_TURNOVER_STEP


class Series:
    """Candles of one step without a hole, oldest first; the last one is open."""

    def __init__(self, step_ms: int, keep: int, first: Candle) -> None:
        self.step_ms, self._keep = step_ms, keep
        self.candles = [first]

    def add(self, event_ms: int, price: Decimal, size: Decimal, turnover: Decimal) -> None:
        """Take one trade; trades come in order of time."""
        self.advance(event_ms)
        c = self.candles[-1]
        self.candles[-1] = Candle(
            c.start, c.open, max(c.high, price), min(c.low, price), price,
            c.volume + size, c.turnover + turnover, c.trade_count + 1, event_ms,
        )  # fmt: skip

    def advance(self, now_ms: int) -> None:
        """Open every interval up to the one that holds `now_ms`."""
        start = self.candles[-1].start + self.step_ms
        while start <= now_ms:
            self.candles.append(flat(start, self.candles[-1].close))
            start += self.step_ms
        if len(self.candles) > self._keep + self._keep // 4:
            del self.candles[: -self._keep]


class SymbolTruth:
    """All candles of one symbol. `put` is the hot path: (T, price text, size text, ...) as sent on the wire."""

    def __init__(self, is_inverse: bool, history: list[Candle], opening: Candle, seconds_from: int | None) -> None:
        self._is_inverse = is_inverse
        self.pending: list[tuple[Any, ...]] = []
        self.put = self.pending.append
        self.trade_count = 0
        self.minutes = Series(MINUTE_MS, MINUTES_KEPT, opening)
        self.minutes.candles[:0] = history
        self.seconds: Series | None = None
        if seconds_from is not None:
            self.seconds = Series(SECOND_MS, SECONDS_KEPT, flat(seconds_from, opening.open))

    def fold(self) -> None:
        """Fold the stored trades into candles."""
        if not self.pending:
            return
        trades = self.pending[:]
        self.pending.clear()
        self.trade_count += len(trades)
        for trade in trades:
            price, size = Decimal(trade[1]), Decimal(trade[2])
            turnover = coins(size, price) if self._is_inverse else size * price
            self.minutes.add(trade[0], price, size, turnover)
            if self.seconds is not None:
                self.seconds.add(trade[0], price, size, turnover)

    def candles(self, interval: Interval, now_ms: int) -> list[Candle]:
        """Every candle of `interval`, oldest first, the open one last. ValueError without a base for it."""
        self.fold()
        base = self.minutes
        if isinstance(interval, int) and interval % MINUTE_MS:
            if self.seconds is None or interval <= 0 or interval % SECOND_MS:
                raise ValueError(f"interval {interval} needs --true-seconds and whole seconds")
            base = self.seconds
        base.advance(now_ms)
        if interval == base.step_ms:
            return base.candles
        return [merge(start, group) for start, group in _groups(base.candles, interval)]

    def closed(self, interval: Interval, now_ms: int) -> list[Candle]:
        """The closed candles whose trades are known from their first moment."""
        candles = self.candles(interval, now_ms)
        base = self.minutes if isinstance(interval, str) or interval % MINUTE_MS == 0 else self.seconds
        assert base is not None
        first_known = base.candles[0].start
        return [c for c in candles if c.start >= first_known and end_of(c.start, interval) <= now_ms]


def _groups(candles: list[Candle], interval: Interval) -> Iterator[tuple[int, list[Candle]]]:
    group: list[Candle] = []
    start = start_of(candles[0].start, interval)
    for candle in candles:
        own_start = start_of(candle.start, interval)
        if own_start != start:
            yield start, group
            start, group = own_start, []
        group.append(candle)
    yield start, group


def start_of(event_ms: int, interval: Interval) -> int:
    """The start of the interval that holds `event_ms`: weeks begin on Monday, months on the first, UTC."""
    if isinstance(interval, str):
        moment = datetime.fromtimestamp(event_ms / 1000, UTC)
        return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()) * 1000
    offset = MONDAY_MS if interval == WEEK_MS else 0
    return event_ms - (event_ms - offset) % interval


def end_of(start: int, interval: Interval) -> int:
    """The start of the next interval."""
    if isinstance(interval, str):
        return start_of(start + 32 * DAY_MS, interval)
    return start + interval


def printed(value: Decimal) -> str:
    """Print a number in plain digits, never with an exponent."""
    return format(value, "f")


def printed_turnover(candle: Candle, is_inverse: bool) -> str:
    """Print a turnover, exact; eight decimals where it is a sum of quotients."""
    if is_inverse and candle.turnover:
        return printed(candle.turnover.quantize(INVERSE_TURNOVER_STEP))
    return printed(candle.turnover)
