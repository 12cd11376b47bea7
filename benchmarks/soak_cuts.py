"""The soak's connections to an exchange with numbered trades: in order, with holes and cuts of old connections.

Pure; virtual time. What the exchange itself does: trades of a connection come in their order, OKX sends the last one of
each symbol when it is subscribed, and a connection of 24 hours (here: ten minutes) ends. A planned end comes after
the next connection has begun: for some time both bring the same.
"""

from collections.abc import Mapping
from functools import partial

from benchmarks.soak_connections import LATE_MS, Collector, Connection, Connections
from benchmarks.soak_exchange import NumberedSymbol
from benchmarks.soak_market import Symbol
from benchmarks.soak_timeline import Timeline

CUT_EVERY_MS, PLANNED_SHARE, OVERLAP_MS = 600_000, 0.5, (500, 8_000)
HOLE_EVERY_MS, HOLES = 12_000, (1, 1, 1, 2, 5, 30, 200, 1_500)  # so many messages of a symbol are dropped
HOLE_MOST_MS = 40_000  # of the time that a hole takes on average
LATE_SHARE, DOUBLE_SHARE, REORDERED_SHARE = 0.002, 0.01, 0.001


class OrderedConnections(Connections):
    """Connections on which trades come in their order, but for a few."""

    def __init__(self, timeline: Timeline, market: Mapping[str, Symbol], *, replays_last: bool) -> None:
        super().__init__(timeline, market)
        self._replays_last = replays_last
        self._index_of = {name: i for i, each in enumerate(self._connections) for name in each.symbols}
        self._seconds: dict[int, Connection] = {}
        self._dropping: dict[str, int] = {}
        self._known: set[str] = set()  # symbols of which this collector has a trade: the next id shows a hole
        self._hidden: dict[str, int] = {}  # when holes began that no later trade has shown yet
        self.unnoticed: list[tuple[str, int, int]] = []  # of those the symbol, begin, and when the collector was killed

    def begin(self) -> None:
        """Fail now and then from here on."""
        super().begin()
        self._timeline.plan_every(HOLE_EVERY_MS, self._drop)
        for index in range(len(self._connections)):
            self._timeline.plan(CUT_EVERY_MS * (index + 1) // len(self._connections), partial(self._cut, index))

    def attach(self, collector: Collector) -> None:
        """Attach a collector, which connects."""
        self._seconds.clear()
        super().attach(collector)

    def die(self) -> None:
        """Detach a collector that was killed."""
        for second in self._seconds.values():
            second.is_up = False
        self._seconds.clear()
        self.unnoticed += [(name, ms, self._timeline.now) for name, ms in self._hidden.items()]
        self._hidden.clear()
        self._known.clear()
        super().die()

    def settle(self) -> None:
        """End all holes, and have every symbol trade once: a hole is seen by the next trade."""
        self._dropping.clear()
        for name in self._market:
            self._timeline.plan(self._timeline.span((2_000, 10_000)), partial(self._send_burst, name))

    # -- trades ----------------------------------------------------------------------------------------

    def _trade(self, name: str) -> None:
        self._send_burst(name)
        self._timeline.plan(self._market[name].wait_ms(), partial(self._trade, name))

    def _send_burst(self, name: str) -> None:
        index = self._index_of[name]
        sockets = [self._connections[index], *(each for each in (self._seconds.get(index),) if each)]
        for payload in self._market[name].burst(self._timeline.now):
            for socket in sockets:
                self._send(name, socket, payload)

    def _send(self, name: str, socket: Connection, payload: bytes) -> None:
        timeline = self._timeline
        arrive = partial(self._arrive, name, timeline.now, socket, payload)
        is_first = socket is self._connections[self._index_of[name]]
        if self._dropping.get(name) and name in self._known and is_first:
            self._dropping[name] -= 1
            self._hidden.setdefault(name, timeline.now)
            timeline.faults["messages in holes"] += 1
            return
        delay_ms = timeline.span((5, LATE_MS)) if timeline.chance(LATE_SHARE) else timeline.span((5, 60))
        if timeline.is_faulty and timeline.chance(REORDERED_SHARE):
            timeline.faults["reordered"] += 1
            timeline.plan(delay_ms + timeline.span((0, LATE_MS)), arrive)
            return
        socket.due_ms = max(socket.due_ms, timeline.now + delay_ms)
        timeline.plan(socket.due_ms - timeline.now, arrive)
        if timeline.is_faulty and timeline.chance(DOUBLE_SHARE):
            timeline.faults["duplicates"] += 1
            timeline.plan(delay_ms + timeline.span((0, 3_000)), arrive)

    def _arrive(self, name: str, sent_ms: int, socket: Connection, payload: bytes) -> None:
        if self._collector is not None and socket.is_up and not socket.is_stalled:
            self._known.add(name)
            if self._hidden.get(name, sent_ms) < sent_ms:
                del self._hidden[name]
        self._deliver(socket, payload)

    def _drop(self) -> None:
        """Begin a hole: the next messages of a symbol do not come, and nothing else tells of it."""
        if not self._timeline.is_faulty:
            return
        self._timeline.faults["holes"] += 1
        name = self._timeline.rng.choice(list(self._market))
        most = HOLE_MOST_MS // self._market[name].every_ms + 1
        self._dropping[name] = min(self._timeline.rng.choice(HOLES), most)

    # -- connections -----------------------------------------------------------------------------------

    def _connect(self, connection: Connection, epoch: int) -> None:
        connection.recent.clear()
        is_new = epoch == connection.epoch and self._collector is not None
        super()._connect(connection, epoch)
        if is_new:
            self._replay(connection)

    def _replay(self, connection: Connection) -> None:
        for name in connection.symbols if self._replays_last else ():
            symbol = self._market[name]
            assert isinstance(symbol, NumberedSymbol)
            self._timeline.faults["last trades replayed"] += 1
            self._arrive(name, self._timeline.now, connection, symbol.last_payload)

    def _cut(self, index: int) -> None:
        """End a connection as after 24 hours: with the next one beside it, where that was planned."""
        timeline, connection = self._timeline, self._connections[index]
        timeline.plan(CUT_EVERY_MS, partial(self._cut, index))
        if self._collector is None or not timeline.is_faulty or not connection.is_up or index in self._seconds:
            return
        if not timeline.chance(PLANNED_SHARE):
            timeline.faults["cuts, not planned"] += 1
            self._disconnect(connection, connection.epoch)
            return
        timeline.faults["cuts, planned"] += 1
        second = self._seconds[index] = Connection(connection.symbols, is_up=True, last_ms=timeline.now)
        self._collector.mark("up", second.symbols, timeline.now)
        self._replay(second)
        timeline.plan(timeline.span(OVERLAP_MS), partial(self._hand_over, index, connection, second))

    def _hand_over(self, index: int, first: Connection, second: Connection) -> None:
        if self._collector is None or self._seconds.get(index) is not second:
            return
        del self._seconds[index]
        if first.is_up:
            self._collector.mark("down", first.symbols, first.last_ms)
        first.epoch, first.is_up = first.epoch + 1, False  # nor does it connect again
        self._connections[index] = second
        self._timeline.plan(self._wait_for_fault_ms(), partial(self._fail, second, second.epoch))
