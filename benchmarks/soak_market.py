"""The soak's exchange: a seeded market in virtual time, its own candles and its history.

Pure: time is an argument. True candles are computed in Decimal, apart from the packages that are tested.
"""

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from model.records import Candle, PastTrade

SECOND_MS, MINUTE_MS = 1_000, 60_000
CANDLE_STEPS_MS = (60_000, 180_000, 300_000, 900_000, 1_800_000, 3_600_000)  # as Bybit serves them, up to an hour
NEWEST_TRADES = 1_000  # what a question for recent trades brings
UNFINISHED_MS = 2_400  # so long after its end a candle over REST may still lack the trades of its last second
BURST = (1, 1, 1, 2, 4)  # trades of one millisecond
EVERY_MS = (100, 400, 700, 1_000, 2_000, 2_000, 5_000, 15_000, 60_000, 400_000)  # mean time between a symbol's trades

Values = tuple[Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, int]
"""Open, high, low, close, volume, turnover, count of trades."""


@dataclass
class Traded:
    """What was traded within one step, without the close before it."""

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
    starts: list[int] = field(default_factory=list)
    bars: list[Traded] = field(default_factory=list)

    def add(self, ms: int, price: Decimal, size: Decimal) -> None:
        """Count one trade, not older than the last."""
        start_ms = ms - ms % self.step_ms
        if not self.starts or self.starts[-1] != start_ms:
            self.starts.append(start_ms)
            self.bars.append(Traded(price, price, price, size, price * size, 1))
            return
        bar = self.bars[-1]
        bar.high, bar.low, bar.close = max(bar.high, price), min(bar.low, price), price
        bar.volume, bar.turnover, bar.count = bar.volume + size, bar.turnover + price * size, bar.count + 1

    def window(self, start_ms: int, end_ms: int) -> Values:
        """The candle of [start, end) by Bybit's rule: it opens at the close before it. There must be one."""
        first, last = bisect_left(self.starts, start_ms), bisect_left(self.starts, end_ms)
        open_, bars = self.bars[first - 1].close, self.bars[first:last]
        return (
            open_,
            max([open_, *(bar.high for bar in bars)]),
            min([open_, *(bar.low for bar in bars)]),
            bars[-1].close if bars else open_,
            sum((bar.volume for bar in bars), Decimal(0)),
            sum((bar.turnover for bar in bars), Decimal(0)),
            sum(bar.count for bar in bars),
        )

    def forget(self, before_ms: int) -> None:
        """Drop what is older, but for the close before it."""
        keep = max(bisect_left(self.starts, before_ms) - 1, 0)
        del self.starts[:keep], self.bars[:keep]


class Symbol:
    """One traded symbol. Its first trade is at `begin_ms`, before any window that is asked for."""

    def __init__(self, name: str, every_ms: int, rng: random.Random, begin_ms: int) -> None:
        self.name, self.every_ms, self._rng = name, every_ms, rng
        digits, lots = rng.choice([(1, 3), (2, 2), (4, 1), (6, 0)])
        self._tick, self._lot = Decimal(1).scaleb(-digits), Decimal(1).scaleb(-lots)
        self._ticks = rng.randint(20_000, 900_000)
        self._seq = rng.randint(1, 10**9)
        self.seconds, self.minutes = Series(SECOND_MS), Series(MINUTE_MS)
        self.newest: deque[PastTrade] = deque(maxlen=NEWEST_TRADES)
        self.trade(begin_ms)

    def wait_ms(self) -> int:
        """How long until the next trades."""
        return 1 + int(self._rng.expovariate(1 / self.every_ms))

    def burst(self, now_ms: int) -> Iterator[bytes]:
        """Trade one to four times within a millisecond; one message each."""
        for _ in range(self._rng.choice(BURST)):
            yield self.trade(now_ms)

    def trade(self, now_ms: int) -> bytes:
        """Trade once; returns the message of it."""
        self._ticks = max(self._ticks + self._rng.randint(-3, 3), 1_000)
        self._seq += 1
        price, size = self._ticks * self._tick, self._rng.randint(1, 5_000) * self._lot
        self.seconds.add(now_ms, price, size)
        self.minutes.add(now_ms, price, size)
        trade_id = f"{self.name}-{self._seq}"
        self.newest.append(PastTrade(trade_id, now_ms, float(price), float(size), self._seq))
        return f"{self.name}|{now_ms}|{price}|{size}|{self._seq}|{trade_id}".encode()

    def truth(self, start_ms: int, length_ms: int) -> Values:
        """The true candle of a window as of now."""
        series = self.seconds if length_ms < MINUTE_MS else self.minutes
        return series.window(start_ms, start_ms + length_ms)

    def candles(self, step_ms: int, start_ms: int, end_ms: int, now_ms: int) -> list[Candle]:
        """The candles that REST answers: true but for the last second of those that ended just now."""
        found = []
        for start in range(start_ms, min(end_ms, now_ms + 1), step_ms):
            end = start + step_ms
            is_unfinished = end <= now_ms < end + UNFINISHED_MS and step_ms == MINUTE_MS
            values = self.seconds.window(start, end - SECOND_MS) if is_unfinished else self.truth(start, step_ms)
            found.append(Candle(start, *values[:6]))
        return found


def make_market(count: int, rng: random.Random, begin_ms: int) -> dict[str, Symbol]:
    """Symbols from those that trade all the time to those that trade every few minutes; all did just before."""
    names, alike = (f"S{number:02d}USDT" for number in range(count)), max(count // len(EVERY_MS), 1)
    every_ms = [EVERY_MS[number // alike % len(EVERY_MS)] for number in range(count)]
    return {name: Symbol(name, every_ms[number], rng, begin_ms) for number, name in enumerate(names)}
