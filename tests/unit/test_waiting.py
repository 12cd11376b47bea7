"""The tests' own wait: until something is there, and no error of what is not there yet."""

import pytest

from tests.support.waiting import wait_until


@pytest.mark.parametrize("error", [LookupError, KeyError, IndexError, ValueError])
def test_what_is_not_there_yet_is_waited_for(error):
    looks = iter([error("nothing yet"), False, True])

    def is_there() -> object:
        look = next(looks)
        if isinstance(look, Exception):
            raise look
        return look

    wait_until(is_there, poll_s=0)
    assert next(looks, None) is None


def test_what_never_comes_fails_with_its_reason():
    with pytest.raises(AssertionError, match="not true within 0 s") as caught:
        wait_until(lambda: max([]), 0)
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_error_of_another_kind_is_shown_at_once():
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 / 0)
