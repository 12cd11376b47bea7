"""Batches of trades that are joined: as if their payloads had been decoded at once."""

from decimal import Decimal

import pytest

from model.records import TradeBatch


def batch(first, count, *, has_matches=False, is_written=True):
    """`count` trades from number `first` on."""
    numbers = range(first, first + count)
    return TradeBatch(
        [f"S{number}" for number in numbers],
        [*numbers],
        [float(number) for number in numbers],
        [number / 2 for number in numbers],
        [number * 10 for number in numbers],
        [f"id{number}" for number in numbers],
        [f"broken{first}"],
        written=(lambda: [(Decimal(number), Decimal(1)) for number in numbers]) if is_written else tuple,
        matches=[*numbers] if has_matches else None,
        uncounted=[("U", first)],
    )


@pytest.mark.parametrize("has_matches", [False, True])
def test_joined_batches_have_all_columns_in_order(has_matches):
    """And each trade's own digits."""
    sizes = ((0, 3), (3, 0), (3, 2))
    joined = TradeBatch.joined([batch(first, count, has_matches=has_matches) for first, count in sizes])
    whole = batch(0, 5, has_matches=has_matches)
    for name in ("symbols", "event_ms", "prices", "sizes", "seqs", "ids", "matches"):
        assert getattr(joined, name) == getattr(whole, name), name
    assert joined.broken == ["broken0", "broken3", "broken3"]
    assert joined.uncounted == [("U", 0), ("U", 3), ("U", 3)]
    assert joined.written() == whole.written()
    assert joined.at([1, 4]).written() == [(1, 1), (4, 1)]


def test_digits_are_absent_as_a_whole():
    """Where those of one batch cannot be read, positions would be of other trades."""
    assert TradeBatch.joined([batch(0, 2), batch(2, 2, is_written=False)]).written() == ()


def test_one_batch_is_itself():
    """Nothing is copied."""
    one = batch(0, 2)
    assert TradeBatch.joined([one]) is one
