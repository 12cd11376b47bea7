"""The soak's exchange: a seeded market in virtual time, its own candles and its history.

Pure: time is an argument. True candles are computed in Decimal, apart from the packages that are tested.
"""

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal
from functools import reduce

from model.records import Candle, PastTrade

SECOND_MS, MINUTE_MS = 1_000, 60_000
CANDLE_STEPS_MS = (60_000, 180_000, 300_000, 900_000, 1_800_000, 3_600_000)  # as Bybit serves them, up to an hour
NEWEST_TRADES = 1_000  # what a question for recent trades brings
UNFINISHED_MS = 2_400  # so long after its end a candle over REST may still lack the trades of its last second
BURST = (1, 1, 1, 2, 4)  # trades of one millisecond
EVERY_MS = (100, 400, 700, 1_000, 2_000, 2_000, 5_000, 15_000, 60_000, 400_000)  # mean time between a symbol's trades

Values = tuple[Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, int]
"""Open, high, low, close, volume, turnover, count of trades."""


EXACT = Context(prec=80)  # of sums of quotients: no sum here has so many digits before it is rounded


@dataclass(frozen=True)
class CandleRule:
    """The rule by which the exchange makes candles of matches; see model.markets.KlineRules."""

    opens_at_close: bool = True
    is_inverse: bool = False
    digits: int = 8
    cuts_each: bool = True
    contract: Decimal = Decimal(1)

    def turnover(self, price: Decimal, volume: Decimal) -> Decimal:
        """The turnover of one match."""
        if not self.is_inverse:
            return price * volume
        quotient = EXACT.divide(volume, price)
        return quotient.quantize(Decimal(1).scaleb(-self.digits), ROUND_DOWN, EXACT) if self.cuts_each else quotient

    def rounded(self, turnover: Decimal) -> Decimal:
        """The turnover of a candle, of the sum of its matches."""
        if not self.is_inverse or self.cuts_each:
            return turnover
        exact = turnover.quantize(Decimal(1).scaleb(-60), context=EXACT)  # a sum that lies half way, in spite of 80
        return exact.quantize(Decimal(1).scaleb(-self.digits), ROUND_HALF_UP, EXACT)


BYBIT_RULE = CandleRule()


