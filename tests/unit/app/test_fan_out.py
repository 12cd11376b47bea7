"""Several takers of the same payloads, at no price where there is one."""

from typing import Any

import pytest

from app.fan_out import each, together


def test_one_taker_is_itself():
    """No call in between on the way of every payload."""
    assert together([None, print, None]) is print
    assert together([None]) is None


@pytest.mark.parametrize("count", [2, 3, 5])
def test_all_take_the_same_payload_in_order(count):
    """The raw publisher stands first and is served first."""
    taken: list[Any] = []

    def taker(number):
        return lambda payloads: taken.append((number, payloads))

    payloads = [b"exact", b"bytes"]
    all_of_them = together([None, *map(taker, range(count))])
    assert all_of_them
    all_of_them(payloads)

    assert [number for number, _ in taken] == list(range(count))
    assert all(got is payloads for _, got in taken)


def test_a_taker_of_one_gets_each():
    """In their order."""
    taken: list[bytes] = []
    each(taken.append)([b"1", b"2"])

    assert taken == [b"1", b"2"]
