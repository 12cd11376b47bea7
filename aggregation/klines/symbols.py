"""The symbols of one market: their rows in the table, and how fine their ticks and lots are.

Pure. A symbol's scale grows when a price or size has more decimals than any before; what was counted until
then is multiplied, so that no digit is lost. Where an int64 does not hold that, the symbol is wide from then on: its
ticks and lots are Python's integers, for any number may come after it.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

import numpy as np

from aggregation.klines.bars import Ints
from aggregation.klines.decimals import (
    EXACT_LIMIT,
    LEAST,
    MAX_SCALE,
    MOST,
    WIDEST_SCALE,
    Bools,
    Floats,
    decimals_of,
    scale_of,
    to_units,
    units_of,
    with_spare_digits,
    written_decimal,
)
from model.records import Written

Rescale = Callable[[int, int, int], bool]
"""Multiply all that was counted of a row by a price and a size factor; False where an int64 does not hold that."""


class TooManySymbolsError(ValueError):
    """A symbol gets no row: there are too many names that only trades have."""


class Symbols:
    """Rows and scales; one thread only.

    `grow(rows)` is called when there are more of them, `widened(row)` when one becomes wide.
    """

    def __init__(self, grow: Callable[[int], None], rescale: Rescale, widened: Callable[[int], None]) -> None:
        self.names: list[str] = []
        self._scales: Ints = np.zeros((2, 0), np.int64)
        self.price_scale, self.size_scale = self._scales
        self._row_of: dict[str, int] = {}
        self._grow, self._rescale, self._widened = grow, rescale, widened
        self.is_wide: Bools = np.zeros(0, np.bool_)
        self.has_wide = False

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

    def row_of(self, symbol: str) -> int | None:
        """The row of a symbol; None where it has none. Any thread."""
        return self._row_of.get(symbol)

    def known(self, symbols: Sequence[str]) -> set[int]:
        """The rows of the symbols that have one."""
        return {self._row_of[symbol] for symbol in symbols if symbol in self._row_of}

    def positions_of_known(self, symbols: Sequence[str]) -> Ints:
        """The positions in `symbols` of names that have a row."""
        return np.flatnonzero([symbol in self._row_of for symbol in symbols])

    def units(
        self, rows: Ints, prices: Floats, sizes: Floats, written: Callable[[], Sequence[Written]] = tuple
    ) -> Ints:
        """Ticks and lots, shape (2, n); a column of zeros for a trade that cannot be counted.

        Python's integers where one is of a wide symbol, which it may have become by these trades. `written()` gives
        them as decimals, for the trades whose float stands for several.
        """
        values = np.stack((prices, sizes))
        valid = ((values > 0) & (values < EXACT_LIMIT)).all(axis=0)
        countable = np.where(valid, values, 0.0) if not valid.all() else values
        units, exact = to_units(countable, self._scales.take(rows, axis=1))
        if not exact.all():
            units, exact = self._refined(rows, countable, exact)
        valid &= exact.all(axis=0)
        if valid.all() and not self.any_wide(rows):
            return units
        return self._with_wide(rows, values, units * valid, written)

    def any_wide(self, rows: Ints) -> bool:
        """Whether one of these is a wide symbol's."""
        return self.has_wide and bool(self.is_wide[rows].any())

    def _with_wide(self, rows: Ints, values: Floats, units: Ints, written: Callable[[], Sequence[Written]]) -> Ints:
        """`units` (zeros where int64 does not do) with those of wide symbols."""
        countable = ((values >= LEAST) & (values <= MOST)).all(axis=0)
        decimals = _Decimals(values, written)
        for i in np.flatnonzero(countable & (self.is_wide[rows] | (units[0] == 0))).tolist():
            if decimals.find(i):
                self.widen(int(rows[i]))
        is_wide = self.is_wide[rows]
        if not is_wide.any():
            return units
        for i in np.flatnonzero(is_wide & (units[0] > 0)).tolist():
            decimals.find(i)
        for i, (price, size) in decimals.found.items():
            self._make_finer(int(rows[i]), decimals_of(price), decimals_of(size))
        mixed: Ints = np.where(is_wide, 0, units).astype(object)
        for i, (price, size) in decimals.found.items():
            row = rows[i]
            mixed[:, i] = units_of(price, int(self.price_scale[row])), units_of(size, int(self.size_scale[row]))
        return mixed

    def can_count(self, prices: Sequence[float], sizes: Sequence[float]) -> bool:
        """Whether all of these trades have a price and a size, and it is certain which."""
        return all(
            LEAST <= price <= MOST and LEAST <= size <= MOST and _certain(price, size) is not None
            for price, size in zip(prices, sizes, strict=True)
        )

    def widen(self, row: int) -> None:
        """Count this symbol in Python's integers from now on."""
        if not self.is_wide[row]:
            self._widened(row)
            self.is_wide[row] = self.has_wide = True

    def forget(self, row: int) -> None:
        """Begin ticks and lots of this symbol anew; nothing counted in the old ones is left."""
        self._scales[:, row] = 0
        self.is_wide[row] = False
        self.has_wide = bool(self.is_wide.any())

    def _refined(self, rows: Ints, values: Floats, exact: Bools) -> tuple[Ints, Bools]:
        """`to_units` at scales as fine as these trades need: the first of each row shows nearly all."""
        inexact = np.flatnonzero(~exact.all(axis=0))
        for positions in (inexact[np.unique(rows[inexact], return_index=True)[1]], inexact):
            for i in positions[~exact[:, positions].all(axis=0)].tolist():
                self._refine(int(rows[i]), *values[:, i].tolist())
            units, exact = to_units(values, self._scales.take(rows, axis=1))
        return units, exact

    def make_finer_for(self, row: int, prices: Sequence[Decimal], size: Decimal, product_digits: int) -> None:
        """Make ticks and lots of `row` as fine as these are, and so that together they have so many decimals."""
        price_scale = max(int(self.price_scale[row]), *map(decimals_of, prices))
        size_scale = max(decimals_of(size), product_digits - price_scale)
        if not self._make_finer(row, price_scale, size_scale):
            self.widen(row)
            self._make_finer(row, price_scale, size_scale)

    def exact_units(self, row: int, prices: Sequence[Decimal], size: Decimal) -> tuple[list[int], int]:
        """Prices in ticks and a size in lots of `row`, which are fine enough."""
        price_scale, size_scale = int(self.price_scale[row]), int(self.size_scale[row])
        return [units_of(price, price_scale) for price in prices], units_of(size, size_scale)

    def quotient_exponents(self, rows: Ints, digits: int) -> Ints:
        """Exponents of ten that bring lots over ticks to so many digits of an inverse turnover (bars.quotients)."""
        exponents: Ints = digits + self.price_scale[rows] - self.size_scale[rows]
        return exponents

    def _add(self, symbols: Sequence[str]) -> None:
        for symbol in symbols:
            if symbol not in self._row_of:
                self._row_of[symbol] = len(self.names)
                self.names.append(symbol)
        added = np.zeros((2, len(self.names) - len(self.price_scale)), np.int64)
        self._scales = np.concatenate((self._scales, added), axis=1)
        self.price_scale, self.size_scale = self._scales
        self.is_wide = np.concatenate((self.is_wide, np.zeros(added.shape[1], np.bool_)))
        self._grow(len(self.names))

    def _refine(self, row: int, price: float, size: float) -> None:
        """Make ticks and lots of `row` fine enough for this trade, where that leaves headroom for all it holds."""
        price_scale, size_scale = scale_of(price), scale_of(size)
        if price_scale is None or size_scale is None or self.is_wide[row]:
            return
        if not (self.price_scale[row] or self.size_scale[row]):
            price_scale, size_scale = with_spare_digits(price, price_scale), with_spare_digits(size, size_scale)
        self._make_finer(row, price_scale, size_scale)

    def _make_finer(self, row: int, price_scale: int, size_scale: int) -> bool:
        price_finer = max(price_scale - int(self.price_scale[row]), 0)
        size_finer = max(size_scale - int(self.size_scale[row]), 0)
        if not (price_finer or size_finer):
            return True
        if not self.is_wide[row] and max(price_scale, size_scale) > MAX_SCALE:
            return False
        if not self._rescale(row, 10**price_finer, 10**size_finer):
            return False
        self.price_scale[row] += price_finer
        self.size_scale[row] += size_finer
        return True


class _Decimals:
    """The decimals of trades as they were written: `found`, by position."""

    def __init__(self, values: Floats, written: Callable[[], Sequence[Written]]) -> None:
        self.found: dict[int, Written] = {}
        self._values, self._written = values, written
        self._texts: Sequence[Written] | None = None

    def find(self, position: int) -> bool:
        """Find the decimals that one trade was written as; False where they are not certain."""
        price, size = self._values[:, position].tolist()
        written = _certain(price, size) or self._read(position, price, size)
        if written:
            self.found[position] = written
        return written is not None

    def _read(self, position: int, price: float, size: float) -> Written | None:
        if self._texts is None:
            self._texts = self._written()
        if len(self._texts) != self._values.shape[1]:
            return None
        written = self._texts[position]
        is_same = (float(written[0]), float(written[1])) == (price, size)
        return written if is_same and max(map(decimals_of, written)) <= WIDEST_SCALE else None


def _certain(price: float, size: float) -> Written | None:
    decimals = written_decimal(price), written_decimal(size)
    return None if decimals[0] is None or decimals[1] is None else (decimals[0], decimals[1])
