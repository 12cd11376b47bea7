"""Candles as REST answers them: computed ones from before the start, then those of the market's own trades.

Event loop thread only. One interval may reach over the start: its candle is merged from both.
"""

from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING

from .bybit import listing
from .symbol_market import SymbolMarket
from .truth import Candle, Interval, merge

if TYPE_CHECKING:
    from .candles import PastCandles

PREMIUM_STEP = Decimal("0.000001")
PREMIUM_SPAN = 1000  # premium indexes lie within a thousandth


class Klines:
    """The candles of REST, as rows of seven texts, newest first."""

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

    def rows(
        self, symbol: SymbolMarket, interval: Interval, start: int | None, end: int | None, limit: int, now_ms: int
    ) -> list[list[str]]:
        """At most `limit` candles that begin in start .. end: the first of them where only a start is given."""
        is_forward = start is not None and end is None
        low, high = (0 if start is None else start), (1 << 62 if end is None else end)
        is_inverse = symbol.instrument.category == "inverse"
        own = [] if high < symbol.truth.minutes.candles[0].start else self._own(symbol, interval, now_ms)
        own = [c for c in own if low <= c.start <= high]
        wanted = limit if is_forward else limit - len(own)
        older: list[list[str]] = []
        if wanted > 0 and (not own or low < own[0].start):
            past = self.past(symbol)
            last = min(high, own[0].start - 1) if own else high
            older = list(map(past.text, past.rows(interval, past.starts(interval, low, last, wanted, is_forward))))
        own = own[: limit - len(older)] if is_forward else own[-limit:]
        return [*(listing.kline_row(candle, is_inverse) for candle in reversed(own)), *reversed(older)]

    def _own(self, symbol: SymbolMarket, interval: Interval, now_ms: int) -> list[Candle]:
        """The market's own candles; the first one is completed where it began before the market did."""
        candles = symbol.truth.candles(interval, now_ms)
        known_from = symbol.truth.minutes.candles[0].start
        first = candles[0]
        if first.start >= known_from:
            return candles
        past = self.past(symbol)
        begun = past.rows(interval, past.starts(interval, first.start, first.start, 1, True))
        return [merge(first.start, [past.candle(begun[0]), first]), *candles[1:]] if begun else candles


def premium_rows(name: str, rows: list[list[str]]) -> list[list[str]]:
    """Rows of five texts with generated premiums: each open is the close before it."""
    found = []
    border_ms = int(rows[0][0]) + 1 if rows else 0
    for row in rows:
        opening, closing = _premium(name, int(row[0])), _premium(name, border_ms)
        border_ms = int(row[0])
        values = (opening, max(opening, closing), min(opening, closing), closing)
        found.append([row[0], *(format(value, "f") for value in values)])
    return found


def _premium(name: str, border_ms: int) -> Decimal:
    dice = int.from_bytes(sha256(f"{name}:{border_ms}".encode()).digest()[:4], "big")
    return (dice % (2 * PREMIUM_SPAN) - PREMIUM_SPAN) * PREMIUM_STEP
