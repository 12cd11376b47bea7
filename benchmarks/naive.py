"""Klines the way they are usually made: dict buckets, floats, closed by the clock, no repair.

The soak gives it the same messages, for comparison. Pure; time is an argument.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

GRACE_MS = 80  # how long after the boundary the timer fires


@dataclass
class Bucket:
    """One open candle."""

    open: float
    high: float
    low: float
    close: float
    volume: float = 0.0
    turnover: float = 0.0

    def add(self, price: float, size: float, turnover: float) -> None:
        """Count one trade."""
        self.high, self.low, self.close = max(self.high, price), min(self.low, price), price
        self.volume += size
        self.turnover += turnover


Emit = Callable[[str, int, int, Bucket], object]
"""(symbol, interval ms, start ms, candle), once per candle."""


class NaiveAggregator:
    """Closes every window at its end by the clock; a trade that comes later is dropped, silence is a flat candle."""

    def __init__(
        self,
        intervals_ms: Sequence[int],
        emit: Emit,
        now_ms: int,
        *,
        opens_at_close: bool = True,
        is_inverse: bool = False,
    ) -> None:
        self._emit, self._opens_at_close, self._is_inverse = emit, opens_at_close, is_inverse
        self._last_prices: dict[str, float] = {}
        self._buckets: dict[tuple[str, int, int], Bucket] = {}
        self._starts = {step_ms: now_ms - now_ms % step_ms for step_ms in intervals_ms}

    def add(self, symbol: str, event_ms: int, price: float, size: float) -> None:
        """Count one trade, its size in the base coin, at every interval whose window is still open."""
        turnover = size / price if self._is_inverse else price * size
        for step_ms, open_ms in self._starts.items():
            start_ms = event_ms - event_ms % step_ms
            if start_ms < open_ms:
                continue
            key = (symbol, step_ms, start_ms)
            if key not in self._buckets:
                first = self._last_prices.get(symbol, price) if self._opens_at_close else price
                self._buckets[key] = Bucket(first, first, first, first)
            self._buckets[key].add(price, size, turnover)
        self._last_prices[symbol] = price

    def close(self, now_ms: int) -> None:
        """Emit every window that is over."""
        for step_ms, start_ms in self._starts.items():
            for over_ms in range(start_ms, now_ms - GRACE_MS - step_ms + 1, step_ms):
                self._close(step_ms, over_ms, self._last_prices)
                self._starts[step_ms] = over_ms + step_ms

    def _close(self, step_ms: int, start_ms: int, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            price = self._last_prices[symbol]
            bucket = self._buckets.pop((symbol, step_ms, start_ms), None)
            self._emit(symbol, step_ms, start_ms, bucket or Bucket(price, price, price, price))
