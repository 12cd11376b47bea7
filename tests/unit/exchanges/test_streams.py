"""What protocols of venues share."""

import gzip
import zlib

import pytest

from exchanges.streams import INFLATED_MOST, SMALL, inflated


@pytest.mark.parametrize("size", [0, 300, SMALL * 4])
def test_a_gzip_member_is_inflated(size):
    """Small and large, whatever it holds."""
    text = bytes(number * number % 251 for number in range(size))
    assert inflated(gzip.compress(text, 0)) == text


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"Ping",
        gzip.compress(b"x" * 300)[:-9],
        gzip.compress(bytes(SMALL * 2), 0)[:-9],
        gzip.compress(bytes(INFLATED_MOST * 2)),
    ],
    ids=["nothing", "text", "small and cut", "large and cut", "too large"],
)
def test_what_is_no_whole_member_or_too_large_is_refused(payload):
    """Memory for it is bounded: a small frame cannot hold much more than is allowed."""
    with pytest.raises(zlib.error):
        inflated(payload)
