"""WebSocket frames as bytes, so that many leave in one write.

Server frames only (unmasked, RFC 6455 section 5.2). The broken ones are what a careful client must survive.
"""

import gzip
from itertools import pairwise

FIN_TEXT, FIN_BINARY = 0x81, 0x82
TEXT_PART, CONTINUATION, FIN_CONTINUATION = 0x01, 0x00, 0x80
RSV1 = 0x40
MASK_BIT = 0x80
GZIP_LEVEL = 1  # quick


def frame(first_byte: int, body: bytes) -> bytes:
    """Put the shortest legal header before `body`."""
    size = len(body)
    if size < 126:
        return bytes((first_byte, size)) + body
    if size < 65536:
        return bytes((first_byte, 126)) + size.to_bytes(2, "big") + body
    return bytes((first_byte, 127)) + size.to_bytes(8, "big") + body


def text_frame(body: bytes) -> bytes:
    """One unfragmented text message."""
    return frame(FIN_TEXT, body)


def binary_frame(body: bytes) -> bytes:
    """One unfragmented binary message: Bybit never sends one."""
    return frame(FIN_BINARY, body)


def gzip_frame(body: bytes) -> bytes:
    """One message as a gzip member in a binary frame."""
    return binary_frame(gzip.compress(body, GZIP_LEVEL))


def fragments(body: bytes, count: int) -> bytes:
    """`body` as a text message in `count` frames: legal, and rarely tested by clients."""
    cuts = [len(body) * i // count for i in range(count + 1)]
    parts = [body[a:b] for a, b in pairwise(cuts)]
    heads = [TEXT_PART] + [CONTINUATION] * (count - 2) + [FIN_CONTINUATION]
    return b"".join(frame(head, part) for head, part in zip(heads, parts, strict=True))


def reserved_bit_frame(body: bytes) -> bytes:
    """A frame that claims to be compressed although compression was not agreed on."""
    return frame(FIN_TEXT | RSV1, body)


def masked_frame(body: bytes, key: bytes = b"\x01\x02\x03\x04") -> bytes:
    """A masked server frame: forbidden by RFC 6455 section 5.1. `body` is cut to 125 bytes."""
    body = body[:125]
    masked = bytes(byte ^ key[i % 4] for i, byte in enumerate(body))
    return bytes((FIN_TEXT, MASK_BIT | len(body))) + key + masked
