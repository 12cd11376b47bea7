"""Which symbols share a connection, as entries of the STREAMS list, and how the list follows other symbols. Pure.

One thread (main) changes the plan. A symbol that comes or goes leaves every connection open that still has one:
its running stream reads the new symbols from its own entry. Knows no exchange: functions and callbacks go through.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

Entry = dict[str, Any]


class LiveSymbols(list[str]):
    """The symbols of one connection. `version` grows after each change, so that a running stream sees there was one.

    Changed by the plan's thread, read by the stream's: read `version` before the symbols.
    """

    version = 0

    def follow(self, symbols: Iterable[str]) -> None:
        """Be these from now on."""
        self[:] = symbols
        self.version += 1


@dataclass(frozen=True)
class Want:
    """One kind of one market: what its entries call and hand over, and which symbols, in order of their rank.

    `doubled` symbols come over two connections, whose payloads go to what `merge(callback)` makes. A connection takes
    symbols until their `cost` (characters) is above `budget`.
    """

    kind: str
    market: str
    func: Callable[..., Any]
    callback: Callable[[bytes], Any]
    symbols: Sequence[str]
    doubled: frozenset[str] = frozenset()
    merge: Callable[[Any], Any] | None = None
    cost: Callable[[str], int] = len
    budget: int = 1_000_000

    def within(self, cost: Callable[[str], int], budget: int) -> "Want":
        """The same over connections of so many characters."""
        return replace(self, cost=cost, budget=budget)

    def only(self, symbols: Sequence[str]) -> "Want":
        """The same of these symbols."""
        return replace(self, symbols=symbols)


@dataclass(eq=False)
class _Pool:
    """One connection, or two that bring the same."""

    symbols: LiveSymbols
    entries: list[Entry]
    is_doubled: bool


class StreamPlan:
    """The part of a STREAMS list that the settings ask for; entries of the user's own stay untouched."""

    def __init__(self, streams: list[Entry], pool_size: int) -> None:
        """`streams` is changed in place; `pool_size` is how many symbols a connection carries at most."""
        self.merged: list[Any] = []  # what `merge` made, for its counters
        self._streams, self._pool_size = streams, pool_size
        self._pools: dict[tuple[str, str], list[_Pool]] = {}

    def follow(self, wants: Iterable[Want]) -> None:
        """Make the list what is wanted now: the first time, or any later one."""
        for want in wants:
            self._follow(want, list(want.symbols))

    def entries(self) -> list[Entry]:
        """The plan's own entries, by kind and market."""
        return [entry for pools in self._pools.values() for pool in pools for entry in pool.entries]

    def clear(self) -> None:
        """Take the plan's own entries out of the list."""
        self._pools.clear()
        self._streams[:] = [entry for entry in self._streams if not is_planned(entry)]

    def _follow(self, want: Want, symbols: list[str]) -> None:
        pools = self._pools.setdefault((want.kind, want.market), [])
        wanted = set(symbols)
        kept = {pool: [symbol for symbol in pool.symbols if symbol in wanted] for pool in pools}
        placed = {symbol for names in kept.values() for symbol in names}
        for is_doubled in (True, False):
            new = [s for s in symbols if s not in placed and (s in want.doubled) is is_doubled]
            self._place(want, new, is_doubled, kept)
        for pool, names in kept.items():
            if not names:
                self._drop(pool, pools)
            elif names != pool.symbols:
                pool.symbols.follow(names)

    def _place(self, want: Want, symbols: Iterable[str], is_doubled: bool, kept: dict[_Pool, list[str]]) -> None:
        """Put new symbols where there is room, else on connections of their own."""
        rooms = [pool for pool in kept if pool.is_doubled is is_doubled]
        costs = {pool: sum(map(want.cost, kept[pool])) for pool in rooms}
        for symbol in symbols:
            cost = want.cost(symbol)
            pool = next((p for p in rooms if self._has_room(kept[p], costs[p] + cost, want.budget)), None)
            if pool is None:
                pool = self._open(want, symbol, is_doubled)
                rooms.append(pool)
                kept[pool], costs[pool] = [symbol], cost
            else:
                kept[pool].append(symbol)
                costs[pool] += cost

    def _has_room(self, names: Sequence[str], cost: int, budget: int) -> bool:
        return len(names) < self._pool_size and cost <= budget

    def _open(self, want: Want, symbol: str, is_doubled: bool) -> _Pool:
        pools = self._pools[want.kind, want.market]
        taken = [entry.get("name") for entry in self._streams if isinstance(entry, Mapping)]  # the user's, too
        stem = f"{want.kind.capitalize()}_{want.market}_"
        name = next(name for n in count(1) if (name := f"{stem}{n}") not in taken and f"{name}b" not in taken)
        symbols, callback, names = LiveSymbols([symbol]), want.callback, [name]
        if is_doubled and want.merge:
            callback, names = want.merge(callback), [name, f"{name}b"]
            self.merged.append(callback)
        entries = [_entry(each, want.func, symbols, callback, want.market) for each in names]
        pool = _Pool(symbols, entries, is_doubled)
        pools.append(pool)
        self._streams += entries
        return pool

    def _drop(self, pool: _Pool, pools: list[_Pool]) -> None:
        pools.remove(pool)
        gone = {id(entry) for entry in pool.entries}
        self._streams[:] = [entry for entry in self._streams if id(entry) not in gone]


class _PlannedEntry(Entry):
    """A dict like the user's, known as ours."""


def is_planned(entry: object) -> bool:
    """Whether an entry is the plan's, not the user's."""
    return isinstance(entry, _PlannedEntry)


def _entry(name: str, func: Any, symbols: LiveSymbols, callback: Any, market: str) -> Entry:
    return _PlannedEntry(name=name, func=func, args=(symbols, callback, market))
