"""Trades of one stream over two connections: what one of them has delivered is dropped when the other delivers it.

Called on the threads that read the connections; one lock is held while a payload is compared and passed on, so that
the merged order is the exchange's. Drops no payload without trade ids. No JSON is parsed.
"""

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from model.ports import PayloadSink
from model.protocol import TradeKeys
from model.records import Delivery, FeedMarker

GENERATION_IDS = 50_000  # with their set about 6 MB
GENERATION_S = 60.0  # longer than a dead connection takes to be found: what it delivers late is still a duplicate
GENERATION_LIMIT_IDS = 200_000  # memory bound in a flood, 25 MB a generation
OVERLAP_MS = 250  # two gateways push one trade at different times: a connection that is up for less proves nothing

_JSON_PARTS = re.compile(rb'"[^"]*"?|[^"\s]')  # of a marker, between which JSON may have spaces

TradeKey = bytes | tuple[bytes, bytes]
"""What identifies a trade within its topic: its id, with its symbol where the topic has several (options of a coin)."""
Seen = dict[bytes, set[TradeKey]]


class RedundantTrades:
    """A callback of several connections with the same symbols; passes every trade to `into` once.

    Their markers become those of one feed: a symbol is up while one connection has it, without a break where they
    overlapped. A message with some new trades is passed on whole: the aggregator drops duplicates by id, too.
    """

    never_blocks = True  # for longer than the other connection holds the lock

    def __init__(
        self,
        into: PayloadSink,
        keys: TradeKeys,
        clock: Callable[[], float] = time.monotonic,
        *,
        generation_ids: int = GENERATION_IDS,
        generation_limit_ids: int = GENERATION_LIMIT_IDS,
    ) -> None:
        """`keys`: how the exchange's payloads name the topic and the ids of their trades."""
        self.into = into
        self._keys, self._find_ids = keys, keys.ids.findall
        self._spaced = re.compile(rb"\s*".join(map(re.escape, _JSON_PARTS.findall(keys.marker))) + rb'([^"]+)')
        self._begin = len(keys.marker)  # where the key of the topic began in a payload; it nearly always does
        self._generation_ids, self._generation_limit_ids = generation_ids, generation_limit_ids
        self.merged = 0  # messages dropped: all their trades were known
        self.partly_seen = 0  # messages passed on with some known trades
        self._clock = clock
        self._lock = threading.Lock()
        self._proofs: dict[bytes, bytes] = {}  # topic -> what is in each of its payloads with trades of one symbol
        self._current: Seen = {}  # by topic: ids of two symbols may be equal
        self._previous: Seen = {}
        self._count = 0
        self._rotated_s = clock()
        self._up_ms: dict[str, dict[int, int]] = defaultdict(dict)  # symbol -> connection -> up since
        self._deliveries: dict[int, Delivery | None] = {}  # by connection

    def __call__(self, payload: bytes) -> None:
        """Pass on one payload unless all its trades are known. Any thread."""
        self.put_all((payload,))

    def put_all(self, payloads: Sequence[bytes]) -> None:
        """Pass on the payloads that have a new trade, in their order. Any thread."""
        with self._lock:
            new = [payload for payload in payloads if self._is_new(payload)]
            if new:
                self.into.put_all(new)

    def mark(self, marker: FeedMarker) -> None:
        """Pass on a connection's marker as far as it changes whether any connection has a symbol."""
        with self._lock:
            self._deliveries[marker.connection] = marker.delivery
            for change in self._went_up(marker) if marker.kind == "up" else self._went_down(marker):
                self.into.mark(replace(change, delivery=self))
            if not any(marker.connection in up for up in self._up_ms.values()):
                del self._deliveries[marker.connection]

    # -- the Delivery of all connections: what one of them proves is proven --------------------------------

    def watermark_ms(self, now_ms: int) -> int:
        """The watermark of the symbol that is furthest behind; a symbol has that of its best connection. Any thread."""
        with self._lock:
            deliveries = dict(self._deliveries)
            sets = {frozenset(up) for up in self._up_ms.values() if up}
        marks = {connection: each.watermark_ms(now_ms) if each else 0 for connection, each in deliveries.items()}
        return min((max(marks[connection] for connection in up) for up in sets), default=0)

    def probe(self, now_ms: int) -> None:
        """Probe every connection. Any thread."""
        for delivery in list(self._deliveries.values()):
            if delivery:
                delivery.probe(now_ms)

    def recover(self, symbol: str) -> None:
        """Recover a symbol on every connection: its trades came over none. Any thread."""
        for delivery in list(self._deliveries.values()):
            if delivery:
                delivery.recover(symbol)

    def _went_up(self, marker: FeedMarker) -> Iterator[FeedMarker]:
        new = tuple(symbol for symbol in marker.symbols if not self._up_ms[symbol])
        for symbol in marker.symbols:
            self._up_ms[symbol][marker.connection] = marker.at_ms
        if new:
            yield replace(marker, symbols=new)

    def _went_down(self, marker: FeedMarker) -> Iterator[FeedMarker]:
        """Mark down what no other connection has; up again, as of then, what another has had for too short a time."""
        lost: list[str] = []
        again: dict[int, list[str]] = defaultdict(list)
        for symbol in marker.symbols:
            up_ms = self._up_ms[symbol]
            up_ms.pop(marker.connection, None)
            since_ms = min(up_ms.values(), default=None)
            if since_ms is not None and since_ms <= marker.at_ms - OVERLAP_MS:
                continue
            lost.append(symbol)
            if since_ms is not None:
                again[since_ms].append(symbol)
        if lost:
            yield replace(marker, symbols=tuple(lost))
        for since_ms, symbols in again.items():
            yield replace(marker, kind="up", symbols=tuple(symbols), at_ms=since_ms)

    @property
    def remembered(self) -> int:
        """The number of trades remembered, for tests and debugging. Any thread."""
        with self._lock:
            return sum(len(ids) for seen in (self._current, self._previous) for ids in seen.values())

    def __repr__(self) -> str:
        return f"<merged {self.into!r}>"

    def _is_new(self, payload: bytes) -> bool:
        """Record the trades of a payload; False where it has some and all were known."""
        begin = self._begin
        topic = payload[begin : payload.find(b'"', begin)]
        proof = self._proofs.get(topic)
        if proof is not None and proof in payload:  # nearly always
            ids: Sequence[TradeKey] = self._find_ids(payload)
        else:
            topic, ids = self._read(payload)
        if not ids:
            return True
        current = self._current.get(topic)
        if current is None:
            current = self._current[topic] = set()
        previous = self._previous.get(topic, ())
        new = [key for key in ids if key not in current and key not in previous]
        if not new:
            self.merged += 1
            return False
        self.partly_seen += len(new) < len(ids)
        current.update(new)
        self._count += len(new)
        if self._count > self._generation_ids:
            self._rotate()
        return True

    def _read(self, payload: bytes) -> tuple[bytes, Sequence[TradeKey]]:
        """The topic and the keys of its trades; no keys where their topic or their symbols are not certain."""
        keys, ids, found = self._keys, self._find_ids(payload), self._spaced.search(payload)
        if found is None:
            return b"", []
        topic, self._begin = found[1], found.start(1)
        proof = keys.symbol % topic if keys.symbol else keys.marker + topic + b'"'
        if proof in payload:
            self._proofs[topic] = proof
        elif keys.symbols:
            symbols = keys.symbols.findall(payload)
            ids = list(zip(symbols, ids, strict=True)) if len(symbols) == len(ids) else []
        return topic, ids

    def _rotate(self) -> None:
        """Start a new generation where the current one is old or large enough, and forget the previous one."""
        if self._count > self._generation_limit_ids or self._clock() - self._rotated_s > GENERATION_S:
            self._previous, self._current = self._current, {}
            self._proofs.clear()
            self._count, self._rotated_s = 0, self._clock()
