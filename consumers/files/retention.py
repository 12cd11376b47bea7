"""Retention of an output's own files: by age, and by the size of all together.

The thread of the output that writes them. Files are identified by their paths, so that a copy's date does not matter;
nothing else in the folder is touched: a user's files, or another collector's, which may have a longer retention.
"""

import contextlib
import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

CLEANUP_EVERY_S = 300.0  # as in the legacy system; sooner where the size is reached
GB = 1_000_000_000

Owner = tuple[str, str]
"""Exchange and market, as they stand in the names of files."""


@dataclass(frozen=True)
class RetentionPolicy:
    """How long files stay and how large they grow together; 0 is without limit."""

    hours: float = 0.0
    max_gb: float = 0.0

    def validate(self, hours_name: str, gb_name: str) -> None:
        """Raise ValueError that names the setting."""
        for name, value in ((hours_name, self.hours), (gb_name, self.max_gb)):
            if value < 0:
                raise ValueError(f"{name}: must be 0 (keep for ever) or more")


class Retention:
    """Removes files below `base` whose path there is `name`, oldest first, and whose `Owner` is among `owners`.

    Groups of `name`: `exchange` and `market`, and `time`, the UTC time a file begins as `time_format` writes it; it
    holds `span` of data.
    """

    def __init__(
        self,
        base: Path,
        name: str,
        time_format: str,
        policy: RetentionPolicy,
        owners: Collection[Owner],
        span: timedelta = timedelta(0),
    ) -> None:
        self._base, self._name, self._format = base, re.compile(name), time_format
        self.owners = set(owners)
        self._policy, self._span = policy, span
        self._bytes = 0  # about: what `clean` found last, and was written since
        self._due_s = float("-inf")
        self.removed = 0

    def wrote(self, size_bytes: int) -> None:
        """Count bytes that were written."""
        self._bytes += size_bytes

    def is_own(self, path: Path) -> bool:
        """Return whether an owner's file would have this path."""
        match = self._name.fullmatch(path.relative_to(self._base).as_posix())
        return match is not None and (match["exchange"], match["market"]) in self.owners

    def tick(self, now_s: float, now: datetime) -> None:
        """Clean every five minutes (`now_s`, monotonic), or when the size is over its bound; `now` is UTC."""
        if now_s < self._due_s and not 0 < self._limit_bytes < self._bytes:
            return
        self._due_s = now_s + CLEANUP_EVERY_S
        self.clean(now)

    def clean(self, now: datetime) -> None:
        """Remove the files over their time, then the oldest until the rest is within the size."""
        found = sorted(own_files(self._base, self._name, self.owners))
        self._bytes = sum(size for _, _, size in found)
        for begun, path, size in found:
            if self._is_over_time(begun, now) or 0 < self._limit_bytes < self._bytes:
                self._remove(path, size)

    @property
    def _limit_bytes(self) -> int:
        return int(self._policy.max_gb * GB)

    def _is_over_time(self, begun: str, now: datetime) -> bool:
        hours = self._policy.hours
        return bool(hours) and begun <= (now - timedelta(hours=hours) - self._span).strftime(self._format)

    def _remove(self, path: Path, size: int) -> None:
        with contextlib.suppress(OSError):
            path.unlink()
            self.removed += 1
            self._bytes -= size
            for folder in path.relative_to(self._base).parents[:-1]:
                (self._base / folder).rmdir()  # raises, and ends the loop, while something is inside


def own_files(base: Path, name: re.Pattern[str], owners: Collection[Owner]) -> Iterator[tuple[str, Path, int]]:
    """Return (time text, path, bytes) of the owners' files whose path below `base` matches `name`; never links."""
    for exchange in {exchange for exchange, _ in owners}:
        for folder, _, files in os.walk(base / exchange) if not (base / exchange).is_symlink() else ():
            inside = Path(folder).relative_to(base).as_posix()
            for file in files:
                match = name.fullmatch(f"{inside}/{file}")
                if match is None or (match["exchange"], match["market"]) not in owners:
                    continue
                path = Path(folder, file)
                with contextlib.suppress(OSError):  # removed by somebody else meanwhile
                    found = path.lstat()
                    if stat.S_ISREG(found.st_mode):
                        yield match["time"], path, found.st_size
