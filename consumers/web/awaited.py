"""Klines for requests that wait for them: the open ones of the aggregator, and the moment at which others are stored.

Implements model.market_api.LiveKlines. `offer_open` and `stored` are for any thread, all else is the event loop's.
Open klines are made only of symbols that were asked for in the last seconds, and only then cost anything.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from model.intervals import step_of
from model.ports import CandleStore, StoreError
from model.records import Kline

WAIT_S = 1.5  # for a kline that opens or closes this moment
LEASE_S = 10.0  # after the last request for a symbol its open klines are made no longer
LEASES_MOST = 2_000  # symbols
FRESH_S = 1.5  # an older state is not answered any more
POLL_S = 0.25  # between two looks into the store, where no commit is reported meanwhile

Key = tuple[str, str, int, int]
"""Market, symbol, step and start."""


@dataclass(eq=False)
class _Lease:
    """What is known of a symbol, by step, and who waits for it: step, earliest start, and the future."""

    until_s: float = 0.0
    at_s: float = 0.0
    klines: dict[int, Kline] = field(default_factory=dict)
    waiting: list[tuple[int, int, "asyncio.Future[Kline]"]] = field(default_factory=list)


class AwaitedKlines:
    """The klines that requests wait for."""

    def __init__(
        self,
        store: Callable[[], CandleStore | None],
        *,
        wait_s: float = WAIT_S,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.viewed: Mapping[str, frozenset[str]] = {}
        """The symbols by market whose open klines are wanted; replaced on the event loop."""
        self.is_asked = False
        """Whether somebody waits for an open one; any thread."""
        self.hurry: Callable[[], object] = lambda: None
        """Called where somebody begins to."""
        self._store, self._wait_s, self._lease_s, self._clock = store, wait_s, lease_s, clock
        self._leases: dict[tuple[str, str], _Lease] = {}
        self._closing: dict[Key, asyncio.Future[bool]] = {}
        self._commits = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- any thread ----------------------------------------------------------------------------------------------------

    def offer_open(self, market: str, klines: Iterable[Kline]) -> None:
        """Take the present state of all klines of a market that are open."""
        if symbols := self.viewed.get(market):
            taken = [kline for kline in klines if kline.symbol in symbols]
            self._call(lambda: self._take(market, symbols, taken))

    def stored(self) -> None:
        """Record that klines were written to the store."""
        if self._closing:
            self._call(self._commits.set)

    def _call(self, work: Callable[[], object]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(work)

    # -- open ones -----------------------------------------------------------------------------------------------------

    async def open_kline(self, market: str, symbol: str, step_ms: int, start_ms: int) -> Kline | None:
        """Return the present state of an open kline; see model.market_api.LiveKlines."""
        loop = self._loop = asyncio.get_running_loop()
        now_s, key = self._clock(), (market, symbol)
        lease = self._leases.get(key)
        if lease is None:
            if len(self._leases) >= LEASES_MOST:
                return None
            lease = self._leases[key] = _Lease()
            self._follow_leases()
        lease.until_s = now_s + self._lease_s
        known = lease.klines.get(step_ms)
        if known is not None and known.timestamp >= start_ms and now_s - lease.at_s < FRESH_S:
            return known
        future: asyncio.Future[Kline] = loop.create_future()
        waiting = step_ms, start_ms, future
        lease.waiting.append(waiting)
        self.is_asked = True
        self.hurry()
        try:
            async with asyncio.timeout(self._wait_s):
                return await future
        except TimeoutError:
            return None
        finally:
            if waiting in lease.waiting:
                lease.waiting.remove(waiting)
            self.is_asked = self.is_asked and any(each.waiting for each in self._leases.values())

    def _take(self, market: str, symbols: frozenset[str], klines: list[Kline]) -> None:
        """Take what was offered of these symbols."""
        now_s = self._clock()
        found: dict[str, dict[int, Kline]] = {}
        for kline in klines:
            found.setdefault(kline.symbol, {})[step_of(kline.interval, kline.timestamp)] = kline
        for key in [(market, symbol) for symbol in symbols]:
            if (lease := self._leases.get(key)) is None:
                continue
            lease.klines, lease.at_s = found.get(key[1], {}), now_s
            for waiting in list(lease.waiting):
                step_ms, start_ms, future = waiting
                known = lease.klines.get(step_ms)
                if known is not None and known.timestamp >= start_ms:
                    lease.waiting.remove(waiting)
                    if not future.done():
                        future.set_result(known)
        self.is_asked = any(each.waiting for each in self._leases.values())
        if over := [key for key, lease in self._leases.items() if lease.until_s < now_s and not lease.waiting]:
            for key in over:
                del self._leases[key]
            self._follow_leases()

    def _follow_leases(self) -> None:
        symbols: dict[str, set[str]] = {}
        for market, symbol in self._leases:
            symbols.setdefault(market, set()).add(symbol)
        self.viewed = {market: frozenset(each) for market, each in symbols.items()}

    # -- closing ones --------------------------------------------------------------------------------------------------

    async def closed(self, market: str, symbol: str, step_ms: int, start_ms: int) -> bool:
        """Wait until a kline can be read from the store; see model.market_api.LiveKlines."""
        loop = self._loop = asyncio.get_running_loop()
        key = market, symbol, step_ms, start_ms
        future = self._closing.get(key)
        if future is None:
            future = self._closing[key] = loop.create_future()
            loop.call_later(self._wait_s, self._give_up, key)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        return await asyncio.shield(future)

    def _give_up(self, key: Key) -> None:
        if future := self._closing.pop(key, None):
            future.set_result(False)

    async def _look(self) -> None:
        """Look into the store after each commit, for all that wait together."""
        while self._closing:
            self._commits.clear()
            for key in await asyncio.to_thread(self._stored_of, list(self._closing)):
                if future := self._closing.pop(key, None):
                    future.set_result(True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._commits.wait()

    def _stored_of(self, keys: list[Key]) -> list[Key]:
        if (store := self._store()) is None:
            return []
        with contextlib.suppress(StoreError):
            return [
                (market, symbol, step_ms, start_ms)
                for market, symbol, step_ms, start_ms in keys
                if store.klines(market, symbol, step_ms, start_ms, start_ms + 1)
            ]
        return []
