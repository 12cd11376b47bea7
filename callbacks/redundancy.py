"""Two connections, one stream: trades that came over one of them already are dropped when they come over the other.

Called on whatever threads read them; one lock is held while a payload is compared and handed on, so that the
merged order is the exchange's. Refuses nothing: what has no trade ids goes on. No JSON is parsed.
"""

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from app.pipeline import Pipeline

GENERATION_IDS = 50_000  # with their set about 6 MB
GENERATION_S = 60.0  # longer than a dead connection takes to be found: what it delivers late is still known
GENERATION_LIMIT_IDS = 200_000  # memory bound in a flood, 25 MB a generation
OVERLAP_MS = 250  # two gateways push one trade at different times: so long must both have been up
TOPIC_FIRST = b'{"topic":"'  # as Bybit writes all but options
TOPIC_BEGIN = len(TOPIC_FIRST)

_TOPIC = re.compile(rb'"topic"\s*:\s*"([^"]+)"')
_IDS = re.compile(rb'"i"\s*:\s*"([^"]+)"')
_SYMBOLS = re.compile(rb'"s"\s*:\s*"([^"]+)"')

TradeKey = bytes | tuple[bytes, bytes]
"""A trade of its topic: an id, with its symbol where the topic has several (publicTrade.BTC of options)."""
Seen = dict[bytes, set[TradeKey]]


class RedundantTrades:
    """A callback for several connections with the same symbols; hands every trade once to `into`.

    Markers of all are made one: a symbol is up while one of them has it, without a break where they overlapped.
    A message with some known and some new trades goes on whole: the aggregator knows doubles by id, too.
    """

    never_blocks = True  # but for the other connection, and as briefly

    def __init__(self, into: Pipeline, clock: Callable[[], float] = time.monotonic) -> None:
        self.into = into
        self.merged = 0  # messages of which all trades were known
        self.partly_seen = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._own: dict[bytes, bytes] = {}  # topic -> how a trade of its symbol names it
        self._young: Seen = {}  # by topic: nobody promises that ids of two symbols differ
        self._old: Seen = {}
        self._count = 0
        self._born_s = clock()
        self._up_ms: dict[str, dict[int, int]] = defaultdict(dict)  # symbol -> connection -> up since
        self._deliveries: dict[int, Any] = {}  # connection -> how far its data has come

    def __call__(self, payload: bytes) -> None:
        """Hand on one payload unless all its trades are known. Any thread."""
        self.take_all((payload,))

    def take_all(self, payloads: Sequence[bytes]) -> None:
        """Hand on those payloads of which not all trades are known, in their order. Any thread."""
        with self._lock:
            new = [payload for payload in payloads if self._is_new(payload)]
            if new:
                self.into.take_all(new)

    def mark(self, marker: Any) -> None:
        """A connection came up or went down here; an exchanges.contract.Marker."""
        with self._lock:
            self._deliveries[marker.connection] = marker.delivery
            for change in self._went_up(marker) if marker.kind == "up" else self._went_down(marker):
                self.into.mark(replace(change, delivery=self))
            if not any(marker.connection in legs for legs in self._up_ms.values()):
                del self._deliveries[marker.connection]

    # -- as an exchanges.contract.Delivery: what either connection proves is proven ------------------------

    def watermark_ms(self, now_ms: int) -> int:
        """Of the symbol that is worst off: each has the connections it is up on. Any thread."""
        with self._lock:
            deliveries = dict(self._deliveries)
            sets = {frozenset(legs) for legs in self._up_ms.values() if legs}
        marks = {leg: found.watermark_ms(now_ms) if found else 0 for leg, found in deliveries.items()}
        return min((max(marks[leg] for leg in legs) for legs in sets), default=0)

    def probe(self, now_ms: int) -> None:
        """Ask all of them. Any thread."""
        for delivery in list(self._deliveries.values()):
            if delivery:
                delivery.probe(now_ms)

    def recover(self, symbol: str) -> None:
        """Trades of a symbol came over none of them. Any thread."""
        for delivery in list(self._deliveries.values()):
            if delivery:
                delivery.recover(symbol)

    def _went_up(self, marker: Any) -> Iterator[Any]:
        new = tuple(symbol for symbol in marker.symbols if not self._up_ms[symbol])
        for symbol in marker.symbols:
            self._up_ms[symbol][marker.connection] = marker.at_ms
        if new:
            yield replace(marker, symbols=new)

    def _went_down(self, marker: Any) -> Iterator[Any]:
        """Tell what no other connection has now; a hole of what another has had for too short a time."""
        lost, again = [], defaultdict(list)
        for symbol in marker.symbols:
            legs = self._up_ms[symbol]
            legs.pop(marker.connection, None)
            since_ms = min(legs.values(), default=None)
            if since_ms is not None and since_ms <= marker.at_ms - OVERLAP_MS:
                continue
            lost.append(symbol)
            if since_ms is not None:
                again[since_ms].append(symbol)
        if lost:
            yield replace(marker, symbols=tuple(lost))
        for since_ms, symbols in again.items():
            yield replace(marker, kind="up", symbols=tuple(symbols), at_ms=since_ms)

    def __repr__(self) -> str:
        return f"<merged {self.into!r}>"

    def _is_new(self, payload: bytes) -> bool:
        """Remember its trades; False where it has some and all were known."""
        topic = payload[TOPIC_BEGIN : payload.find(b'"', TOPIC_BEGIN)]
        own = self._own.get(topic)
        if own is not None and own in payload:  # nearly always
            ids: Sequence[TradeKey] = _IDS.findall(payload)
        else:
            topic, ids = self._read(payload)
        if not ids:
            return True
        young = self._young.get(topic)
        if young is None:
            young = self._young[topic] = set()
        old = self._old.get(topic, ())
        fresh = [key for key in ids if key not in young and key not in old]
        if not fresh:
            self.merged += 1
            return False
        self.partly_seen += len(fresh) < len(ids)
        young.update(fresh)
        self._count += len(fresh)
        if self._count > GENERATION_IDS:
            self._turn()
        return True

    def _read(self, payload: bytes) -> tuple[bytes, Sequence[TradeKey]]:
        """The topic and what tells its trades apart; nothing where it cannot be known whose they are."""
        topic, ids = _topic_of(payload), _IDS.findall(payload)
        symbol = topic[topic.rfind(b".") + 1 :]
        own = b'"s":"' + symbol + b'"'
        if symbol and own in payload:
            self._own[topic] = own
            return topic, ids
        symbols = _SYMBOLS.findall(payload)
        return topic, list(zip(symbols, ids, strict=True)) if topic and len(symbols) == len(ids) else []

    def _turn(self) -> None:
        if self._count > GENERATION_LIMIT_IDS or self._clock() - self._born_s > GENERATION_S:
            self._old, self._young = self._young, {}
            self._own.clear()
            self._count, self._born_s = 0, self._clock()


def _topic_of(payload: bytes) -> bytes:
    if payload.startswith(TOPIC_FIRST):
        return payload[TOPIC_BEGIN : payload.find(b'"', TOPIC_BEGIN)]
    found = _TOPIC.search(payload)
    return found[1] if found else b""
