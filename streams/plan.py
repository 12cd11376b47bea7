"""The plan: which symbols share a connection, as entries of the STREAMS list, and their change to other symbols.

Pure; one thread (main) changes it. A symbol that is added or removed closes no connection that still has symbols: the
running stream reads them from its own entry. Depends on no exchange: functions and callbacks pass through unread.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from model.ports import PayloadSink, RedundantSink
from model.records import Kind

Entry = dict[str, Any]


class LiveSymbols(list[str]):
    """The symbols of one connection. `version` grows after each change, so that a running stream sees there was one.

    Changed by the plan's thread, read by the stream's: read `version` before the symbols.
    """

    version = 0

    def replace(self, symbols: Iterable[str]) -> None:
        """Replace all symbols by these, and count the change."""
        self[:] = symbols
        self.version += 1


@dataclass(frozen=True)
class DesiredStream:
    """One kind of one market: what its entries call and hand over, and which symbols, in order of their rank.

    `redundant` symbols come over two connections, whose payloads go to what `combine(callback)` returns. A connection
    takes symbols until their `cost` (bytes) is above `budget`, and `most` of them; where the kind `is_market_wide`, all
    whatever the pool size: each connection would bring every symbol's data.
    """

    kind: Kind
    market: str
    func: Callable[..., object]
    callback: PayloadSink
    symbols: Sequence[str]
    redundant: frozenset[str] = frozenset()
    combine: Callable[[PayloadSink], RedundantSink] | None = None
    cost: Callable[[str], int] = len
    budget: int = 1_000_000
    most: int = 1_000_000
    is_market_wide: bool = False


@dataclass(eq=False)
class _Pool:
    """One connection, or two that carry the same symbols."""

    symbols: LiveSymbols
    entries: list[Entry]
    is_redundant: bool


class StreamPlan:
    """The part of a STREAMS list that comes from the settings; entries of the user's own stay untouched."""

    def __init__(self, streams: list[Entry], pool_size: int) -> None:
        """`streams` is changed in place; `pool_size` is how many symbols a connection carries at most."""
        self.combined: list[RedundantSink] = []  # what `combine` returned, for its counters
        self._streams, self._pool_size = streams, pool_size
        self._pools: dict[tuple[str, str], list[_Pool]] = {}

    def reconcile(self, desired: Iterable[DesiredStream]) -> None:
        """Change the list to what is desired now: at the start, or at any later time."""
        for stream in desired:
            self._reconcile(stream)

    def clear(self) -> None:
        """Take the plan's own entries out of the list."""
        self._pools.clear()
        self._streams[:] = [entry for entry in self._streams if not is_planned(entry)]

    def _reconcile(self, stream: DesiredStream) -> None:
        pools = self._pools.setdefault((stream.kind, stream.market), [])
        wanted = set(stream.symbols)
        kept = {pool: [symbol for symbol in pool.symbols if symbol in wanted] for pool in pools}
        placed = {symbol for names in kept.values() for symbol in names}
        for is_redundant in (True, False):
            new = [s for s in stream.symbols if s not in placed and (s in stream.redundant) is is_redundant]
            self._assign(stream, new, is_redundant, kept)
        for pool, names in kept.items():
            if not names:
                pools.remove(pool)
                gone = {id(entry) for entry in pool.entries}
                self._streams[:] = [entry for entry in self._streams if id(entry) not in gone]
            elif names != pool.symbols:
                pool.symbols.replace(names)

    def _assign(
        self, stream: DesiredStream, symbols: Iterable[str], is_redundant: bool, kept: dict[_Pool, list[str]]
    ) -> None:
        """Assign new symbols to connections that have room, else to new ones."""
        open_pools = [pool for pool in kept if pool.is_redundant is is_redundant]
        costs = {pool: sum(map(stream.cost, kept[pool])) for pool in open_pools}
        most = stream.most if stream.is_market_wide else min(self._pool_size, stream.most)
        for symbol in symbols:
            cost = stream.cost(symbol)
            fitting = (p for p in open_pools if len(kept[p]) < most and costs[p] + cost <= stream.budget)
            pool = next(fitting, None)
            if pool is None:
                pool = self._add_pool(stream, symbol, is_redundant)
                open_pools.append(pool)
                kept[pool], costs[pool] = [symbol], cost
            else:
                kept[pool].append(symbol)
                costs[pool] += cost

    def _add_pool(self, stream: DesiredStream, symbol: str, is_redundant: bool) -> _Pool:
        pools = self._pools[stream.kind, stream.market]
        taken = [entry.get("name") for entry in self._streams if isinstance(entry, Mapping)]  # the user's, too
        stem = f"{stream.kind.capitalize()}_{stream.market}_"
        name = next(name for n in count(1) if (name := f"{stem}{n}") not in taken and f"{name}b" not in taken)
        symbols, callback, names = LiveSymbols([symbol]), stream.callback, [name]
        if is_redundant and stream.combine:
            combined = stream.combine(stream.callback)
            callback, names = combined, [name, f"{name}b"]
            self.combined.append(combined)
        args = symbols, callback, stream.market
        entries: list[Entry] = [_PlannedEntry(name=each, func=stream.func, args=args) for each in names]
        pool = _Pool(symbols, entries, is_redundant)
        pools.append(pool)
        self._streams += entries
        return pool


class _PlannedEntry(Entry):
    """A dict like the user's; its type marks it as the plan's."""


def is_planned(entry: object) -> bool:
    """Whether an entry is the plan's, not the user's."""
    return isinstance(entry, _PlannedEntry)
