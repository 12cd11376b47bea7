"""The shard of one of n processes, by rendezvous hashing. Pure; the same on every machine and in every run.

Each name goes to the process with the highest hash of name and process, so that one process more takes 1/(n+1) of the
names and moves no other.
"""

import re
from dataclasses import dataclass
from hashlib import blake2b

_FORM = re.compile(r"([1-9][0-9]*)/([1-9][0-9]*)")
PROCESSES_MOST = 1000


@dataclass(frozen=True)
class Shard:
    """Process `index` (from 1) of `count`."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From "2/3"; ValueError for anything else."""
        found = _FORM.fullmatch(text.strip())
        shard = cls(*map(int, found.groups())) if found else cls(0, 0)
        if not 1 <= shard.index <= shard.count <= PROCESSES_MOST:
            raise ValueError(f"shard is {text!r}, must be i/n with i from 1 to n, e.g. 2/3")
        return shard

    def owns(self, name: str) -> bool:
        """Whether this process streams the symbol or entry of this name."""
        return self.count == 1 or owner_of(name, self.count) == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def owner_of(name: str, count: int) -> int:
    """The process (from 1) of `count` that owns `name`."""
    return max(range(1, count + 1), key=lambda index: _weight(name, index))


def _weight(name: str, index: int) -> bytes:
    return blake2b(f"{index}:{name}".encode(), digest_size=8).digest()
