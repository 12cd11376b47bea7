"""The frame splitter: what is in the bytes comes out, however they were cut."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.frames import BINARY, CLOSE, PING, PONG, TEXT, Frame, FrameSplitter

FIN, RSV1, MASK = 0x80, 0x40, 0x80


def encode(payload: bytes, opcode: int = 1, *, fin: bool = True, rsv: int = 0, mask: int = 0) -> bytes:
    """A server's frame with the shortest length field, as RFC 6455 wants it."""
    first = (FIN if fin else 0) | rsv | opcode
    size = len(payload)
    if size < 126:
        return bytes([first, mask | size]) + payload
    if size < 65536:
        return bytes([first, mask | 126]) + struct.pack("!H", size) + payload
    return bytes([first, mask | 127]) + struct.pack("!Q", size) + payload


def fragments(payload: bytes, cuts: list[int], opcode: int = 1) -> list[bytes]:
    """One message as a first frame and continuations."""
    edges = [0, *sorted(cut % (len(payload) + 1) for cut in cuts), len(payload)]
    parts = [payload[start:end] for start, end in pairwise(edges)]
    last = len(parts) - 1
    return [encode(part, opcode if i == 0 else 0, fin=i == last) for i, part in enumerate(parts)]


def feed_in_pieces(data: bytes, cuts: list[int], usual: int = TEXT) -> list[bytes | Frame]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    splitter = FrameSplitter()
    splitter.usual = usual
    events: list[bytes | Frame] = []
    for start, end in pairwise(edges):
        if end > start:
            events += splitter.feed(data[start:end])
    assert splitter.error is None
    return events


def test_an_unfinished_message_is_known_by_its_number() -> None:
    """So that one message that does not end is distinguished from many that do."""
    splitter = FrameSplitter()
    first, last = encode(b"a", fin=False), encode(b"b", 0)
    splitter.feed(encode(b"whole"))
    assert splitter.unfinished == 0
    splitter.feed(first)
    number = splitter.unfinished
    splitter.feed(encode(b"", 0, fin=False) + encode(b"", PING))
    assert splitter.unfinished == number > 0
    splitter.feed(last)
    assert splitter.unfinished == 0
    splitter.feed(first)
    assert splitter.unfinished not in (0, number)


def test_frames_of_one_message_are_bounded() -> None:
    """Empty frames add no bytes to the limit."""
    splitter = FrameSplitter(max_fragments=3)
    empty = encode(b"", 0, fin=False)
    splitter.feed(encode(b"a", fin=False) + empty + empty)
    assert splitter.error is None
    splitter.feed(empty)
    assert "more than 3 frames" in str(splitter.error)


payloads = st.one_of(
    st.binary(max_size=140), st.sampled_from([125, 126, 127, 400, 65535, 65536]).map(lambda n: b"x" * n)
)
control = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes | Frame]]:
    """Wire bytes and the events they mean; control frames may stand between fragments."""
    wire: list[bytes] = []
    events: list[bytes | Frame] = []
    for payload in draw(st.lists(payloads, min_size=1, max_size=6)):
        opcode = draw(st.sampled_from([1, 1, BINARY]))
        compressed = draw(st.integers(0, 9)) == 0
        frames = fragments(payload, draw(st.lists(st.integers(0, 1000), max_size=3)), opcode)
        if compressed:
            frames[0] = bytes([frames[0][0] | RSV1]) + frames[0][1:]
        for index, frame in enumerate(frames):
            if index and draw(st.booleans()):
                kind, body = draw(control)
                wire.append(encode(body, kind))
                events.append(Frame(kind, body))
            wire.append(frame)
        if compressed:
            events.append(Frame(opcode, payload[:256], compressed=True))
        else:
            events.append(payload if opcode == 1 else Frame(opcode, payload))
    return b"".join(wire), events


def where_binary_is_usual(events: list[bytes | Frame]) -> list[bytes | Frame]:
    """What leaves as bytes leaves as Frame, and the other way round."""
    turned: list[bytes | Frame] = []
    for event in events:
        if isinstance(event, bytes):
            turned.append(Frame(TEXT, event))
        else:
            is_message = event.opcode == BINARY and not event.compressed
            turned.append(event.payload if is_message else event)
    return turned


