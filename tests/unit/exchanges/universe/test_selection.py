"""Which symbols are followed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.universe.selection import as_symbol, is_plausible, most_traded, quote_of
from model.records import Instrument


def listed(*turnovers: float, quote: str = "USDT") -> list[Instrument]:
    return [Instrument(f"S{number}", f"C{number}", quote, turnover) for number, turnover in enumerate(turnovers)]


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("BTC", "BTCUSDT"),
        ("BTCUSDT", "BTCUSDT"),
        ("BTCUSD", "BTCUSD"),
        ("BTCPERP", "BTCPERP"),
        ("BTC-26DEC25", "BTC-26DEC25"),
        ("USDC", "USDCUSDT"),
        ("1000PEPE", "1000PEPEUSDT"),
    ],
)
def test_a_coin_alone_is_quoted_in_the_usual(name: str, symbol: str) -> None:
    """Without a listing."""
    assert as_symbol(name, "USDT") == symbol


def test_the_usual_quote_is_the_markets_unless_one_is_named() -> None:
    """Inverse is in dollars."""
    assert (quote_of("linear", None), quote_of("inverse", None), quote_of("spot", "EUR")) == ("USDT", "USD", "EUR")


def test_the_highest_turnover_comes_first() -> None:
    """Equal ones by name, so that two runs agree."""
    assert most_traded(listed(1, 5, 5, 9), None, 3) == ["S3", "S1", "S2"]
    assert most_traded(listed(1, 5), None, None) == ["S1", "S0"]


def test_only_the_given_quote_is_taken() -> None:
    """None takes all."""
    both = [*listed(1), Instrument("BTCEUR", "BTC", "EUR", 9)]
    assert most_traded(both, "USDT", None) == ["S0"]
    assert most_traded(both, None, None) == ["BTCEUR", "S0"]


def test_two_that_change_ranks_at_the_limit_do_not_flap() -> None:
    """The one followed stays until it is clearly behind; one that comes far to the front takes a place at once."""
    ten = listed(*range(20, 0, -1))
    followed = {f"S{number}" for number in (*range(9), 10)}
    assert set(most_traded(ten, None, 10, followed)) == followed
    assert set(most_traded(ten, None, 10, {f"S{number}" for number in range(1, 11)})) == {f"S{n}" for n in range(10)}
    far = {f"S{number}" for number in (*range(9), 15)}
    assert set(most_traded(ten, None, 10, far)) == {f"S{number}" for number in range(10)}


@given(st.lists(st.floats(0, 1e12), max_size=60), st.integers(1, 40), st.sets(st.integers(0, 59)))
def test_the_limit_holds_whatever_was_followed(turnovers: list[float], limit: int, before: set[int]) -> None:
    """As many as there may be, each once."""
    chosen = most_traded(listed(*turnovers), None, limit, {f"S{number}" for number in before})
    assert len(chosen) == len(set(chosen)) == min(limit, len(turnovers))


def test_a_market_does_not_lose_half_of_its_symbols() -> None:
    """Half an answer is no delisting."""
    assert is_plausible("ABCD", "ABCD")
    assert is_plausible("AB", "ABCD")
    assert not is_plausible("A", "ABCD")
    assert not is_plausible("", "")
    assert is_plausible("ABC", "")
