"""Duplicates among trades: ids seen lately, in bounded memory, and the times of those that were forgotten.

Pure; the aggregator thread alone. An id is its symbol's: two symbols may use the same. A trade newer than all that was
counted of its symbol is new and is not looked up. Ids lie in chunks: the one that is written has the ids themselves, a
full one a sorted array of 64-bit hashes, 8 bytes an id instead of 140; that two of a million trades share a hash by
chance is a matter of one in forty million. The oldest chunk is forgotten when there are enough younger ones.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from aggregation.klines.bars import FAR, Ints
from model.records import TradeId

NEW, DUPLICATE, UNKNOWN = range(3)  # UNKNOWN: new, or a duplicate of a trade whose id is forgotten

Hashes = npt.NDArray[np.uint64]

# Odd factors of the 64-bit finalizer of SplitMix64: rows and ids that differ in a bit differ in half of them.
_ROW, _FIRST, _SECOND = (np.uint64(factor) for factor in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)


@dataclass(frozen=True)
class DedupeLimits:
    """How many ids are kept, and how long."""

    chunk_ids: int = 4_000  # a quarter of a megabyte, which stays in cache; to hash and sort them takes a millisecond
    kept_ids: int = 100_000  # 0.8 MB and the newest chunk: hours of a quiet market
    kept_ms: int = 120_000  # a reconnect and its replay are over by then
    most_ids: int = 800_000  # memory bound for floods, about 7 MB


def hashes_of(rows: Ints, ids: Sequence[TradeId]) -> Hashes:
    """Return a 64-bit hash of each trade by its symbol's row and its id, the same within a process."""
    mixed = np.fromiter(map(hash, ids), np.int64, len(ids)).view(np.uint64) + rows.astype(np.uint64) * _ROW
    mixed = (mixed ^ (mixed >> _SHIFTS[0])) * _FIRST
    mixed = (mixed ^ (mixed >> _SHIFTS[1])) * _SECOND
    hashes: Hashes = mixed ^ (mixed >> _SHIFTS[2])
    return hashes