@dataclass
class Traded:
    """What was traded within one step, without the close before it."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    count: int


@dataclass
class Series:
    """Steps of one length in which a symbol traded, oldest first."""

    step_ms: int
    rule: CandleRule = BYBIT_RULE
    starts: list[int] = field(default_factory=list)
    bars: list[Traded] = field(default_factory=list)

    def add(self, ms: int, price: Decimal, size: Decimal) -> None:
        """Count one trade, not older than the last."""
        volume = size * self.rule.contract
        turnover = self.rule.turnover(price, volume)
        start_ms = ms - ms % self.step_ms
        if not self.starts or self.starts[-1] != start_ms:
            self.starts.append(start_ms)
            self.bars.append(Traded(price, price, price, price, volume, turnover, 1))
            return
        bar = self.bars[-1]
        bar.high, bar.low, bar.close = max(bar.high, price), min(bar.low, price), price
        bar.volume, bar.turnover = bar.volume + volume, EXACT.add(bar.turnover, turnover)
        bar.count += 1

    def window(self, start_ms: int, end_ms: int) -> Values:
        """The candle of [start, end). There must be a close before it, at which it may open."""
        first, last = bisect_left(self.starts, start_ms), bisect_left(self.starts, end_ms)
        open_, bars = self.bars[first - 1].close, self.bars[first:last]
        if bars and not self.rule.opens_at_close:
            open_ = bars[0].open
        return (
            open_,
            max([open_, *(bar.high for bar in bars)]),
            min([open_, *(bar.low for bar in bars)]),
            bars[-1].close if bars else open_,
            sum((bar.volume for bar in bars), Decimal(0)),
            self.rule.rounded(reduce(EXACT.add, (bar.turnover for bar in bars), Decimal(0))),
            sum(bar.count for bar in bars),
        )

    def forget(self, before_ms: int) -> None:
        """Drop what is older, but for the close before it."""
        keep = max(bisect_left(self.starts, before_ms) - 1, 0)
        del self.starts[:keep], self.bars[:keep]


class Symbol:
    """One traded symbol. Its first trade is at `begin_ms`, before any window that is asked for."""

    newest_most, sizes_most = NEWEST_TRADES, 5_000

    def __init__(
        self, name: str, every_ms: int, rng: random.Random, begin_ms: int, rule: CandleRule = BYBIT_RULE
    ) -> None:
        self.name, self.every_ms, self._rng = name, every_ms, rng
        digits, lots = rng.choice([(1, 3), (2, 2), (4, 1), (6, 0)])
        self._tick, self._lot = Decimal(1).scaleb(-digits), Decimal(1).scaleb(-lots)
        self._ticks = rng.randint(20_000, 900_000)
        self._seq = rng.randint(1, 10**9)
        self.seconds, self.minutes = Series(SECOND_MS, rule), Series(MINUTE_MS, rule)
        self.newest: deque[PastTrade] = deque(maxlen=self.newest_most)
        self.trade(begin_ms)

    def wait_ms(self) -> int:
        """How long until the next trades."""
        return 1 + int(self._rng.expovariate(1 / self.every_ms))

    def burst(self, now_ms: int) -> Iterator[bytes]:
        """Trade one to four times within a millisecond; returns the messages."""
        for _ in range(self._rng.choice(BURST)):
            yield self.trade(now_ms)

    def trade(self, now_ms: int) -> bytes:
        """Trade once; returns the message of it."""
        self._ticks = max(self._ticks + self._rng.randint(-3, 3), 1_000)
        self._seq += 1
        price, size = self._ticks * self._tick, self._rng.randint(1, self.sizes_most) * self._lot
        self.seconds.add(now_ms, price, size)
        self.minutes.add(now_ms, price, size)
        trade_id = self.id_of(self._seq)
        self.newest.append(PastTrade(trade_id, now_ms, float(price), float(size), self._seq))
        return self.written(trade_id, now_ms, price, size)

    def id_of(self, seq: int) -> str:
        """The id of a trade."""
        return f"{self.name}-{seq}"

    def written(self, trade_id: str, now_ms: int, price: Decimal, size: Decimal) -> bytes:
        """The message of a trade, the newest of all."""
        text = f'"T":{now_ms},"s":"{self.name}","S":"Buy","v":"{size}","p":"{price}","i":"{trade_id}","seq":{self._seq}'
        return f'{{"topic":"publicTrade.{self.name}","type":"snapshot","ts":{now_ms},"data":[{{{text}}}]}}'.encode()

    def truth(self, start_ms: int, length_ms: int) -> Values:
        """The true candle of a window as of now."""
        series = self.seconds if length_ms < MINUTE_MS else self.minutes
        return series.window(start_ms, start_ms + length_ms)

    def candles(self, step_ms: int, start_ms: int, end_ms: int, now_ms: int) -> list[Candle]:
        """The candles that REST answers: true but for the last second of those that ended just now."""
        found = []
        for start in range(start_ms, min(end_ms, now_ms + 1), step_ms):
            end = start + step_ms
            is_unfinished = end <= now_ms < end + UNFINISHED_MS and step_ms <= MINUTE_MS
            values = self.seconds.window(start, end - SECOND_MS) if is_unfinished else self.truth(start, step_ms)
            found.append(Candle(start, *values[:6]))
        return found


MakeSymbol = Callable[[int, int, random.Random, int], Symbol]
"""Makes the symbol of a number: it trades every so many ms, and did at the last time."""


def _bybit_symbol(number: int, every_ms: int, rng: random.Random, begin_ms: int) -> Symbol:
    return Symbol(f"S{number:02d}USDT", every_ms, rng, begin_ms)


def make_market(
    count: int,
    rng: random.Random,
    begin_ms: int,
    make: MakeSymbol = _bybit_symbol,
    every_ms: Sequence[int] = EVERY_MS,
) -> dict[str, Symbol]:
    """Symbols from those that trade all the time to those that trade every few minutes; all did just before."""
    alike = max(count // len(every_ms), 1)
    symbols = [make(number, every_ms[number // alike % len(every_ms)], rng, begin_ms) for number in range(count)]
    return {symbol.name: symbol for symbol in symbols}
