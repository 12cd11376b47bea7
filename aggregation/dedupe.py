"""Trade ids seen lately, in bounded memory.

Two generations: when the young one is full and old enough it becomes the old one, and the old one is
forgotten. A quiet market therefore remembers for hours, a busy one for at least a minute.
"""

from collections.abc import Sequence

GENERATION_IDS = 50_000  # about 7 MB of 36-character ids
GENERATION_MS = 60_000  # a reconnect and its replay are over by then
GENERATION_LIMIT_IDS = 400_000  # memory bound for floods, about 56 MB a generation


class RecentIds:
    """Remembers trade ids. Not thread-safe: the aggregator thread alone uses it."""

    def __init__(self) -> None:
        self._young: set[str] = set()
        self._old: set[str] = set()
        self._born_ms = 0

    def duplicates(self, ids: Sequence[str], now_ms: int) -> list[int]:
        """Remember `ids` and return the positions of those seen before (an empty id is never one)."""
        self._turn(now_ms)
        young, before = self._young, len(self._young)
        if not (young.isdisjoint(ids) and self._old.isdisjoint(ids)):
            return self._one_by_one(ids, young)
        young.update(ids)
        young.discard("")
        if len(young) - before == len(ids):
            return []
        return self._one_by_one(ids, set())  # doubles among themselves, or empty ones

    def _one_by_one(self, ids: Sequence[str], seen: set[str]) -> list[int]:
        found = []
        for position, trade_id in enumerate(ids):
            if trade_id in seen or trade_id in self._old:
                found.append(position)
            elif trade_id:
                seen.add(trade_id)
        return found

    def _turn(self, now_ms: int) -> None:
        size, age_ms = len(self._young), now_ms - self._born_ms
        if (size > GENERATION_IDS and age_ms > GENERATION_MS) or size > GENERATION_LIMIT_IDS:
            self._old, self._young = self._young, set()
            self._born_ms = now_ms

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
