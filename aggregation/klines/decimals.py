"""Decimals as integers at a scale, and back, so that sums are exact.

Pure. A price of 92967.8 at scale 2 is 9296780 ticks. int64 and vectors for what a machine's integer holds easily, which
is all that is usual; Python's integers for the rest (`written_decimal`, `units_of`). Nothing is ever rounded.
"""

import functools
from collections.abc import Iterable
from decimal import Context, Decimal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MAX_SCALE = 14
EXACT_LIMIT = float(2**50)  # more than 15 digits need; up to 2**53 a division gives the double they are read as
SPARE_DIGITS = 3  # a symbol's first trade seldom shows all its decimals, and to rescale later costs a millisecond
SPARE_LIMIT = 1e7  # units up to which digits are spared: a month of lots must stay far below 2**63
POWERS = tuple(float(10**scale) for scale in range(MAX_SCALE + 1))  # all exact in binary64
MULTIPLIERS = np.array(POWERS)
MOST_DIGITS = 15  # of a text: doubles are different for any two such
MOST, LEAST = 1e30, 1e-30  # prices and sizes beyond them are garbage: all the money there is has 16 digits
WIDEST_SCALE = 30 + MOST_DIGITS  # of a price or a size within them
FRACTIONS = tuple(Decimal(1).scaleb(-scale) for scale in range(2 * WIDEST_SCALE + 1))  # a turnover has both scales
ZEROS_AT_ONCE = (16, 8, 4, 2, 1)  # trailing zeros that are looked for: together more than any scale
EXACTLY = Context(prec=500)  # far more digits than a sum of products of such numbers has, so it never rounds
_multiply = EXACTLY.multiply


def to_units(values: Floats, scales: Ints) -> tuple[Ints, Bools]:
    """`values` (nearest doubles of decimals) as integers at `scales`, and which of them are exact; the others are 0.

    Of scales beyond MAX_SCALE, which wide symbols may have, the numbers mean nothing.
    """
    multipliers = MULTIPLIERS.take(scales, mode="clip")
    units = np.rint(values * multipliers)
    exact = (units / multipliers == values) & (units < EXACT_LIMIT)
    return (units if exact.all() else np.where(exact, units, 0)).astype(np.int64), exact


def scale_of(value: float) -> int | None:
    """The smallest scale at which `value` is an exact integer, None where there is none."""
    for scale, power in enumerate(POWERS):
        scaled = value * power
        if not scaled < EXACT_LIMIT:
            return None
        if round(scaled) / power == value:
            return scale
    return None


def with_spare_digits(value: float, scale: int) -> int:
    """`scale`, or one finer by up to SPARE_DIGITS where `value` stays a small number of units."""
    spare = (finer for finer in range(min(scale + SPARE_DIGITS, MAX_SCALE), scale, -1))
    return next((finer for finer in spare if value * POWERS[finer] < SPARE_LIMIT), scale)


def decimals_of(value: Decimal) -> int:
    """Digits after the point, trailing zeros not counted."""
    exponent = value.normalize(EXACTLY).as_tuple().exponent
    assert isinstance(exponent, int)
    return max(-exponent, 0)


def written_decimal(value: float) -> Decimal | None:
    """The decimal that was read as `value`, None where others with as many digits would be read as it, too."""
    shortest = Decimal(repr(value)).normalize(EXACTLY)
    return shortest if len(shortest.as_tuple().digits) <= MOST_DIGITS else None


def units_of(value: Decimal, scale: int) -> int:
    """`value` as an integer at `scale`, which is at least its own."""
    return int(value.scaleb(scale, EXACTLY))


def total(values: Iterable[Decimal]) -> Decimal:
    """The sum, however many digits it has: Decimal's own rounds at 28."""
    return functools.reduce(EXACTLY.add, values, Decimal(0))


def plain(value: Decimal) -> Decimal:
    """`value` without trailing zeros after the point, and without an exponent."""
    whole = value.to_integral_value()
    return whole.quantize(Decimal(1), context=EXACTLY) if value == whole else value.normalize(EXACTLY)


def exact(units: int, scale: int) -> Decimal:
    """`units` at `scale` as a Decimal without trailing zeros after the point."""
    while scale and units % 10 == 0:
        units //= 10
        scale -= 1
    return _multiply(units, FRACTIONS[scale])  # quicker than reading a text, or than making a Decimal of it first


def exact_all(units: Ints, scales: Ints) -> list[Decimal]:
    """`exact` of each of `units` at its scale: a third of the time where there are hundreds."""
    if units.dtype == object:
        return list(map(exact, units.tolist(), scales.tolist()))
    for digits in ZEROS_AT_ONCE:
        ends = (scales >= digits) & (units % 10**digits == 0)
        if ends.any():
            units = np.where(ends, units // 10**digits, units)
            scales = scales - digits * ends
    return list(map(_multiply, units.tolist(), [FRACTIONS[scale] for scale in scales.tolist()]))
