"""What the flooder reads of its clients."""

from benchmarks.flooder import PING, TEXT
from benchmarks.wire import take_frames

KEY = b"\x01\x02\x03\x04"


def masked(opcode: int, payload: bytes) -> bytes:
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes((0x80 | opcode,)) + size + KEY + bytes(byte ^ KEY[i % 4] for i, byte in enumerate(payload))


def test_frames_are_unmasked_in_order_and_a_part_waits() -> None:
    """A read may end anywhere; what is not complete stays for the next one."""
    long = b"x" * 300
    stream = masked(TEXT, b'{"op":"ping"}') + masked(PING, b"") + masked(TEXT, long)
    for cut in range(len(stream)):
        inbox = bytearray(stream[:cut])
        found = list(take_frames(inbox))
        inbox += stream[cut:]
        found += take_frames(inbox)
        assert found == [(TEXT, b'{"op":"ping"}'), (PING, b""), (TEXT, long)]
        assert not inbox
