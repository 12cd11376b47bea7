"""WebSocket frames of outgoing messages, encoded once for all clients of the same coding.

Pure; the event loop's thread. A server's frames are not masked, and without context takeover a compressed one
depends on nothing but its message: so the bytes for one client are the bytes for all.
"""

import gzip
import zlib
from typing import NamedTuple

TEXT, BINARY = 0x81, 0x82  # with the FIN bit: messages are never fragmented
COMPRESSED = 0x40  # RSV1, RFC 7692
DEFLATE_LEVEL, DEFLATE_MEMORY = 6, 5  # 12 bits of window and 5 of memory: 32 KB and 10 us a message
GZIP_LEVEL = 5
WORTH_COMPRESSING_BYTES = 100  # below it the compressed text is not shorter
EMPTY_BLOCK = b"\x00\x00\xff\xff"  # what RFC 7692 has the sender cut off


class Coding(NamedTuple):
    """The coding of a client's messages: `plain`, `gzip` (binary messages) or `deflate` with its window."""

    kind: str
    window_bits: int = 0


PLAIN = Coding("plain")
GZIP = Coding("gzip")


def frame_of(payload: bytes, coding: Coding) -> bytes:
    """Return the whole frame of `payload` in a coding."""
    if coding.kind == "gzip":
        return _frame(BINARY, gzip.compress(payload, GZIP_LEVEL, mtime=0))
    if coding.kind == "deflate" and len(payload) >= WORTH_COMPRESSING_BYTES:
        deflate = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -coding.window_bits, DEFLATE_MEMORY)
        body = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
        return _frame(TEXT | COMPRESSED, body.removesuffix(EMPTY_BLOCK))
    return _frame(TEXT, payload)


def _frame(first: int, body: bytes) -> bytes:
    size = len(body)
    if size < 126:
        return bytes((first, size)) + body
    if size < 65_536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + body
    return bytes((first, 127)) + size.to_bytes(8, "big") + body


class Message:
    """One message on its way to any number of clients; its frames are made at their first use.

    `conflate` names what a newer message with the same name replaces where it still waits; None: nothing may
    replace it. A message about several such things has `parts`, one for each.
    """

    __slots__ = ("_frames", "conflate", "parts", "payload")

    def __init__(self, payload: bytes, conflate: object = None, parts: "tuple[Message, ...]" = ()) -> None:
        self.payload = payload
        self.conflate = conflate
        self.parts = parts
        self._frames: dict[Coding, bytes] = {}

    def frame(self, coding: Coding) -> bytes:
        """Return the frame in this coding, encoded once."""
        frame = self._frames.get(coding)
        if frame is None:
            frame = self._frames[coding] = frame_of(self.payload, coding)
        return frame


class Answer(Message):
    """A text of the protocol's own, an answer for example. Never gzipped, so that clients distinguish it from data."""

    __slots__ = ()

    def frame(self, coding: Coding) -> bytes:
        """Return the frame in this coding, as text."""
        return super().frame(PLAIN if coding.kind == "gzip" else coding)
