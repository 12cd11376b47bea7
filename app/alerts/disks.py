"""Disks that are nearly full: of the folders that the settings write to. Blocks where a disk hangs."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

LEAST_BYTES, LEAST_SHARE = 1_000_000_000, 0.05  # below either a disk is nearly full
AGAIN = 1.2  # and not any more above so many times that


class Disks:
    """The folders by the settings that name them; `look` remembers which were nearly full. One thread at a time."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = dict(folders)
        self._full: set[int] = set()

    def look(self) -> dict[str, str]:
        """Return the disks that are nearly full: their folders, and how full they are."""
        disks: dict[int, tuple[list[Path], Path]] = {}
        for path in self._folders.values():
            with contextlib.suppress(OSError):  # it cannot be looked at: its output is down, and that is told
                nearest = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
                disks.setdefault(os.stat(nearest).st_dev, ([], nearest))[0].append(path)
        found = {}
        for device, (paths, nearest) in disks.items():
            try:
                usage = shutil.disk_usage(nearest)
            except OSError:
                continue
            factor = AGAIN if device in self._full else 1.0
            if usage.free >= LEAST_BYTES * factor and usage.free >= usage.total * LEAST_SHARE * factor:
                self._full.discard(device)
                continue
            self._full.add(device)
            names = ", ".join(dict.fromkeys(map(str, paths)))
            found[names] = f"{usage.free / 1e9:.1f} GB are free, {usage.free / usage.total:.1%}"
        return found
