"""Retention of an output's own files: by age, and by the size of all together.

The thread of the output that writes them. Files are identified by their paths, so that a copy's date does not matter;
nothing else in the folder is touched: a user's files, or another collector's, which may have a longer retention.
"""

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from model.files import name_part

CLEANUP_EVERY_S = 300.0  # as in the legacy system; sooner where the size is reached
GB = 1_000_000_000

Owner = tuple[str, str]
"""Exchange and market."""


class Retention:
    """Removes files below `base` whose path there is `name`, oldest first, and whose `Owner` is among `owners`.

    Over `hours`, or over `max_gb` of all together; 0 is without limit. Groups of `name`: `exchange` and `market`, and
    `time`, the UTC time a file begins as `time_format` writes it; it holds `span` of data.
    """

    def __init__(
        self,
        base: Path,
        name: str,
        time_format: str,
        owners: Iterable[Owner],
        hours: float = 0.0,
        max_gb: float = 0.0,
        span: timedelta = timedelta(0),
    ) -> None:
        self._base, self._name, self._format = base, re.compile(name), time_format
        self._owners: set[Owner] = set()
        for owner in owners:
            self.own(*owner)
        self._hours, self._max_gb, self._span = hours, max_gb, span
        self._bytes = 0  # about: what `clean` found last, and was written since
        self._due_s = float("-inf")
        self.removed = 0

    def validate(self, settings: str, path_setting: str) -> None:
        """Raise ValueError that names the setting: those of the limits begin with `settings`."""
        for name, value in (("RETENTION_HOURS", self._hours), ("MAX_GB", self._max_gb)):
            if value < 0:
                raise ValueError(f"{settings}_{name}: must be 0 (keep for ever) or more")
        if self._base.exists() and not self._base.is_dir():
            raise ValueError(f"{path_setting}: {self._base} is not a folder")

    def own(self, exchange: str, market: str) -> None:
        """Count the files of one more exchange and market as own ones."""
        self._owners.add((name_part(exchange), name_part(market)))

    def wrote(self, size_bytes: int) -> None:
        """Count bytes that were written."""
        self._bytes += size_bytes

    def is_own(self, path: Path) -> bool:
        """Return whether an owner's file would have this path."""
        return self._match(path.relative_to(self._base).as_posix()) is not None

    def tick(self, now_s: float, now: datetime) -> None:
        """Clean every five minutes (`now_s`, monotonic), or when the size is over its bound; `now` is UTC."""
        if now_s >= self._due_s or self._is_over_size():
            self._due_s = now_s + CLEANUP_EVERY_S
            self.clean(now)

    def clean(self, now: datetime) -> None:
        """Remove the files over their time, then the oldest until the rest is within the size."""
        found = sorted(self._own_files())
        self._bytes = sum(size for _, _, size in found)
        over_until = (now - timedelta(hours=self._hours) - self._span).strftime(self._format) if self._hours else ""
        for begun, path, size in found:
            if begun <= over_until or self._is_over_size():
                self._remove(path, size)

    def _is_over_size(self) -> bool:
        return 0 < int(self._max_gb * GB) < self._bytes

    def _remove(self, path: Path, size: int) -> None:
        with contextlib.suppress(OSError):
            path.unlink()
            self.removed += 1
            self._bytes -= size
            for folder in path.relative_to(self._base).parents[:-1]:
                (self._base / folder).rmdir()  # raises, and ends the loop, while something is inside

    def _match(self, name: str) -> re.Match[str] | None:
        match = self._name.fullmatch(name)
        return match if match and (match["exchange"], match["market"]) in self._owners else None

    def _own_files(self) -> Iterator[tuple[str, Path, int]]:
        """Return (time text, path, bytes) of the owners' files; never links."""
        for exchange in {exchange for exchange, _ in self._owners}:
            top = self._base / exchange
            for folder, _, files in os.walk(top) if not top.is_symlink() else ():
                inside = Path(folder).relative_to(self._base).as_posix()
                for file in files:
                    if match := self._match(f"{inside}/{file}"):
                        path = Path(folder, file)
                        with contextlib.suppress(OSError):  # removed by another process meanwhile
                            found = path.lstat()
                            if stat.S_ISREG(found.st_mode):
                                yield match["time"], path, found.st_size
