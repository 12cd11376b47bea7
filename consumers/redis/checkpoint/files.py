"""A small file that is replaced whole, and has one writer: of two, each would forget what the other wrote.

One thread. The lock beside it is the kernel's, which takes it back however its owner ends; where the file system has
no locks, everybody is taken for the only one.
"""

import fcntl
import os
from pathlib import Path

import structlog

from model.regular_file import is_same_file, open_descriptor, write_file

log = structlog.get_logger()

REMEDY = "another collector writes it: give this one its own REDIS_BACKLOG_PATH; until then Redis alone remembers"


class StateFile:
    """`path` None is no file: nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock: int | None = None

    @property
    def is_written(self) -> bool:
        """Say whether there is a file of ours."""
        return self._path is not None

    def claim(self) -> bool:
        """Become its writer; where another process is, say so, write nothing, and return False."""
        if self._path is not None and self._lock is None:
            try:
                self._lock = _locked(self._path.with_name(f".{self._path.name}.lock"))
            except BlockingIOError:
                log.error("published_file_in_use", path=str(self._path), remedy=REMEDY)
                self._path = None
                return False
            except OSError as error:  # no lock to be had; a folder that cannot be written is told when it is written
                log.warning("published_file_not_locked", path=str(self._path), error=str(error))
        return True

    def release(self) -> None:
        """Let others claim it. The lock's file stays: were it removed, two could hold one name's lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, content: bytes) -> None:
        """Replace it; OSError where that cannot be. It survives SIGKILL, not a power cut: fsync takes too long."""
        if self._path is None:
            return
        self._path.parent.mkdir(
            parents=True, exist_ok=True
        )  # first: where it cannot be, nothing is claimed, nor given up
        if not self._is_still_ours():
            return
        aside = self._path.with_name(f".{self._path.name}.part")
        write_file(aside, content)
        aside.replace(self._path)

    def _is_still_ours(self) -> bool:
        """Claim it anew where its lock was removed with its folder: another process may have claimed it since."""
        assert self._path is not None
        if self._lock is not None and not is_same_file(self._path.with_name(f".{self._path.name}.lock"), self._lock):
            log.warning("published_folder_gone", path=str(self._path), then="written anew")
            self.release()
            return self.claim()
        return True

    def __del__(self) -> None:
        self.release()

    def __str__(self) -> str:
        return str(self._path)


def _locked(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    number = open_descriptor(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        raise
    return number
