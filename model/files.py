"""Files that are opened only where they are files: the open() of a FIFO waits for ever, a device is no place for data.

Any thread; never blocks for what is no regular file. Links are followed to what they name.
"""

import errno
import os
import stat
from pathlib import Path

KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFDIR: "a folder",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegularError(OSError):
    """What lies at a path is a FIFO, a folder, a socket or a device."""

    def __init__(self, path: str | Path, mode: int) -> None:
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        super().__init__(errno.EINVAL, f"it is no regular file but {kind}", str(path))


def open_descriptor(path: str | Path, flags: int, mode: int = 0o644) -> int:
    """Open a regular file, or make one where the flags say so; NotRegularError, an OSError, for anything else.

    An `opener` for open().
    """
    check_regular(path)
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, mode)
    try:
        found = os.fstat(descriptor)  # again: it may have been put there meanwhile
        if not stat.S_ISREG(found.st_mode):
            raise NotRegularError(path, found.st_mode)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def check_regular(path: str | Path) -> None:
    """Raise NotRegularError for what is there and no regular file; nothing at all is fine."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # open() says best what is wrong
    if not stat.S_ISREG(mode):
        raise NotRegularError(path, mode)


def read_file(path: str | Path) -> bytes:
    """Read a regular file whole; OSError."""
    with open(path, "rb", opener=open_descriptor) as file:
        return file.read()


def write_file(path: str | Path, content: bytes) -> None:
    """Write a regular file whole, in the place of what it held; OSError."""
    with open(path, "wb", opener=open_descriptor) as file:
        file.write(content)


def is_same_file(path: str | Path, descriptor: int) -> bool:
    """Say whether a path still leads to an open file: not where it, or its folder, was removed or replaced."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False
