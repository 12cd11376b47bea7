"""The contract sizes of one market's symbols, and the klines that wait for one. Pure; one thread.

A kline of a symbol whose size is not known is withheld, and goes out when it is.
"""

from collections.abc import Callable
from decimal import Decimal

import numpy as np
from msgspec.structs import replace

from aggregation.klines.arithmetic import ONE, Arithmetic
from aggregation.klines.bars import Ints
from model.ports import Report
from model.records import Kline

WHOLE, UNKNOWN = 0, 1  # indexes of sizes: 1, and one that is not known
WITHHELD_MOST = 50_000  # klines of one market, some 35 MB: beyond it the oldest are dropped, and counted
WITHHELD = (
    "{}: klines are held back until its contract size is known: "
    "see that the exchange lists it and can be read (REST_URL), or leave it out of SYMBOLS"
)
DROPPED = "{}: a kline that waited for the contract size was dropped, more than {} wait: see contract_size_unknown"

SizeOf = Callable[[str], Decimal | None]
"""How much of the base coin (of inverse contracts, how many dollars) a size of 1 of a symbol is; None: not known."""


class SymbolContracts:
    """The size of each row's contracts, as an index into `sizes`; `size_of` None: all sizes are in the base coin."""

    def __init__(self, arithmetic: Arithmetic, size_of: SizeOf | None, report: Report) -> None:
        self._arithmetic, self._report = arithmetic, report
        self._size_of = size_of if arithmetic.has_contracts else None
        self.sizes: list[Decimal | None] = [ONE, None]
        self.of_row: Ints = np.zeros(0, np.int64)
        self._withheld: dict[int, dict[tuple[int, int], Kline]] = {}  # by row, then by interval and start
        self._count = 0

    @property
    def are_given(self) -> bool:
        """Whether sizes come from outside, and may change."""
        return self._arithmetic.has_contracts

    def grow(self, rows: int) -> None:
        """Add rows for up to `rows` symbols."""
        added = np.full(rows - len(self.of_row), UNKNOWN if self.are_given else WHOLE)
        self.of_row = np.concatenate((self.of_row, added))

    def forget(self, row: int) -> None:
        """Reset `row` to the state of a symbol never seen."""
        self.of_row[row] = UNKNOWN if self.are_given else WHOLE
        self._count -= len(self._withheld.pop(row, ()))

    def observe(self, row: int, symbol: str) -> tuple[Decimal | None, Decimal | None] | None:
        """Look the size of a symbol up: what it was and is, None where that is the same; a known one stays known."""
        before, now = self.sizes[self.of_row[row]], self._size_of(symbol) if self._size_of else None
        if now is None or now <= 0 or now == before:
            return None
        if now not in self.sizes:
            self.sizes.append(now)
        self.of_row[row] = self.sizes.index(now)
        return before, now

    def withhold(self, row: int, kline: Kline) -> None:
        """Keep a kline until the size is known; a revision takes the place of what it revises."""
        own, key = self._withheld.setdefault(row, {}), (kline.interval, kline.timestamp)
        self._count += key not in own
        own[key] = kline
        self._report("contract_size_unknown", WITHHELD.format(kline.symbol).encode())
        if self._count > WITHHELD_MOST:
            longest = max(self._withheld.values(), key=len)
            dropped = longest.pop(next(iter(longest)))
            self._count -= 1
            self._report("unsized_kline_dropped", DROPPED.format(dropped.symbol, WITHHELD_MOST).encode())

    def release(self, row: int) -> list[Kline]:
        """What waited for the size of this row, in the order in which it closed."""
        size = self.sizes[self.of_row[row]]
        assert size is not None
        own = self._withheld.pop(row, {})
        self._count -= len(own)
        return [kline if kline.source == "exchange" else self._sized(kline, size) for kline in own.values()]

    def _sized(self, kline: Kline, size: Decimal) -> Kline:
        arithmetic = self._arithmetic
        volume = arithmetic.volume_of(kline.volume, size)
        return replace(kline, volume=volume, turnover=arithmetic.turnover_of(kline.turnover, kline.trade_count, size))
