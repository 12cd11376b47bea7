"""Decimal text to integers and back, to the last digit."""

from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.klines.decimals import (
    EXACT_LIMIT,
    MAX_SCALE,
    MOST_DIGITS,
    exact,
    exact_all,
    scale_of,
    to_units,
    with_spare_digits,
    written_decimal,
)

digits = st.integers(1, 10**15 - 1)
scales = st.integers(0, MAX_SCALE)
as_float = msgspec.json.Decoder(float, strict=False)


def written(units, scale):
    return format(Decimal(units).scaleb(-scale), "f")


@given(digits, scales)
def test_fifteen_digits_make_the_round_trip(units, scale):
    """Text as the exchange writes it, decoded as its payloads are, comes back as the same number."""
    text = written(units, scale)
    value = as_float.decode(f'"{text}"')
    found = scale_of(value)
    assert found is not None
    (integer,), (is_exact,) = to_units(np.array([value]), np.array([found]))

    assert is_exact
    assert exact(int(integer), found) == Decimal(text)


@given(digits, scales, scales)
def test_scale_too_coarse_is_not_called_exact(units, scale, coarser):
    """A digit that does not fit the scale is seen, never rounded away."""
    value = float(written(units, scale))
    smallest = scale_of(value)
    assert smallest is not None
    (integer,), (is_exact,) = to_units(np.array([value]), np.array([min(coarser, smallest)]))

    assert is_exact == (coarser >= smallest)
    assert is_exact or integer == 0


@given(digits, scales)
def test_smallest_scale_has_no_zero_at_the_end(units, scale):
    """Ticks are as coarse as the numbers allow."""
    expected = -min(int(Decimal(units).scaleb(-scale).normalize().as_tuple().exponent), 0)

    assert scale_of(float(written(units, scale))) == expected


@given(st.integers(1, 2**53), st.integers(0, 22), scales)
def test_a_digit_more_than_the_scale_has_is_seen(units, scale, at_scale):
    """However large the number: where floats of sixteen digits differ, none of these is rounded away."""
    (integer,), (is_exact,) = to_units(np.array([float(written(units, scale))]), np.array([at_scale]))

    assert not is_exact or Decimal(int(integer)).scaleb(-at_scale) == Decimal(units).scaleb(-scale)


@given(st.integers(1, 10**17 - 1), st.integers(-15, 45))
def test_a_decimal_of_fifteen_digits_is_known(units, scale):
    """It is the one that was read."""
    text = Decimal(units).scaleb(-scale)
    is_short = len(text.normalize().as_tuple().digits) <= MOST_DIGITS

    assert written_decimal(float(text)) == text if is_short else True


@given(st.integers(0, 10**18), scales)
def test_decimals_have_no_zero_after_the_last_digit(units, scale):
    """67250.5, not 67250.50; 100, not 1E+2."""
    decimal = exact(units, scale)
    text = f"{decimal:f}"

    assert decimal == Decimal(units).scaleb(-scale)
    assert "." not in text or text[-1] != "0"
    assert int(decimal.as_tuple().exponent) <= 0


@given(st.lists(st.tuples(st.integers(0, 2**63 - 1) | st.just(10**18), st.integers(0, 2 * MAX_SCALE)), max_size=8))
def test_many_at_once_are_as_each_alone(numbers):
    """To the digit and the exponent, which is what is printed."""
    units, scales = (np.array([number[i] for number in numbers], np.int64) for i in range(2))

    assert [str(decimal) for decimal in exact_all(units, scales)] == [str(exact(*number)) for number in numbers]


@pytest.mark.parametrize("value", [EXACT_LIMIT, 1e300, float("inf"), 1e-15, 1 / 3])
def test_what_has_too_many_digits_has_no_scale(value):
    """Refused, never rounded."""
    assert scale_of(value) is None


def test_known_sums_stay_exact():
    """The float sum of research's example is 33.40428499999953; units have no such tail."""
    assert exact(33_404_285, 6) == Decimal("33.404285")


@pytest.mark.parametrize(
    ("value", "scale", "expected"), [(5.0, 0, 3), (0.015, 3, 6), (92967.8, 1, 2), (1e9, 0, 0), (1e-14, 14, 14)]
)
def test_first_value_of_a_symbol_leaves_digits_to_spare(value, scale, expected):
    """Up to three more decimals than it shows, as long as it stays a small number of units."""
    assert with_spare_digits(value, scale) == expected
