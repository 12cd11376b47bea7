"""Frames on the wire, read back by the library that clients use."""

import gzip

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from consumers.web.frames import GZIP, PLAIN, Answer, Coding, Message, frame_of

SIZES = [0, 1, 99, 100, 125, 126, 65_535, 65_536, 200_000]


def parsed(wire: bytes, *extensions: PerMessageDeflate) -> Frame:
    reader = StreamReader()
    reader.feed_data(wire)
    parsing = Frame.parse(reader.read_exact, mask=False, extensions=extensions)
    try:
        while True:
            next(parsing)
    except StopIteration as end:
        assert not reader.buffer
        frame: Frame = end.value
        return frame


@pytest.mark.parametrize("size", SIZES)
def test_every_length_is_read_back(size):
    """The three forms of a length, plain and compressed, with any window."""
    payload = (b'{"symbol":"BTCUSDT"}' * 10_001)[:size]
    assert parsed(frame_of(payload, PLAIN)) == Frame(Opcode.TEXT, payload)
    zipped = parsed(frame_of(payload, GZIP))
    assert (zipped.opcode, gzip.decompress(zipped.data)) == (Opcode.BINARY, payload)
    for bits in (9, 12, 15):
        extension = PerMessageDeflate(True, True, bits, bits)
        frame = parsed(frame_of(payload, Coding("deflate", bits)), extension)
        assert (frame.opcode, bytes(frame.data)) == (Opcode.TEXT, payload)


def test_a_message_is_encoded_once():
    """However many clients send it."""
    message = Message(b"x" * 1_000)
    assert message.frame(Coding("deflate", 12)) is message.frame(Coding("deflate", 12))
    assert message.frame(PLAIN) is not message.frame(GZIP)


def test_answers_are_never_gzipped():
    """A client distinguishes them from data: they are text."""
    assert Answer(b"pong").frame(GZIP) == frame_of(b"pong", PLAIN)
