"""The soak's connections: trades on their way, late, double, lost; cuts, stalls, overflows. Pure; virtual time."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from benchmarks.soak_market import Symbol
from benchmarks.soak_timeline import Stage

CONNECTIONS = 5
LATE_MS = 400  # longest way of a trade to us
LATE_SHARE, DOUBLE_SHARE, STALL_SHARE, LONG_SHARE = 0.03, 0.01, 0.2, 0.05
FAULT_EVERY_MS, DOWN_MS, LONG_DOWN_MS, STALL_MS = 15_000, (200, 3_000), (20_000, 60_000), (2_000, 15_000)
OVERFLOW_EVERY_MS, OVERFLOW_MS = 600_000, (20, 2_000)
CONNECT_MS = (200, 1_500)


@dataclass
class Collector:
    """What a living collector takes from its connections. Times are the exchange's; it has a clock of its own."""

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
    turn: int = 0  # counts its ups and downs: what was planned for an earlier one does not happen
    recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=5))


class Lines:
    """All connections of the collector; while there is none, trades pass unseen."""

    def __init__(self, stage: Stage, market: Mapping[str, Symbol]) -> None:
        self._stage, self._market = stage, market
        names = list(market)
        self._connections = [Connection(tuple(names[i::CONNECTIONS])) for i in range(CONNECTIONS)]
        self._line = {name: connection for connection in self._connections for name in connection.symbols}
        self._collector: Collector | None = None
        self._overflow_since: int | None = None
        for symbol in market.values():
            stage.plan(symbol.wait_ms(), partial(self._trade, symbol.name))

    def begin(self) -> None:
        """Overflow now and then from here on."""
        self._stage.plan_every(OVERFLOW_EVERY_MS, self._overflow)

    def attach(self, collector: Collector) -> None:
        """A collector begins and connects."""
        self._collector = collector
        for line in self._connections:
            self._stage.plan(self._stage.span(CONNECT_MS), partial(self._connect, line, line.turn))

    def die(self) -> None:
        """The collector is no more."""
        self._collector = self._overflow_since = None
        for line in self._connections:
            self._stage.faults["killed in a stall"] += line.is_up and line.is_stalled
            line.turn, line.is_up = line.turn + 1, False
            line.recent.clear()

    # -- trades ----------------------------------------------------------------------------------------

    def _trade(self, name: str) -> None:
        stage, symbol, line = self._stage, self._market[name], self._line[name]
        for payload in symbol.burst(stage.now):
            delay_ms = stage.span((5, LATE_MS)) if stage.chance(LATE_SHARE) else stage.span((5, 60))
            stage.plan(delay_ms, partial(self._deliver, line, payload))
            if stage.chance(DOUBLE_SHARE) and stage.is_faulty:
                stage.faults["duplicates"] += 1
                stage.plan(delay_ms + stage.span((0, 3_000)), partial(self._deliver, line, payload))
        stage.plan(symbol.wait_ms(), partial(self._trade, name))

    def _deliver(self, line: Connection, payload: bytes) -> None:
        if self._collector is None:
            return
        if not line.is_up or line.is_stalled:
            self._stage.faults["trades lost"] += 1
            return
        line.last_ms = self._stage.now
        line.recent.append(payload)
        if self._overflow_since is None:
            self._collector.put(payload)
            self._collector.naive(payload)

    # -- connections -----------------------------------------------------------------------------------

    def _connect(self, line: Connection, turn: int) -> None:
        if turn != line.turn or self._collector is None:
            return
        line.turn, line.is_up, line.is_stalled, line.last_ms = turn + 1, True, False, self._stage.now
        self._collector.mark("up", line.symbols, self._stage.now)
        for payload in list(line.recent):
            self._deliver(line, payload)
        self._stage.plan(self._stage.wait_ms(FAULT_EVERY_MS), partial(self._fail, line, line.turn))

    def _fail(self, line: Connection, turn: int) -> None:
        stage = self._stage
        if turn != line.turn or not stage.is_faulty:
            return
        if stage.chance(STALL_SHARE):
            stage.faults["stalls"] += 1
            line.is_stalled = True
            stage.plan(stage.span(STALL_MS), partial(self._disconnect, line, turn))
        else:
            self._disconnect(line, turn)

    def _disconnect(self, line: Connection, turn: int) -> None:
        if turn != line.turn or self._collector is None:
            return
        self._stage.faults["disconnects"] += 1
        line.turn, line.is_up = turn + 1, False
        self._collector.mark("down", line.symbols, line.last_ms)
        down_ms = LONG_DOWN_MS if self._stage.chance(LONG_SHARE) else DOWN_MS
        self._stage.plan(self._stage.span(down_ms), partial(self._connect, line, line.turn))

    # -- overflows -------------------------------------------------------------------------------------

    def _overflow(self) -> None:
        if self._collector and self._stage.is_faulty and self._overflow_since is None:
            self._stage.faults["overflows"] += 1
            self._overflow_since = self._stage.now
            self._stage.plan(self._stage.span(OVERFLOW_MS), partial(self._end_overflow, self._collector))

    def _end_overflow(self, collector: Collector) -> None:
        if collector is self._collector and self._overflow_since is not None:
            collector.overflow(self._overflow_since, self._stage.now)
            self._overflow_since = None