@given(streams(), st.lists(st.integers(0, 1_000_000), max_size=12))
def test_any_cut_of_the_bytes_gives_the_same_events(stream: tuple[bytes, list[bytes | Frame]], cuts: list[int]) -> None:
    """TCP may deliver the bytes in any pieces: the messages are the same, exact and in order."""
    wire, events = stream
    assert feed_in_pieces(wire, cuts) == events
    assert feed_in_pieces(wire, cuts, BINARY) == where_binary_is_usual(events)


@given(streams())
def test_byte_by_byte_gives_the_same_events(stream: tuple[bytes, list[bytes | Frame]]) -> None:
    """The worst cut there is."""
    wire, events = stream
    if len(wire) < 3000:
        assert feed_in_pieces(wire, list(range(len(wire)))) == events


@pytest.mark.parametrize("frame", [b"\x81\x00", b"\x89\x00", b"\x88\x00", b"\x89\x01a"])
def test_a_frame_of_two_or_three_bytes_does_not_wait_for_more(frame: bytes) -> None:
    """The smallest frames are complete at the very end of a read."""
    assert len(FrameSplitter().feed(frame)) == 1


def test_a_close_frame_leaves_after_the_data_before_it() -> None:
    """What the exchange sent before it closed is not lost."""
    wire = encode(b"last") + encode(b"\x03\xe8bye", CLOSE)
    assert FrameSplitter().feed(wire) == [b"last", Frame(CLOSE, b"\x03\xe8bye")]


@pytest.mark.parametrize(
    ("wire", "problem"),
    [
        (encode(b"abc", mask=MASK) + b"mask", "masked"),
        (encode(b"abc", 3), "opcode 3"),
        (encode(b"abc", 11), "opcode 11"),
        (encode(b"abc", rsv=0x20), "RSV2"),
        (encode(b"abc", PING, fin=False), "control"),
        (encode(b"x" * 126, PING), "control"),
        (encode(b"abc", 0), "continuation without"),
        (encode(b"abc", fin=False) + encode(b"def"), "inside"),
        (encode(b"x" * 100_001), "larger than 100000"),
        (encode(b"x" * 60_000, fin=False) + encode(b"x" * 60_000, 0), "larger than 100000"),
    ],
)
def test_a_breach_of_the_protocol_is_an_error_after_the_good_messages(wire: bytes, problem: str) -> None:
    """The messages before the breach still leave; the connection is then unreadable."""
    splitter = FrameSplitter(max_message_bytes=100_000)
    events = splitter.feed(encode(b"good") + wire)
    assert events == [b"good"]
    assert problem in str(splitter.error)


def test_an_oversized_length_is_refused_before_its_payload_is_held() -> None:
    """A length field alone must not make us collect gigabytes."""
    splitter = FrameSplitter()
    assert splitter.feed(bytes([0x81, 127]) + struct.pack("!Q", 1 << 40)) == []
    assert splitter.error is not None


def test_biggest_is_never_below_the_largest_message() -> None:
    """A reader looks for large messages only where this bound allows one."""
    splitter = FrameSplitter()
    splitter.feed(encode(b"x" * 70000)[:66000])
    splitter.feed(encode(b"x" * 70000)[66000:])
    assert splitter.biggest >= 70000
    for frame in fragments(b"y" * 90000, [30000, 60000]):
        splitter.feed(frame)
    assert splitter.biggest >= 90000
    splitter.feed(encode(b"small"))
    assert splitter.biggest < 100


def test_no_frame_passes_for_a_text_message() -> None:
    """A ping that carries market data's first bytes is still a ping."""
    (frame,) = FrameSplitter().feed(encode(b'{"topic":"publicTrade.', PING))
    assert not frame.startswith(b'{"topic":"publicTrade.')
    assert not frame.endswith(b".")


def test_a_large_message_in_small_pieces_is_joined_once() -> None:
    """Joining at every read would copy a 5 MB message a thousand times."""
    wire = encode(b"x" * 100_000)
    splitter = FrameSplitter()
    for start in range(0, 90_000, 1000):
        assert splitter.feed(wire[start : start + 1000]) == []
    assert len(splitter._chunks) == 90
    assert splitter.feed(wire[90_000:]) == [b"x" * 100_000]
