"""Decoded trades as columns, and columns as arrays. Pure."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from aggregation.klines.bars import FAR, Ints

Written = tuple[Decimal, Decimal]
"""Price and size of a trade."""


@dataclass
class Trades:
    """Decoded trades of one market, in stream order; six equally long columns.

    `event_ms` is the exchange's match time; `seq` its sequence number, 0 where it sends none.
    """

    symbols: list[str]
    event_ms: list[int]
    prices: list[float]
    sizes: list[float]
    seqs: list[int]
    ids: list[str]
    broken: list[str] = field(default_factory=list)  # symbols of which a trade could not be read
    # Prices and sizes to the last digit, for the few trades that need it; empty where nobody can tell.
    written: Callable[[], Sequence[Written]] = field(default=tuple, kw_only=True)

    def at(self, positions: Ints) -> "Trades":
        """Those at these positions."""
        kept = positions.tolist()
        return Trades(
            [self.symbols[i] for i in kept],
            [self.event_ms[i] for i in kept],
            [self.prices[i] for i in kept],
            [self.sizes[i] for i in kept],
            [self.seqs[i] for i in kept],
            [self.ids[i] for i in kept],
            self.broken,
            written=lambda: [written[i] for i in kept] if len(written := self.written()) == len(self.symbols) else (),
        )


def floats(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """`values` as an array."""
    return np.frombuffer(struct.pack(f"{len(values)}d", *values))  # a third of the time of an array of the list


def int64s(values: Sequence[int], instead: int) -> Ints:
    """`values`, with `instead` for what no int64 holds."""
    try:
        return np.fromiter(values, np.int64, len(values))  # a third quicker than an array of the list
    except OverflowError:
        return np.array([value if -FAR < value < FAR else instead for value in values], np.int64)
