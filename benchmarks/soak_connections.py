"""The soak's connections: trades late, double or lost; cuts, stalls, overflows. Pure; virtual time."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from benchmarks.soak_market import Symbol
from benchmarks.soak_timeline import Timeline

CONNECTIONS = 5
LATE_MS = 400  # longest way of a trade to us
LATE_SHARE, DOUBLE_SHARE, STALL_SHARE, LONG_SHARE = 0.03, 0.01, 0.2, 0.05
FAULT_EVERY_MS, DOWN_MS, LONG_DOWN_MS, STALL_MS = 15_000, (200, 3_000), (20_000, 60_000), (2_000, 15_000)
OVERFLOW_EVERY_MS, OVERFLOW_MS = 600_000, (20, 2_000)
CONNECT_MS = (200, 1_500)


@dataclass
class Collector:
    """The callbacks of a running collector. Times are the exchange's; the collector has a clock of its own."""

    put: Callable[[bytes], object]
    mark: Callable[[Literal["up", "down"], tuple[str, ...], int], object]
    overflow: Callable[[int, int], object]
    naive: Callable[[bytes], object]


@dataclass
class Connection:
    """One socket and its ten symbols."""

    symbols: tuple[str, ...]
    is_up: bool = False
    is_stalled: bool = False
    last_ms: int = 0
    due_ms: int = 0  # when the last message that was sent in order arrives
    epoch: int = 0  # counts ups and downs: what was planned for an earlier one does not happen
    recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=5))


class Connections:
    """All connections of the collector; while there is none, trades are lost.

    `doubles`: trades come twice now and then. A new connection begins with the last trades of the one before.
    """

    def __init__(self, timeline: Timeline, market: Mapping[str, Symbol], *, doubles: bool = True) -> None:
        self._doubles = doubles
        self._timeline, self._market = timeline, market
        names = list(market)
        self._connections = [Connection(tuple(names[i::CONNECTIONS])) for i in range(CONNECTIONS)]
        self._connection_of = {name: connection for connection in self._connections for name in connection.symbols}
        self._collector: Collector | None = None
        self._overflow_since: int | None = None
        for symbol in market.values():
            timeline.plan(symbol.wait_ms(), partial(self._trade, symbol.name))

    def begin(self) -> None:
        """Overflow now and then from here on."""
        self._timeline.plan_every(OVERFLOW_EVERY_MS, self._overflow)

    def attach(self, collector: Collector) -> None:
        """Attach a collector, which connects."""
        self._collector = collector
        for connection in self._connections:
            self._timeline.plan(self._timeline.span(CONNECT_MS), partial(self._connect, connection, connection.epoch))

    def die(self) -> None:
        """Detach a collector that was killed."""
        self._collector = self._overflow_since = None
        for connection in self._connections:
            self._timeline.faults["killed in a stall"] += connection.is_up and connection.is_stalled
            connection.epoch, connection.is_up = connection.epoch + 1, False
            connection.recent.clear()

    def settle(self) -> None:
        """Do what shows the last faults, where there are no more."""

    # -- trades ----------------------------------------------------------------------------------------

    def _trade(self, name: str) -> None:
        timeline, symbol, connection = self._timeline, self._market[name], self._connection_of[name]
        for payload in symbol.burst(timeline.now):
            delay_ms = timeline.span((5, LATE_MS)) if timeline.chance(LATE_SHARE) else timeline.span((5, 60))
            timeline.plan(delay_ms, partial(self._deliver, connection, payload))
            if timeline.chance(DOUBLE_SHARE) and timeline.is_faulty and self._doubles:
                timeline.faults["duplicates"] += 1
                timeline.plan(delay_ms + timeline.span((0, 3_000)), partial(self._deliver, connection, payload))
        timeline.plan(symbol.wait_ms(), partial(self._trade, name))

    def _deliver(self, connection: Connection, payload: bytes) -> None:
        if self._collector is None:
            return
        if not connection.is_up or connection.is_stalled:
            self._timeline.faults["trades lost"] += 1
            return
        connection.last_ms = self._timeline.now
        connection.recent.append(payload)
        if self._overflow_since is None:
            self._collector.put(payload)
            self._collector.naive(payload)

    # -- connections -----------------------------------------------------------------------------------

    def _connect(self, connection: Connection, epoch: int) -> None:
        if epoch != connection.epoch or self._collector is None:
            return
        connection.epoch, connection.is_up, connection.is_stalled, connection.last_ms = (
            epoch + 1,
            True,
            False,
            self._timeline.now,
        )
        self._collector.mark("up", connection.symbols, self._timeline.now)
        for payload in list(connection.recent):
            self._deliver(connection, payload)
        self._timeline.plan(self._wait_for_fault_ms(), partial(self._fail, connection, connection.epoch))

    def _wait_for_fault_ms(self) -> float:
        return self._timeline.wait_ms(FAULT_EVERY_MS)

    def _fail(self, connection: Connection, epoch: int) -> None:
        timeline = self._timeline
        if epoch != connection.epoch or not timeline.is_faulty:
            return
        if timeline.chance(STALL_SHARE):
            timeline.faults["stalls"] += 1
            connection.is_stalled = True
            timeline.plan(timeline.span(STALL_MS), partial(self._disconnect, connection, epoch))
        else:
            self._disconnect(connection, epoch)

    def _disconnect(self, connection: Connection, epoch: int) -> None:
        if epoch != connection.epoch or self._collector is None:
            return
        self._timeline.faults["disconnects"] += 1
        connection.epoch, connection.is_up = epoch + 1, False
        self._collector.mark("down", connection.symbols, connection.last_ms)
        down_ms = LONG_DOWN_MS if self._timeline.chance(LONG_SHARE) else DOWN_MS
        self._timeline.plan(self._timeline.span(down_ms), partial(self._connect, connection, connection.epoch))

    # -- overflows -------------------------------------------------------------------------------------

    def _overflow(self) -> None:
        if self._collector and self._timeline.is_faulty and self._overflow_since is None:
            self._timeline.faults["overflows"] += 1
            self._overflow_since = self._timeline.now
            self._timeline.plan(self._timeline.span(OVERFLOW_MS), partial(self._end_overflow, self._collector))

    def _end_overflow(self, collector: Collector) -> None:
        if collector is self._collector and self._overflow_since is not None:
            collector.overflow(self._overflow_since, self._timeline.now)
            self._overflow_since = None
