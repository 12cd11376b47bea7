"""Decimal strings' values as integers, and back: what makes sums exact.

Pure. A price of 92967.8 at scale 2 is 9296780 ticks. Exact for up to 15 significant digits, which is
more than any tick or lot size of the exchange needs; beyond that a value is refused, never rounded.
"""

from decimal import Context, Decimal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MAX_SCALE = 14
EXACT_LIMIT = float(2**50)  # scaled values below it keep their digits apart by more than the rounding error
SPARE_DIGITS = 3  # a symbol's first trade seldom shows all its decimals, and to rescale later costs a millisecond
SPARE_LIMIT = 1e7  # units up to which digits are spared: a month of lots must stay far below 2**63
ROUNDING = 2.0**-51  # two roundings of half a unit each: reading the text, scaling
POWERS = tuple(float(10**scale) for scale in range(MAX_SCALE + 1))  # all exact in binary64
MULTIPLIERS = np.array(POWERS)
FRACTIONS = tuple(Decimal(1).scaleb(-scale) for scale in range(2 * MAX_SCALE + 1))  # a turnover has both scales
ZEROS_AT_ONCE = (16, 8, 4, 2, 1)  # trailing zeros that are looked for: together more than any scale
_multiply = Context(prec=60).multiply  # far more digits than a turnover has, so it never rounds


def to_units(values: Floats, scales: Ints) -> tuple[Ints, Bools]:
    """`values` (nearest doubles of decimals) as integers at `scales`, and which of them are exact; the others are 0."""
    scaled = values * MULTIPLIERS.take(scales)
    units = np.rint(scaled)
    exact = (np.abs(scaled - units) <= scaled * ROUNDING) & (scaled < EXACT_LIMIT)
    return (units if exact.all() else np.where(exact, units, 0)).astype(np.int64), exact


def scale_of(value: float) -> int | None:
    """The smallest scale at which `value` is an exact integer, None where there is none."""
    for scale, power in enumerate(POWERS):
        scaled = value * power
        if not scaled < EXACT_LIMIT:
            return None
        if abs(scaled - round(scaled)) <= scaled * ROUNDING:
            return scale
    return None


def with_spare_digits(value: float, scale: int) -> int:
    """`scale`, or one finer by up to SPARE_DIGITS where `value` stays a small number of units."""
    spare = (finer for finer in range(min(scale + SPARE_DIGITS, MAX_SCALE), scale, -1))
    return next((finer for finer in spare if value * POWERS[finer] < SPARE_LIMIT), scale)


def decimals_of(value: Decimal) -> int:
    """Digits after the point, trailing zeros not counted."""
    exponent = value.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(-exponent, 0)


def exact(units: int, scale: int) -> Decimal:
    """`units` at `scale` as a Decimal without trailing zeros after the point."""
    while scale and units % 10 == 0:
        units //= 10
        scale -= 1
    return _multiply(units, FRACTIONS[scale])  # quicker than reading a text, or than making a Decimal of it first


def exact_all(units: Ints, scales: Ints) -> list[Decimal]:
    """`exact` of each of `units` at its scale: a third of the time where there are hundreds."""
    for digits in ZEROS_AT_ONCE:
        ends = (scales >= digits) & (units % 10**digits == 0)
        if ends.any():
            units = np.where(ends, units // 10**digits, units)
            scales = scales - digits * ends
    return list(map(_multiply, units.tolist(), [FRACTIONS[scale] for scale in scales.tolist()]))
