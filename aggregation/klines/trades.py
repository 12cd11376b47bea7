"""Decoded trades as columns, and columns as arrays. Pure."""

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from aggregation.klines.bars import FAR, Ints


def floats(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """`values` as an array."""
    return np.frombuffer(struct.pack(f"{len(values)}d", *values))  # a third of the time of an array of the list


def int64s(values: Sequence[int], instead: int) -> Ints:
    """`values`, with `instead` for what no int64 holds."""
    try:
        return np.fromiter(values, np.int64, len(values))  # a third quicker than an array of the list
    except OverflowError:
        return np.array([value if -FAR < value < FAR else instead for value in values], np.int64)
