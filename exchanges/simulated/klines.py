"""Candles as REST answers them: computed ones from before the start, then those of the market's own trades.

Event loop thread only. One interval may reach over the start: its candle is merged from both.
"""

from typing import TYPE_CHECKING

from .symbol_market import SymbolMarket
from .truth import MINUTE_MS, Candle, Interval, printed, printed_turnover

if TYPE_CHECKING:
    from .candles import PastCandles, Row


class Klines:
    """The candles of REST."""

    def __init__(self) -> None:
        self._past: dict[tuple[str, str], PastCandles] = {}

    def past(self, symbol: SymbolMarket) -> "PastCandles":
        """The symbol's candles from before its market began."""
        from .candles import PastCandles  # numpy costs a tenth of a second at start, and most runs never need it

        instrument = symbol.instrument
        key = (instrument.category, instrument.symbol)
        first = symbol.truth.minutes.candles[0]
        known = self._past.get(key)
        if known is None or known.join_ms != first.start:  # the market drops its oldest candles after some days
            self._past[key] = PastCandles(instrument, first.start, int(first.open / instrument.tick))
        return self._past[key]

    def candles(
        self, symbol: SymbolMarket, interval: Interval, start: int | None, end: int | None, limit: int, now_ms: int
    ) -> list[Candle]:
        """At most `limit` candles that begin in start .. end, newest first: the oldest where only a start is given."""
        own, older = self._found(symbol, interval, start, end, limit, now_ms)
        return [*reversed(own), *map(self.past(symbol).candle, reversed(older))] if older else own[::-1]

    def rows(
        self, symbol: SymbolMarket, interval: Interval, start: int | None, end: int | None, limit: int, now_ms: int
    ) -> list[list[str]]:
        """The same as rows of seven texts: start, open, high, low, close, volume, turnover."""
        own, older = self._found(symbol, interval, start, end, limit, now_ms)
        is_inverse = symbol.truth.rule.is_inverse
        texts = map(self.past(symbol).text, reversed(older)) if older else ()
        return [*(row_of(candle, is_inverse) for candle in reversed(own)), *texts]

    def _found(
        self, symbol: SymbolMarket, interval: Interval, start: int | None, end: int | None, limit: int, now_ms: int
    ) -> "tuple[list[Candle], list[Row]]":
        """The market's own candles and computed rows from before it, oldest first."""
        is_forward = start is not None and end is None
        low, high = (0 if start is None else start), (1 << 62 if end is None else end)
        own = [] if high < symbol.truth.minutes.candles[0].start else self._own(symbol, interval, now_ms)
        own = [c for c in own if low <= c.start <= high]
        wanted = limit if is_forward else limit - len(own)
        older: list[Row] = []
        are_seconds = isinstance(interval, int) and interval % MINUTE_MS  # of which none are from before the start
        if wanted > 0 and not are_seconds and (not own or low < own[0].start):
            past = self.past(symbol)
            last = min(high, own[0].start - 1) if own else high
            older = past.rows(interval, past.starts(interval, low, last, wanted, is_forward))
        return (own[: limit - len(older)] if is_forward else own[-limit:]), older

    def _own(self, symbol: SymbolMarket, interval: Interval, now_ms: int) -> list[Candle]:
        """The market's own candles; the first one is completed where it began before the market did."""
        candles = symbol.truth.candles(interval, now_ms)
        known_from = symbol.truth.minutes.candles[0].start
        first = candles[0]
        if first.start >= known_from:
            return candles
        past = self.past(symbol)
        begun = past.rows(interval, past.starts(interval, first.start, first.start, 1, True))
        return (
            [symbol.truth.rule.merge(first.start, [past.candle(begun[0]), first]), *candles[1:]] if begun else candles
        )


def row_of(candle: Candle, is_inverse: bool) -> list[str]:
    """A candle as seven texts."""
    prices = (candle.open, candle.high, candle.low, candle.close)
    return [str(candle.start), *map(printed, prices), printed(candle.volume), printed_turnover(candle, is_inverse)]
