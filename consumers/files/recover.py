"""A recording that a crash left under its hidden name, named up to its last whole block.

`recorder` thread, at the start. A file that another process still writes is left alone.
"""

import os
import zlib
from pathlib import Path

from consumers.files.atomic import Abandoned, named_of
from model.files import open_descriptor

GZIP_BITS = 31  # for zlib: a gzip header
GZIP_HEAD = bytes.fromhex("1f8b080000000000")  # a block begins so: deflate, no name, no time
TAIL_BYTES = 16 * 1024 * 1024  # looked at; a block is a tenth of that at most


def recover_recording(aside: Path) -> bool:
    """Cut off what is not whole and give the file its name; False where nothing is left, or somebody writes it."""
    with Abandoned(aside) as held:
        if not held.is_free:
            return False
        whole = whole_bytes(aside)
        if whole:
            os.truncate(aside, whole)
            aside.rename(named_of(aside))
        else:
            aside.unlink()
        return whole > 0


def whole_bytes(path: Path) -> int:
    """How much of the file is whole blocks: all but the last can only be."""
    size = path.stat().st_size
    begin = max(0, size - TAIL_BYTES)
    with open(path, "rb", opener=open_descriptor) as file:
        file.seek(begin)
        tail = file.read()
    last = tail.rfind(GZIP_HEAD)
    if last < 0:
        return 0
    return size if _is_whole(tail[last:]) else begin + last


def _is_whole(block: bytes) -> bool:
    inflate = zlib.decompressobj(GZIP_BITS)
    try:
        inflate.decompress(block)
    except zlib.error:
        return False
    return inflate.eof and not inflate.unused_data
