"""Packing PUBLISH and reading replies."""

from typing import Any

import hiredis
import pytest

from consumers.redis.protocol import Packer, ReplyReader, sum_single_digits

PAYLOADS = [b"", b"x", "\u00e4\u20ac".encode(), b"\r\n*3\r\n", bytes(range(256)), b"y" * 100_000]


def packed(*words: Any) -> Any:
    return hiredis.pack_command((b"PUBLISH", *words))


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("channel", ["stream:bybit_trades", b"stream:bybit_trades", "k\u00e4nal"])
def test_command_is_the_one_hiredis_packs(channel, payload):
    """Byte for byte the same command as the library's, whatever the payload holds."""
    assert Packer().pack((channel, payload)) == packed(channel, payload)


@pytest.mark.parametrize("count", [1, 3, 50])
def test_many_commands_are_those_of_each(count):
    """However they are put together, and whichever lengths came before."""
    packer = Packer()
    payloads = [payload for payload in PAYLOADS for _ in range(count)]
    batches = [(channel, payloads, 0) for channel in ("one", b"another", "one")]
    pieces = packer.pieces(batches)
    assert b"".join(pieces) == b"".join(packed(channel, each) for channel, _, _ in batches for each in payloads)
    assert len(pieces) // 2 == 3 * len(payloads)
    assert packer.pieces([]) == []


@pytest.mark.parametrize(
    ("data", "receivers"),
    [(b":1\r\n:0\r\n:9\r\n", 10), (b":12\r\n", None), (b":1\r\n:1\r", None), (b"-ERR\r\n", None), (b"", None)],
)
def test_replies_of_one_digit_are_read_at_once(data, receivers):
    """And nothing else is taken for such."""
    assert sum_single_digits(data) == receivers


def test_replies_cut_anywhere_are_counted_whole():
    """The network cuts replies where it likes."""
    data = b":1\r\n:0\r\n-NOPERM no\r\n:12\r\n"
    for cut in range(len(data)):
        reader = ReplyReader()
        parts = [reader.feed(data[:cut]), reader.feed(data[cut:])]
        assert sum(part.count for part in parts) == 4
        assert sum(part.receivers for part in parts) == 13
        assert [text for part in parts for _, text in part.refused] == ["NOPERM no"]


def test_refusals_carry_their_position():
    """The account must have which message was refused."""
    assert ReplyReader().feed(b":1\r\n-ERR a\r\n:1\r\n-ERR b\r\n").refused == [(1, "ERR a"), (3, "ERR b")]


def test_bytes_that_are_not_redis_raise():
    """Something else listens on that port: the connection is given up."""
    with pytest.raises(hiredis.ProtocolError):
        ReplyReader().feed(b"HTTP/1.1 400 Bad Request\r\n")


def test_an_unfinished_reply_is_bounded():
    """No number and no line of an error is so long."""
    reader = ReplyReader()
    assert reader.feed(b"$2000000000\r\n" + b"x" * 1_000_000).count == 0
    with pytest.raises(hiredis.ProtocolError, match="larger than"):
        reader.feed(b"x" * 65_536)
