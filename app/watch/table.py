"""The table of `main.py watch`: the prices and open candles of symbols as they move, and the last closed candles.

Pure; one thread. An open candle is what was seen here: of the first one (~) only since the watch began.
"""

import textwrap
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from app.watch.choice import SymbolFilter
from consumers.console.console import kline_line
from consumers.console.table import Rates, at_most, fit
from model.envelope import Envelope
from model.intervals import Interval, step_of

KLINES_KEPT = 200  # lines at most: no terminal is taller
PRICES_SHARE = 0.6  # of the lines, where there are more symbols than fit


@dataclass
class Row:
    """The price of a symbol, and its open candle: the start of its window, and open, high, low so far."""

    price: Decimal
    at_ms: float
    close: Decimal | None = None  # of the last closed candle of the table's interval
    start_ms: int = 0
    open: Decimal = Decimal()
    high: Decimal = Decimal()
    low: Decimal = Decimal()
    is_whole: bool = False  # seen from the beginning of its window
    digits: int = 0  # decimals of the prices so far: those that end in 0 have lost some


class PriceTable:
    """Rows of symbols, and lines of klines, newest last. `interval` is that of the open candles.

    `order`: which symbols come first, in this order. `names_market`: rows say of which market they are.
    """

    def __init__(
        self, interval: Interval, title: str, order: Sequence[SymbolFilter] = (), *, names_market: bool = False
    ) -> None:
        self._interval, self._title, self._order, self._names_market = interval, title, order, names_market
        self._rows: dict[tuple[str, str], Row] = {}
        self._klines: deque[str] = deque(maxlen=KLINES_KEPT)
        self._rates = Rates()
        self._messages = 0

    def add(self, envelope: Envelope, now_ms: float) -> None:
        """Take prices or klines that came at `now_ms` (the wall clock)."""
        self._messages += 1
        market = envelope.channel
        if envelope.data_type == "price":
            for each in envelope.data:
                self._add_price(market, str(each["symbol"]), Decimal(each["price"]), now_ms)
        elif envelope.data_type == "klines":
            begin = f"{market}:" if self._names_market else ""
            self._klines.extend(kline_line(kline, begin) for kline in envelope.data[-KLINES_KEPT:])
            for kline in envelope.data:
                is_shown = step_of(kline.interval, kline.timestamp) == self._interval.step_ms
                if is_shown and (row := self._rows.get((market, kline.symbol))):
                    row.close = kline.close

    def _add_price(self, market: str, symbol: str, price: Decimal, now_ms: float) -> None:
        row = self._rows.setdefault((market, symbol), Row(price, now_ms))
        start_ms = self._interval.window_start(int(now_ms))
        if start_ms != row.start_ms:
            row.is_whole = row.start_ms > 0
            row.start_ms, row.open = start_ms, row.price
            row.high = row.low = row.open
        row.price, row.at_ms = price, now_ms
        row.digits = max(row.digits, -int(price.as_tuple().exponent))
        row.high, row.low = max(row.high, price), min(row.low, price)

    def lines(self, now_ms: float, now_s: float, size: tuple[int, int], notice: str) -> list[str]:
        """Lay all out in at most (columns, lines); `notice` is a sentence below the title. `now_s` is monotonic."""
        width, height = size
        head = [self._head(now_ms, now_s), *wrapped(notice, width), ""]
        rows = sorted(self._rows.items(), key=self._place)
        room = max(3, int((height - len(head)) * PRICES_SHARE))
        shown = at_most([self._row(*each, now_ms) for each in rows], room)
        lines = [*head, *([self._columns(), *shown] if shown else [])]
        room = height - len(lines) - 2
        if self._klines and room > 0:
            newest = list(self._klines)[-room:]
            lines += ["", "closed candles, newest first", *reversed(newest)]
        return [fit(line, width) for line in lines[:height]]

    def _head(self, now_ms: float, now_s: float) -> str:
        rate = self._rates.of("messages", self._messages, now_s)
        time = datetime.fromtimestamp(now_ms / 1000, UTC)
        return f"{time:%Y-%m-%d %H:%M:%S}Z   {self._title}" + ("" if rate is None else f"   {rate:,.0f} messages/s")

    def _columns(self) -> str:
        candle = f"{f'{self._interval.name} open':>14}{'high':>14}{'low':>14}"
        return f"{'symbol':<22}{'price':>14}{'change':>9}{candle}{'age s':>8}"

    def _place(self, each: tuple[tuple[str, str], Row]) -> tuple[int, str, str]:
        (market, symbol), _ = each
        places = (place for place, is_named in enumerate(self._order) if is_named(market, symbol))
        return next(places, len(self._order)), symbol, market

    def _row(self, key: tuple[str, str], row: Row, now_ms: float) -> str:
        market, symbol = key
        name = f"{symbol} {market}" if self._names_market else symbol
        reference = row.close or row.open
        change = f"{(row.price / reference - 1) * 100:+.2f} %".replace("-0.00", "+0.00") if reference else "-"
        price, begin, high, low = (f"{value:.{row.digits}f}" for value in (row.price, row.open, row.high, row.low))
        candle = f"{('' if row.is_whole else '~') + begin:>14}{high:>14}{low:>14}"
        age_s = max(0.0, now_ms - row.at_ms) / 1000
        return f"{name[:21]:<22}{price:>14}{change:>9}{candle}{age_s:>8.1f}"


def wrapped(text: str, width: int) -> list[str]:
    """Return a sentence as lines; none for none."""
    return textwrap.wrap(text, max(20, width))
