"""The symbols of one market: their rows in the table, and how fine their ticks and lots are.

Pure. A symbol's scale grows when a price or size has more decimals than any before; what was counted until
then is multiplied, so that no digit is lost.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

import numpy as np

from aggregation.bars import INVERSE_TURNOVER_DIGITS, Ints
from aggregation.decimals import EXACT_LIMIT, Bools, Floats, decimals_of, scale_of, to_units, with_spare_digits

PRODUCT_LIMIT = float(2**90)  # price times size of one trade, in ticks and lots: far beyond any real one

Rescale = Callable[[int, int, int], bool]
"""Multiply all that was counted of a row by a price and a size factor; False where that leaves too little room."""


class TooManySymbolsError(ValueError):
    """There is no row for a symbol: none is given any more to names that only trades have."""


class Symbols:
    """Rows and scales; one thread only. `grow(rows)` is told when there are more of them."""

    def __init__(self, grow: Callable[[int], None], rescale: Rescale) -> None:
        self.names: list[str] = []
        self._scales: Ints = np.zeros((2, 0), np.int64)
        self.price_scale, self.size_scale = self._scales
        self._row_of: dict[str, int] = {}
        self._grow = grow
        self._rescale = rescale

    def rows(self, symbols: Sequence[str], most: int | None = None) -> Ints:
        """The row of each symbol; a new one gets the next. TooManySymbolsError where that would be more than `most`."""
        row_of = self._row_of.__getitem__
        try:
            return np.fromiter(map(row_of, symbols), np.int64, len(symbols))
        except KeyError as error:
            if most is not None and len(self.names) + len(set(symbols) - self._row_of.keys()) > most:
                raise TooManySymbolsError(f"{error} is one of more than {most} symbols") from None
            self._add(symbols)
            return np.fromiter(map(row_of, symbols), np.int64, len(symbols))

    def known(self, symbols: Sequence[str]) -> set[int]:
        """The rows of those symbols that have one."""
        return {self._row_of[symbol] for symbol in symbols if symbol in self._row_of}

    def positions_of_known(self, symbols: Sequence[str]) -> Ints:
        """Where in `symbols` those are that have a row."""
        return np.flatnonzero([symbol in self._row_of for symbol in symbols])

    def units(self, rows: Ints, prices: Floats, sizes: Floats) -> Ints:
        """Ticks and lots, shape (2, n); a column of zeros for a trade that cannot be counted."""
        values = np.stack((prices, sizes))
        valid = ((values > 0) & (values < EXACT_LIMIT)).all(axis=0)
        if not valid.all():
            values = np.where(valid, values, 0.0)
        units, exact = to_units(values, self._scales.take(rows, axis=1))
        if not exact.all():
            units, exact = self._refined(rows, values, exact)
        valid &= exact.all(axis=0) & (units[0].astype(np.float64) * units[1] < PRODUCT_LIMIT)
        return units if valid.all() else units * valid

    def _refined(self, rows: Ints, values: Floats, exact: Bools) -> tuple[Ints, Bools]:
        """`to_units` at scales that are as fine as these trades ask for: the first of each row says nearly all."""
        inexact = np.flatnonzero(~exact.all(axis=0))
        for positions in (inexact[np.unique(rows[inexact], return_index=True)[1]], inexact):
            for i in positions[~exact[:, positions].all(axis=0)].tolist():
                self._refine(int(rows[i]), *values[:, i].tolist())
            units, exact = to_units(values, self._scales.take(rows, axis=1))
        return units, exact

    def exact_units(self, row: int, prices: Sequence[Decimal], size: Decimal) -> tuple[list[int], int] | None:
        """Prices in ticks and a size in lots of `row`, made finer where needed; None where that leaves no room."""
        price_scale = max(decimals_of(price) for price in prices)
        if not self._make_finer(row, price_scale, decimals_of(size)):
            return None
        price_scale, size_scale = int(self.price_scale[row]), int(self.size_scale[row])
        return [int(price.scaleb(price_scale)) for price in prices], int(size.scaleb(size_scale))

    def quotient_digits(self, rows: Ints) -> Ints:
        """What brings lots over ticks of these rows to the digits of an inverse turnover (bars.quotients)."""
        digits: Ints = INVERSE_TURNOVER_DIGITS + self.price_scale[rows] - self.size_scale[rows]
        return digits

    def _add(self, symbols: Sequence[str]) -> None:
        for symbol in symbols:
            if symbol not in self._row_of:
                self._row_of[symbol] = len(self.names)
                self.names.append(symbol)
        added = np.zeros((2, len(self.names) - len(self.price_scale)), np.int64)
        self._scales = np.concatenate((self._scales, added), axis=1)
        self.price_scale, self.size_scale = self._scales
        self._grow(len(self.names))

    def _refine(self, row: int, price: float, size: float) -> None:
        """Make ticks and lots of `row` fine enough for this trade, where that leaves room for all it holds."""
        price_scale, size_scale = scale_of(price), scale_of(size)
        if price_scale is None or size_scale is None:
            return
        if not (self.price_scale[row] or self.size_scale[row]):
            price_scale, size_scale = with_spare_digits(price, price_scale), with_spare_digits(size, size_scale)
        self._make_finer(row, price_scale, size_scale)

    def _make_finer(self, row: int, price_scale: int, size_scale: int) -> bool:
        price_finer = max(price_scale - int(self.price_scale[row]), 0)
        size_finer = max(size_scale - int(self.size_scale[row]), 0)
        if not (price_finer or size_finer):
            return True
        if not self._rescale(row, 10**price_finer, 10**size_finer):
            return False
        self.price_scale[row] += price_finer
        self.size_scale[row] += size_finer
        return True
