"""The clock of the simulated exchange: events at the set rate, floods, replays, and what happens once a second.

Runs as one task of the event loop; never awaits longer than a tick.
"""

import asyncio
import time
from collections.abc import Callable

from .hub import Hub
from .market import FOLD_AT, Market
from .replay import Replay
from .server import WsServer

TICK_S = 0.005
BATCH = 400  # events or payloads between two flushes, a few milliseconds of work
MAX_CATCH_UP_S = 0.25  # a loop that was held up longer than this does not make up for the rest
CLOCK_S = 0.25  # what is due without an event, stalls, idle connections, folding
KLINE_S = 1.0


class Engine:
    """Drives market, flood and replay. Event loop thread only."""

    def __init__(self, hub: Hub, market: Market, ws: WsServer, replay: Replay) -> None:
        self._hub, self._market, self._ws, self.replay = hub, market, ws, replay
        self.flood_left = 0
        self.flood_waits_for = 0
        self.is_stopped = False
        self.on_tick: Callable[[], None] = lambda: None  # after every move of the market
        self._carry = 0.0
        self._next_clock_s = self._next_kline_s = 0.0

    def stop(self) -> None:
        """Stop the market: what was gathered or held back by a reorder fault leaves now, no data message follows."""
        self._market.repeat()
        for topic in self._hub.topics.values():
            self._hub.release(topic)
        self._ws.flush()
        self.is_stopped = True

    async def run(self) -> None:
        """Run until cancelled."""
        last_s = time.monotonic()
        while True:
            busy = self.flood_left > 0 or (self.replay.is_running and not self.replay.is_slow)
            await asyncio.sleep(0 if busy and not self._ws.is_congested else TICK_S)
            now_s = time.monotonic()
            elapsed_s, last_s = min(now_s - last_s, MAX_CATCH_UP_S), now_s
            if not self.is_stopped:
                await self._advance(now_s, elapsed_s)
            self.on_tick()
            self._by_the_clock(now_s)
            self._ws.flush()

    async def _advance(self, now_s: float, elapsed_s: float) -> None:
        if self.replay.is_running:
            if not self._ws.is_congested:
                self.replay.step(now_s, BATCH)
        elif self.flood_left > 0:
            self._flood()
        else:
            await self._rated(elapsed_s)

    async def _rated(self, elapsed_s: float) -> None:
        """Make as many events as the rate requires, flushed in batches."""
        self._carry += self._market.rate * elapsed_s
        due, self._carry = int(self._carry), self._carry % 1
        self._market.step_illiquid(elapsed_s)
        while due > 0:
            self._market.step(min(due, BATCH))
            due -= BATCH
            if due > 0:
                self._ws.flush()
                await asyncio.sleep(0)

    def _flood(self) -> None:
        """Send one batch of a flood, as far as clients take it."""
        if self._hub.subscribed < self.flood_waits_for or self._ws.is_congested:
            return
        before, limit = self._hub.generated, self._hub.limit
        self._hub.limit = min(before + self.flood_left, limit if limit is not None else before + self.flood_left)
        self._market.step(BATCH)
        self._hub.limit = limit
        self.flood_left -= self._hub.generated - before
        self._market.fold(FOLD_AT)

    def _by_the_clock(self, now_s: float) -> None:
        if now_s >= self._next_clock_s:
            self._next_clock_s = now_s + CLOCK_S
            self._ws.tend()
            self._market.fold()
            if not self.is_stopped:
                self._market.repeat()
        if now_s >= self._next_kline_s and not self.is_stopped:
            self._next_kline_s = now_s + KLINE_S
            self._market.push_klines()
