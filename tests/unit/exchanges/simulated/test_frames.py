"""Frames as an independent reader understands them."""

import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from exchanges.simulated import frames


def read(data: bytes) -> list[Frame]:
    """All frames of a client's stream."""
    reader, found = StreamReader(), []
    reader.feed_data(data)
    while reader.buffer:
        try:
            next(parser := Frame.parse(reader.read_exact, mask=False))
            raise AssertionError(f"incomplete: {parser}")
        except StopIteration as done:
            found.append(done.value)
    return found


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 5_000_000])
def test_every_length_has_its_header(size: int) -> None:
    """7, 16 and 64 bits."""
    frame = read(frames.text_frame(b"x" * size))[0]
    assert (frame.opcode, len(frame.data), frame.fin) == (Opcode.TEXT, size, True)


def test_fragments_join_to_the_body() -> None:
    """Text first, continuations after, FIN on the last."""
    parts = read(frames.fragments(b"0123456789", 3))
    assert [part.opcode for part in parts] == [Opcode.TEXT, Opcode.CONT, Opcode.CONT]
    assert [part.fin for part in parts] == [False, False, True]
    assert b"".join(bytes(part.data) for part in parts) == b"0123456789"


@pytest.mark.parametrize("broken", [frames.masked_frame(b"{}"), frames.reserved_bit_frame(b"{}")])
def test_broken_frames_are_refused_by_a_strict_reader(broken: bytes) -> None:
    """That is what they are for."""
    with pytest.raises(Exception, match=r"mask|reserved"):
        [frame.check() for frame in read(broken)]
