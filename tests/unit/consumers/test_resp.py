"""Packing PUBLISH and reading replies."""

from collections import deque

import hiredis
import pytest

from consumers.resp import Packer, ReplyReader

PAYLOADS = [b"", b"x", "\u00e4\u20ac".encode(), b"\r\n*3\r\n", bytes(range(256)), b"y" * 100_000]


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("channel", ["stream:bybit_trades", b"stream:bybit_trades", "k\u00e4nal"])
def test_command_is_the_one_hiredis_packs(channel, payload):
    """Byte for byte the same command as the library's, whatever the payload holds."""
    assert Packer().pack((channel, payload)) == hiredis.pack_command((b"PUBLISH", channel, payload))


def test_take_stops_at_its_limit_and_keeps_the_order():
    """A write is bounded; the rest leaves with the next one."""
    waiting = deque(("c", b"%03d" % number) for number in range(10))
    packer = Packer()
    first, size = packer.take(waiting, 10)
    assert (len(first), size, len(waiting)) == (4, 12, 6)
    rest, _ = packer.take(waiting, 1_000)
    assert [command[-5:-2] for command in first + rest] == [b"%03d" % number for number in range(10)]


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
    """The ledger must know which message was refused."""
    assert ReplyReader().feed(b":1\r\n-ERR a\r\n:1\r\n-ERR b\r\n").refused == [(1, "ERR a"), (3, "ERR b")]


def test_bytes_that_are_not_redis_raise():
    """Something else listens on that port: the connection is given up."""
    with pytest.raises(hiredis.ProtocolError):
        ReplyReader().feed(b"HTTP/1.1 400 Bad Request\r\n")
