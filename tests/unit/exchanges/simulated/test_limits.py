"""The limits of a simulated exchange's sockets: the exchange's own, unless the command line names another."""

import pytest

from exchanges.registry import VENUES
from exchanges.simulated.__main__ import dialect_of, limits_of
from exchanges.simulated.options import Options


@pytest.mark.parametrize("exchange", VENUES)
def test_without_options_the_limits_are_the_exchanges(exchange):
    """All of them: a ban of ten minutes where the exchange's is of a second stopped a test for good."""
    dialect = dialect_of(exchange)
    assert limits_of(Options(), dialect) == dialect.limits


def test_an_option_takes_the_place_of_one():
    """Zero is a value too."""
    changed = limits_of(Options(ban_s=0.0, connect_limit=7), dialect_of("okx"))
    assert (changed.ban_s, changed.connects, changed.connects_window_s) == (0.0, 7, 1.0)
