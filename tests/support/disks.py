"""A disk that is full."""

import contextlib
from pathlib import Path


def fill(disk: Path) -> Path:
    """Leave no room; returns the file to remove."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    return filler
