"""The exchange's own candles of the trades it generated, exact, computed apart from any collector.

Decimal throughout; event loop thread only. An interval without trades is flat, the time of the match decides a trade's
candle, longer intervals are roll-ups; what differs between exchanges is a CandleRule. Trades are put aside and folded
later, so that generating stays cheap.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Literal, NamedTuple

from .trades import Trade

SECOND_MS, MINUTE_MS, DAY_MS = 1000, 60_000, 86_400_000
WEEK_MS = 7 * DAY_MS
MONDAY_MS = 4 * DAY_MS  # the first Monday after the epoch
MINUTES_KEPT = 4320  # three days of 1m candles per symbol
SECONDS_KEPT = 4200  # seventy minutes of 1s candles per symbol, about 0.2 KB each
ZERO = Decimal(0)
EXACTLY = Context(prec=60)  # sums of sizes with 19 decimals have more digits than the usual 28
INVERSE_TURNOVER_STEP = Decimal("0.00000001")  # of turnovers in the coin, on every exchange

Interval = int | str  # milliseconds, or "M" for calendar months


@dataclass(frozen=True, slots=True)
class CandleRule:
    """The rule by which an exchange makes its candles.

    `opens_at` prev_close: the open is the last price before the interval, and counts in high and low; first_trade: the
    open is that of the first trade, and a longer candle takes nothing but the close from intervals without trades.
    An inverse turnover is in the coin: each trade's is cut to eight decimals (`cuts_each`), or their sum is rounded.
    """

    opens_at: Literal["prev_close", "first_trade"] = "prev_close"
    is_inverse: bool = False
    cuts_each: bool = True

    def turnover(self, price: Decimal, size: Decimal, contract_size: Decimal) -> Decimal:
        """The turnover of one trade of `size` contracts (or of the base coin, `contract_size` 1)."""
        if not self.is_inverse:
            return size * price if contract_size == 1 else size * price * contract_size
        worth = size * contract_size
        if self.cuts_each:
            return worth // (price * INVERSE_TURNOVER_STEP) * INVERSE_TURNOVER_STEP
        return worth / price

    def merge(self, start: int, candles: "list[Candle]") -> "Candle":
        """Merge candles, oldest first, into one."""
        traded = candles
        if self.opens_at == "first_trade":
            traded = [candle for candle in candles if candle.trade_count] or candles[:1]
        return Candle(
            start,
            traded[0].open,
            max(c.high for c in traded),
            min(c.low for c in traded),
            candles[-1].close,
            sum((c.volume for c in candles), ZERO),
            sum((c.turnover for c in candles), ZERO),
            sum(c.trade_count for c in candles),
            max(c.last_ms for c in candles),
            next((c.first_id for c in candles if c.first_id >= 0), -1),
            max(c.last_id for c in candles),
            sum((c.buy_volume for c in candles), ZERO),
            sum((c.buy_turnover for c in candles), ZERO),
        )


class Candle(NamedTuple):
    """One interval from `start` (ms): volume as sizes are written, turnover in quote currency or (inverse) the coin.

    `last_ms` is the time of its last trade, 0 without one; ids are those of its counted trades, -1 where not known.
    """

    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    trade_count: int
    last_ms: int = 0
    first_id: int = -1
    last_id: int = -1
    buy_volume: Decimal = ZERO
    buy_turnover: Decimal = ZERO


def flat(start: int, price: Decimal) -> Candle:
    """The candle of an interval without trades."""
    return Candle(start, price, price, price, price, ZERO, ZERO, 0)


class Series:
    """Candles of one step without a hole, oldest first; the last one is open."""

    def __init__(self, step_ms: int, keep: int, first: Candle, rule: CandleRule) -> None:
        self.step_ms, self._keep = step_ms, keep
        self._opens_at_trade = rule.opens_at == "first_trade"
        self.candles = [first]

    def add(self, trade: Trade, price: Decimal, size: Decimal, turnover: Decimal) -> None:
        """Take one trade; trades come in order of time."""
        self.advance(trade.event_ms)
        c = self.candles[-1]
        if self._opens_at_trade and not c.trade_count:
            c = flat(c.start, price)
        is_buy = trade.side == "Buy"
        self.candles[-1] = Candle(
            c.start, c.open, max(c.high, price), min(c.low, price), price,
            c.volume + size, c.turnover + turnover, c.trade_count + 1, trade.event_ms,
            trade.number if c.first_id < 0 else c.first_id, trade.number,
            c.buy_volume + size if is_buy else c.buy_volume, c.buy_turnover + turnover if is_buy else c.buy_turnover,
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
    """All candles of one symbol. `put` is the hot path: trades that count, as sent on the wire."""

    def __init__(
        self, rule: CandleRule, contract_size: Decimal, history: list[Candle], opening: Candle, seconds_from: int | None
    ) -> None:
        self.rule, self.contract_size = rule, contract_size
        self.pending: list[Trade] = []
        self.put = self.pending.append
        self.trade_count = 0
        self.minutes = Series(MINUTE_MS, MINUTES_KEPT, opening, rule)
        self.minutes.candles[:0] = history
        self.seconds: Series | None = None
        if seconds_from is not None:
            self.seconds = Series(SECOND_MS, SECONDS_KEPT, flat(seconds_from, opening.open), rule)

    def fold(self) -> None:
        """Fold the stored trades into candles."""
        if not self.pending:
            return
        trades = self.pending[:]
        self.pending.clear()
        self.trade_count += len(trades)
        with localcontext(EXACTLY):
            for trade in trades:
                price, size = Decimal(trade.price), Decimal(trade.size)
                turnover = self.rule.turnover(price, size, self.contract_size)
                self.minutes.add(trade, price, size, turnover)
                if self.seconds is not None:
                    self.seconds.add(trade, price, size, turnover)

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
        with localcontext(EXACTLY):
            return [self.rule.merge(start, group) for start, group in _groups(base.candles, interval)]

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
        return printed(candle.turnover.quantize(INVERSE_TURNOVER_STEP, ROUND_HALF_UP))
    return printed(candle.turnover)
