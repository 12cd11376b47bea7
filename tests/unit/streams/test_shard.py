"""Names over n processes: each in one, few that move."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.shard import Shard, owner_of

NAMES = [f"SIM{number:04d}USDT" for number in range(2000)]


@given(st.text(), st.integers(1, 12))
def test_every_name_has_exactly_one_owner(name: str, count: int) -> None:
    """Whatever it is called."""
    assert sum(Shard(index, count).owns(name) for index in range(1, count + 1)) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_one_process_more_takes_its_share_and_moves_no_other(count: int) -> None:
    """1/(n+1) of the names, each from where it was to the new process."""
    moved = [name for name in NAMES if owner_of(name, count) != owner_of(name, count + 1)]
    assert {owner_of(name, count + 1) for name in moved} == {count + 1}
    assert len(moved) == pytest.approx(len(NAMES) / (count + 1), rel=0.15)


def test_shares_are_about_equal() -> None:
    """No process has half of the market."""
    shares = Counter(owner_of(name, 4) for name in NAMES)
    assert all(400 < share < 600 for share in shares.values())


def test_owners_are_the_same_in_every_run() -> None:
    """Processes agree without talking: these values must never change."""
    assert [owner_of(name, 3) for name in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")] == [3, 1, 1, 2, 3]


@pytest.mark.parametrize(("text", "shard"), [("1/1", Shard()), ("2/3", Shard(2, 3)), (" 10/10 ", Shard(10, 10))])
def test_a_shard_is_read(text: str, shard: Shard) -> None:
    """And written as it was."""
    assert Shard.parse(text) == shard
    assert str(shard) == text.strip()


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3", "1/99999"])
def test_a_wrong_shard_is_refused_with_what_is_allowed(text: str) -> None:
    """With what was written."""
    with pytest.raises(ValueError, match="must be i/n"):
        Shard.parse(text)
