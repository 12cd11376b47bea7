"""The local book: the exchange's, or unknown."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.bybit.client.book import LocalBook, grouped

BIDS, ASKS = [["100.0", "1"], ["99.5", "2"]], [["100.5", "3"], ["101.0", "4"]]


def message(kind: str, update: int, bids: list[list[str]], asks: list[list[str]]) -> dict[str, Any]:
    """As the stream sends it."""
    return {"type": kind, "ts": 7, "data": {"s": "BTCUSDT", "b": bids, "a": asks, "u": update, "seq": 9}}


def begun() -> LocalBook:
    """A book after its snapshot."""
    book = LocalBook()
    assert book.apply(message("snapshot", 10, BIDS, ASKS))
    return book


def test_deltas_change_delete_and_add_levels() -> None:
    """Size 0 deletes; best first."""
    book = begun()
    assert book.apply(message("delta", 11, [["100.00", "0"], ["99", "5"]], [["100.5", "7"]]))
    row = book.row(50)
    assert row is not None
    assert row["b"] == [(Decimal("99.5"), 2), (Decimal(99), 5)]
    assert row["a"] == [(Decimal("100.5"), 7), (Decimal(101), 4)]
    assert (row["u"], row["seq"], row["ts"], row["s"]) == (11, 9, 7, "BTCUSDT")


def test_a_jump_makes_the_book_unknown_until_a_snapshot() -> None:
    """Deltas that fit each other do not bring it back."""
    book = begun()
    assert not book.apply(message("delta", 12, BIDS, []))
    assert not book.apply(message("delta", 13, BIDS, []))
    assert book.row(50) is None
    assert book.jumps == 1
    assert book.apply(message("snapshot", 20, [["1", "1"]], []))
    assert book.row(50)["b"] == [(1, 1)]  # type: ignore[index]


@pytest.mark.parametrize("odd", [[["1"]], [["x", "1"]], [None], 5])
def test_half_a_message_is_never_the_book(odd: Any) -> None:
    """What cannot be read makes the book unknown until a snapshot."""
    book = begun()
    with pytest.raises((ValueError, TypeError, ArithmeticError)):
        book.apply(message("delta", 11, [["99", "7"]], odd))
    assert not book.is_known
    assert book.row(5) is None
    assert book.apply(message("snapshot", 20, [["99", "7"]], [["101", "1"]]))


def test_no_change_may_be_null() -> None:
    """As Go writes an empty list."""
    book = begun()
    data: Any = message("delta", 11, [], [])
    data["data"] |= {"a": None, "b": None}
    assert book.apply(data)


def test_a_delta_before_the_snapshot_is_nothing() -> None:
    """There is nothing that it could change."""
    book = LocalBook()
    assert not book.apply(message("delta", 5, BIDS, ASKS))
    assert book.row(50) is None


def test_a_repeated_delta_changes_nothing() -> None:
    """The same u a second time."""
    book = begun()
    assert book.apply(message("delta", 10, [["100.0", "0"]], []))
    assert book.row(1)["b"] == [(100, 1)]  # type: ignore[index]


def test_u_1_replaces_the_book() -> None:
    """The exchange restarted its service, whatever the type."""
    book = begun()
    assert book.apply(message("delta", 1, [["50", "1"]], []))
    assert book.row(50)["b"] == [(50, 1)]  # type: ignore[index]
    assert book.row(50)["a"] == []  # type: ignore[index]


def test_grouped_levels_lie_on_the_outer_side() -> None:
    """A bid is never shown better than it is, nor an ask."""
    step = Decimal("0.5")
    bids = [("100.3", "1"), ("100.0", "2"), ("99.9", "3")]
    asks = [("100.4", "1"), ("100.5", "2"), ("100.6", "3")]
    assert grouped(bids, step, is_bid=True) == [(Decimal("100.0"), 3), (Decimal("99.5"), 3)]
    assert grouped(asks, step, is_bid=False) == [(Decimal("100.5"), 3), (Decimal("101.0"), 3)]


@given(st.lists(st.tuples(st.sampled_from(["1", "2", "3"]), st.sampled_from(["0", "1", "2"])), max_size=30))
def test_a_followed_book_is_the_sum_of_its_messages(changes: list[tuple[str, str]]) -> None:
    """Against a dict."""
    book, truth = LocalBook(), {}
    book.apply(message("snapshot", 1, [], []))
    for number, (price, size) in enumerate(changes, 2):
        book.apply(message("delta", number, [[price, size]], []))
        truth[Decimal(price)] = Decimal(size)
    left = sorted(((price, size) for price, size in truth.items() if size), reverse=True)
    assert book.row(50)["b"] == left  # type: ignore[index]
