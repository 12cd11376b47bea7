"""Several takers of one payload, at no price where there is one."""

import pytest

from callbacks.taps import together


def test_one_taker_is_itself():
    """No call in between on the way of every payload."""
    assert together([None, print, None]) is print
    assert together([None]) is None


@pytest.mark.parametrize("count", [2, 3, 5])
def test_all_take_the_same_payload_in_order(count):
    """The raw publisher stands first and is served first."""
    taken = []
    takers = [lambda payload, number=number: taken.append((number, payload)) for number in range(count)]
    payload = b"exact"
    together([None, *takers])(payload)

    assert [number for number, _ in taken] == list(range(count))
    assert all(got is payload for _, got in taken)