@dataclass
class _Chunk:
    """One chunk of ids: a set, and the batches they came in; of a full one `hashes` alone, sorted."""

    ids: set[TradeId] = field(default_factory=set)
    count: int = 0  # of its trades: two symbols may share an id
    from_ms: int = FAR  # of its trades
    until_ms: int = -FAR
    full_ms: int = 0  # when it was full
    newest_ms: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # per row, of all trades up to its end
    batches: list[tuple[Ints, Sequence[TradeId]]] = field(default_factory=list)
    hashes: Hashes | None = None

    def add(self, rows: Ints, ids: Sequence[TradeId]) -> bool:
        """Add trades; False where an id is empty, or was there already."""
        before = len(self.ids)
        self.ids.update(ids)
        self.ids.discard("")
        is_plain = len(self.ids) - before == len(ids)
        if not is_plain:
            named = [i for i, trade_id in enumerate(ids) if trade_id]
            rows, ids = rows[named], [ids[i] for i in named]
        self.batches.append((rows, ids))
        self.count += len(ids)
        return is_plain

    def has(self, ids: Sequence[TradeId], hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Whether each of these trades is among them."""
        if self.hashes is None:
            if self.ids.isdisjoint(ids):
                return np.zeros(len(ids), np.bool_)
            known = np.sort(self._own_hashes())
        else:
            known = self.hashes
        places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        found: npt.NDArray[np.bool_] = known[places] == hashes
        return found

    def close(self, now_ms: int, newest_ms: Ints) -> None:
        """Keep the hashes alone: it is full."""
        self.full_ms, self.newest_ms = now_ms, newest_ms
        self.hashes = np.sort(self._own_hashes())
        self.ids, self.batches = set(), []

    def _own_hashes(self) -> Hashes:
        rows = np.concatenate([rows for rows, _ in self.batches])
        return hashes_of(rows, [trade_id for _, ids in self.batches for trade_id in ids])


class RecentIds:
    """The trade ids seen lately of one market; rows are its symbols'."""

    def __init__(self, limits: DedupeLimits | None = None) -> None:
        self._limits = limits or DedupeLimits()
        self._chunk_ids = self._limits.chunk_ids  # looked up with each batch
        self._chunks = deque([_Chunk()])
        self._count = 0  # of the ids in all chunks but the current one
        self._newest_ms: Ints = np.zeros(0, np.int64)  # per row
        self._forgotten_ms: Ints = np.zeros(0, np.int64)  # newest of the trades forgotten, per row

    def classify(self, ids: Sequence[TradeId], rows: Ints, ms: Ints, now_ms: int) -> Ints | None:
        """Add trades (n > 0) of these match times; returns NEW, DUPLICATE or UNKNOWN for each, None where all are new.

        An empty id is never a duplicate.
        """
        current = self._current_chunk(now_ms)
        current.from_ms, current.until_ms = min(current.from_ms, int(ms.min())), max(current.until_ms, int(ms.max()))
        suspects = self._not_newer(rows, ms)
        verdicts = self._classify_old(ids, rows, ms, suspects) if len(suspects) else None
        if verdicts is None:
            is_plain = current.add(rows, ids)
        else:
            fresh = np.flatnonzero(verdicts == NEW)
            is_plain = current.add(rows[fresh], [ids[i] for i in fresh.tolist()])
        if is_plain:
            return verdicts
        return _without_repeated(ids, rows, np.zeros(len(ids), np.int64) if verdicts is None else verdicts)

    def newest_ms(self, rows: int) -> Ints:
        """Time of the newest trade of each of the first rows, 0 where none came."""
        newest = np.zeros(rows, np.int64)
        known = min(rows, len(self._newest_ms))
        newest[:known] = np.maximum(self._newest_ms[:known], 0)
        return newest

    def _not_newer(self, rows: Ints, ms: Ints) -> Ints:
        """Positions of trades that are not newer than all of their symbol in earlier batches."""
        if (missing := int(rows.max()) + 1 - len(self._newest_ms)) > 0:
            self._newest_ms = np.concatenate((self._newest_ms, np.full(missing, -FAR)))
        positions = np.flatnonzero(ms <= self._newest_ms.take(rows))
        np.maximum.at(self._newest_ms, rows, ms)
        return positions

    def may_have_forgotten(self, row: int, ms: int) -> bool:
        """Whether a trade of this time may have been counted and be forgotten."""
        return row < len(self._forgotten_ms) and ms <= int(self._forgotten_ms[row])

    def _classify_old(self, ids: Sequence[TradeId], rows: Ints, ms: Ints, suspects: Ints) -> Ints | None:
        its_rows, its_ms, its_ids = rows[suspects], ms[suspects], [ids[i] for i in suspects.tolist()]
        seen = self._has_seen(its_rows, its_ids, its_ms)
        verdicts = np.zeros(len(ids), np.int64)
        verdicts[suspects[seen]] = DUPLICATE
        if len(self._forgotten_ms):
            known = its_rows < len(self._forgotten_ms)
            forgotten = known & (its_ms <= self._forgotten_ms.take(its_rows, mode="clip"))
            verdicts[suspects[forgotten & ~seen]] = UNKNOWN
        return verdicts if verdicts.any() else None

    def _has_seen(self, rows: Ints, ids: Sequence[TradeId], ms: Ints) -> npt.NDArray[np.bool_]:
        """Whether each trade is among those that are kept."""
        hashes, from_ms, until_ms = hashes_of(rows, ids), int(ms.min()), int(ms.max())
        seen = np.zeros(len(ids), np.bool_)
        for chunk in self._chunks:
            if chunk.count and chunk.from_ms <= until_ms and from_ms <= chunk.until_ms:
                seen |= chunk.has(ids, hashes)
        return seen & np.fromiter((trade_id != "" for trade_id in ids), np.bool_, len(ids))

    def _current_chunk(self, now_ms: int) -> _Chunk:
        """The chunk to write to; a new one where the last is full."""
        current = self._chunks[-1]
        if current.count < self._chunk_ids:
            return current
        current.close(now_ms, self._newest_ms.copy())
        self._count += current.count
        self._chunks.append(_Chunk())
        while len(self._chunks) > 1 and self._is_enough_without(self._chunks[0], now_ms):
            oldest = self._chunks.popleft()
            self._count -= oldest.count
            self._forgotten_ms = oldest.newest_ms
        return self._chunks[-1]

    def _is_enough_without(self, oldest: _Chunk, now_ms: int) -> bool:
        rest, limits = self._count - oldest.count, self._limits
        is_old = now_ms - oldest.full_ms > limits.kept_ms
        return (rest >= limits.kept_ids and is_old) or self._count > limits.most_ids

    def __len__(self) -> int:
        return self._count + self._chunks[-1].count


def _without_repeated(ids: Sequence[TradeId], rows: Ints, verdicts: Ints) -> Ints | None:
    """Find duplicates among the new ones, of which some have no id, share one with another symbol, or come twice."""
    seen: set[tuple[int, TradeId]] = set()
    new = np.flatnonzero(verdicts == NEW)
    for position, row in zip(new.tolist(), rows[new].tolist(), strict=True):
        key = (row, ids[position])
        if key in seen:
            verdicts[position] = DUPLICATE
        elif ids[position]:
            seen.add(key)
    return verdicts if verdicts.any() else None
