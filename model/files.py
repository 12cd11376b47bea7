"""Regular files alone are opened, and a file appears whole: it is written under a hidden name, then renamed.

Any thread; opening never blocks on a FIFO or device that lies at the path. Links are followed to what they name. On a
disk that refuses nothing half written is left, and OSError is raised.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from model.symbols import is_name_character

TEMP = ".part"  # ending of a file that is being written; its name also begins with a dot

KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFDIR: "a folder",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegularError(OSError):
    """A FIFO, a folder, a socket or a device lies at a path, and no regular file."""

    def __init__(self, path: str | Path, mode: int) -> None:
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        super().__init__(errno.EINVAL, f"it is no regular file but {kind}", str(path))


def open_descriptor(path: str | Path, flags: int) -> int:
    """Open a regular file, or make one where the flags have O_CREAT; NotRegularError, an OSError, for anything else.

    An `opener` for open().
    """
    check_regular(path)
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o644)
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
        return  # open() raises what is wrong
    if not stat.S_ISREG(mode):
        raise NotRegularError(path, mode)


def read_file(path: str | Path) -> bytes:
    """Read a regular file whole; OSError."""
    with open(path, "rb", opener=open_descriptor) as file:
        return file.read()


def write_file(path: str | Path, *blocks: bytes) -> None:
    """Write a regular file whole, in the place of what it held; OSError."""
    with open(path, "wb", opener=open_descriptor) as file:
        file.writelines(blocks)


def is_same_file(path: str | Path, descriptor: int) -> bool:
    """Return whether a path still leads to an open file: not where it, or its folder, was removed or replaced."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


# -- files that appear whole ----------------------------------------------------------------------------------


def name_part(text: str) -> str:
    """Make a text fit to be part of a file's name."""
    return "".join(each if each == "." or is_name_character(each) else "_" for each in text)


def temp_path(path: Path, writer: object = None) -> Path:
    """Name the hidden file beside `path`; `writer` keeps those of several writers of one path apart."""
    return path.with_name(f".{path.name}{TEMP}" if writer is None else f".{path.name}.{writer}{TEMP}")


def final_path(temp: Path) -> Path:
    """Undo `temp_path`."""
    return temp.with_name(temp.name.removeprefix(".").removesuffix(TEMP))


def atomic_write(path: Path, write: Callable[[Path], object], writer: object = None) -> int:
    """Have `write` make the file under its hidden name, and rename it, folders included; returns its bytes.

    Replaces what is there. Whatever `write` raises is raised again, and nothing is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = temp_path(path, writer)
    try:
        write(temp)
        size = temp.stat().st_size
        temp.replace(path)
    except NotRegularError:  # not ours
        raise
    except BaseException:
        with contextlib.suppress(OSError):
            temp.unlink()
        raise
    return size


class AtomicAppend:
    """A file that grows by whole blocks and appears at `finish`; locked, so that no other process recovers it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.size = 0
        self._descriptor = open_descriptor(temp_path(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def append(self, block: bytes) -> None:
        """Write a block whole, or take back what was written of it and raise OSError."""
        left = memoryview(block)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            os.lseek(self._descriptor, self.size, os.SEEK_SET)
            raise
        self.size += len(block)

    @property
    def is_there(self) -> bool:
        """Whether the hidden name still leads to this file: not where it or its folder was removed."""
        return is_same_file(temp_path(self.path), self._descriptor)

    def finish(self) -> None:
        """Rename it to its path; an empty one is removed. May be called again where it raised OSError."""
        temp = temp_path(self.path)
        if self.size:
            temp.replace(self.path)
        else:
            temp.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close it under its hidden name, for the next start to recover."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def acquire_lock(path: Path) -> int:
    """Lock a file, which is made where there is none; returns its descriptor, which is the lock until it is closed.

    BlockingIOError where another process has it. The kernel takes it back however its owner ends; the file stays:
    removed, two could hold one name's lock. Other OSErrors: there are no locks, or no such folder can be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number = open_descriptor(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        raise
    return number


@contextlib.contextmanager
def locked_temp_file(temp: Path) -> Iterator[bool]:
    """Lock a hidden file that a crash left while it is read; False where a process still writes it."""
    descriptor = open_descriptor(temp, os.O_RDWR)
    is_free = True
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            is_free = False
        yield is_free
    finally:
        os.close(descriptor)
