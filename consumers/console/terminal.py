"""A terminal that a table is drawn on: its alternate screen, its size, and writes that Python does not buffer.

One thread.
"""

import os
import select
from collections.abc import Iterable

FULL_LOOK_S = 1.0  # how often a full non-blocking terminal is tried again
SIZE_UNKNOWN = (120, 40)  # columns and lines where the output is no terminal

# The alternate screen of a terminal, which keeps the main one as it was; and no cursor.
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
HOME, END_OF_LINE, BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def drawing(lines: Iterable[str]) -> str:
    """Return what draws these lines over those that were drawn before."""
    return HOME + f"{END_OF_LINE}\r\n".join(lines) + END_OF_LINE + BELOW


def size_of(descriptor: int) -> tuple[int, int]:
    """Return the columns and lines of a terminal; SIZE_UNKNOWN where it has none."""
    try:
        columns, lines = os.get_terminal_size(descriptor)
    except OSError:
        return SIZE_UNKNOWN
    return (columns, lines) if columns and lines else SIZE_UNKNOWN


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, however long that takes; raises OSError, BrokenPipeError where the reader is gone."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:  # another program made the shared terminal non-blocking
            select.select([], [descriptor], [], FULL_LOOK_S)
