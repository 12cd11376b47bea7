"""Files that are complete when they appear: written under a hidden name, then renamed.

The thread of the output that writes. On a disk that refuses, what was written is taken back and OSError raised.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from model.files import is_same_file, open_descriptor
from model.symbols import is_name_character

ASIDE = ".part"  # ending of a file that is being written; its name also begins with a dot


def name_part(text: str) -> str:
    """Make a text fit to be part of a file's name."""
    return "".join(each if each == "." or is_name_character(each) else "_" for each in text)


def aside_of(path: Path) -> Path:
    """Name the hidden file beside `path`."""
    return path.with_name(f".{path.name}{ASIDE}")


def named_of(aside: Path) -> Path:
    """Undo `aside_of`."""
    return aside.with_name(aside.name.removeprefix(".").removesuffix(ASIDE))


def write_whole(path: Path, blocks: Iterable[bytes]) -> int:
    """Write one file at once, folders included; returns its bytes. On OSError nothing is left."""
    return make_whole(path, lambda aside: _write(aside, blocks))


def make_whole(path: Path, make: Callable[[Path], object]) -> int:
    """Have `make` write the file under its hidden name, and name it; returns its bytes. On failure nothing is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    try:
        make(aside)
        size = aside.stat().st_size
        aside.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    return size


def _write(path: Path, blocks: Iterable[bytes]) -> None:
    with open(path, "wb", opener=open_descriptor) as file:
        file.writelines(blocks)


class Growing:
    """A file that grows by whole blocks and appears at `finish`; locked, so that a living one is not taken over."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.size = 0
        self._descriptor = open_descriptor(aside_of(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def append(self, block: bytes) -> None:
        """Write all of it, or take back what was written and raise OSError."""
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
        """Say whether its name still leads to it: not where somebody removed it, or the folder."""
        return is_same_file(aside_of(self.path), self._descriptor)

    def finish(self) -> None:
        """Give it its name; an empty one goes. May be called again where it raised OSError."""
        aside = aside_of(self.path)
        if self.size:
            aside.rename(self.path)
        else:
            aside.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Leave it as it is, for the next start to find."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


class Abandoned:
    """A hidden file that nobody writes any more, held while it is looked at; `is_free` is False where one does."""

    def __init__(self, aside: Path) -> None:
        self._descriptor = open_descriptor(aside, os.O_RDWR)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.is_free = True
        except OSError:
            self.is_free = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
