"""Decimal strings' values as integers, and back: what makes sums exact.

Pure. A price of 92967.8 at scale 2 is 9296780 ticks. Exact for up to 15 significant digits, which is
more than any tick or lot size of the exchange needs; beyond that a value is refused, never rounded.
"""

from decimal import Decimal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_SCALE = 14
EXACT_LIMIT = float(2**50)  # scaled values below it keep their digits apart by more than the rounding error
ROUNDING = 2.0**-51  # two roundings of half a unit each: reading the text, scaling
MULTIPLIERS = 10.0 ** np.arange(MAX_SCALE + 1)  # all exact in binary64


def to_units(values: Floats, scales: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """`values` (nearest doubles of decimals) as integers at `scales`, and which of them are exact."""
    scaled = values * MULTIPLIERS[scales]
    units = np.rint(scaled)
    exact = (np.abs(scaled - units) <= scaled * ROUNDING) & (scaled < EXACT_LIMIT)
    return np.where(exact, units, 0).astype(np.int64), exact


def scale_of(value: float) -> int | None:
    """The smallest scale at which `value` is an exact integer, None where there is none."""
    for scale in range(MAX_SCALE + 1):
        scaled = value * MULTIPLIERS[scale]
        if scaled >= EXACT_LIMIT:
            return None
        if abs(scaled - np.rint(scaled)) <= scaled * ROUNDING:
            return scale
    return None


def exact(units: int, scale: int) -> Decimal:
    """`units` at `scale` as a Decimal without trailing zeros after the point."""
    if not scale:
        return Decimal(units)
    whole, fraction = divmod(units, 10**scale)
    if not fraction:
        return Decimal(whole)
    return Decimal(f"{whole}.{fraction:0{scale}d}".rstrip("0"))
