"""The watches of one connection's topics: one with a gap, or fallen silent, is resubscribed alone.

Run on the thread that reads the connection, half a microsecond per payload; parse no JSON, change and keep no payload.
Books are checked by their sequence, books and tickers by their rhythm. Trades may be rare: a topic is suspect where the
ticker's price moved, or another connection brought some. Where neither is collected, the aggregator has the exchange's
trades read (aggregation/recovery/liveness.py).
"""

import functools
import re
import time
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import structlog

from model.clock import now_ms
from model.ports import Observe, Report, ignore_time
from model.protocol import BookSequence, Data, KindFrames, StreamProtocol
from model.records import Kind
from streams.events import StreamEvents

log = structlog.get_logger()

Resubscribe = Callable[[str], bool]
"""Unsubscribe a topic and subscribe it again; False where that cannot be done now."""
ResubscribeSince = Callable[[str, int], bool]
"""As Resubscribe, for a topic that may have been silent since a time of the host's clock (ms)."""

REPEAT_S = 5.0  # between two subscriptions of one topic, doubled each time
REPEAT_CAP_S = 300.0  # a book that never comes is subscribed as often as a refused one
STABLE_S = 60.0  # without a gap for so long a topic's delays and counts begin anew
FRUITLESS_LIMIT = 5  # after so many jumps, each soon after a snapshot or a jump, they are normal for a topic
RETRY_S = 1.0  # where an acknowledgement of the topic is still awaited
NEAR_BYTES = 40  # before the link and behind it a message's own id is looked for first: levels may be 100 kB
QUIET_FACTOR = 20  # a topic may be silent for so many times its own mean gap


@dataclass(frozen=True)
class TradeWatchOptions:
    """When a silent trades topic is suspect, and for how long it is waited for."""

    check_s: float = 5.0
    """Between two looks at the price of one symbol."""
    margin_s: float = 5.0
    """Ticker and trade of one match come on different connections; no second between them was seen."""
    timeout_s: float = 10.0
    """How long the trade that moved the price may still be on its way."""
    timeout_cap_s: float = 600.0
    """The timeout doubles for a topic each time: a price that moves by itself must not cost a gap every minute."""


class LastPrices:
    """The last prices of one market. Ticker threads write, trades threads read; all single steps.

    `moves`: by symbol, a time (monotonic s) at which its price was another than later, so that a trade came since.
    """

    def __init__(
        self,
        frames: KindFrames,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = now_ms,
        check_s: float = TradeWatchOptions.check_s,
        observe_time: Observe = ignore_time,
    ) -> None:
        """`frames` are those of tickers."""
        self._observe_time = observe_time
        self.moves: dict[str, float] = {}
        self._clock, self._wall_ms, self._check_s = clock, wall_ms, check_s
        self._frames = frames
        self._known: dict[str, tuple[bytes, float]] = {}
        self._due_s: dict[bytes, float] = {}

    def observe(self, payloads: Sequence[bytes], symbols: Mapping[bytes, str]) -> None:
        """Read the price of tickers that went to the callback, one of a symbol in `check_s`; `symbols` by key."""
        marker, begin, due_s, now_s = self._frames.marker, len(self._frames.marker), self._due_s, self._clock()
        for payload in payloads:
            start = payload.find(marker) + begin
            key = payload[start : payload.find(b'"', start)]
            if now_s >= due_s.get(key, 0.0) and key in symbols:
                self._check_price(key, symbols[key], payload, now_s)

    def _check_price(self, key: bytes, symbol: str, payload: bytes, now_s: float) -> None:
        pattern = self._frames.price
        found, sent = pattern and pattern.search(payload), self._frames.sent.search(payload)
        if not found or not sent:
            return
        self._due_s[key] = now_s + self._check_s
        self._observe_time(int(sent[1]), symbol)
        lag_s = max(0.0, (self._wall_ms() - int(sent[1])) / 1000)  # it may have been delayed: it is of then
        price, (known, from_s) = found[1], self._known.get(symbol, (b"", 0.0))
        self._known[symbol] = price, now_s - lag_s
        if known and known != price:
            self.moves[symbol] = from_s


@dataclass
class _SequencedTopic:
    """The state of one book or ticker topic. Times `_s` are monotonic."""

    name: str
    gap_since_ms: int | None = None
    attempts: int = 0  # resubscriptions since it was last stable
    jumps: int = 0  # in a row, each soon after a snapshot
    not_before_s: float = 0.0
    repaired_s: float = 0.0
    seen_count: int | None = None  # its entry in `_last` at the last tick
    first_data_s: float | None = None
    last_data_s: float | None = None
    data_ticks: int = 0  # ticks before which data came
    timeout_factor: int = 1  # doubled each time it was found silent

    def silence_limit_s(self, least_s: float) -> float:
        """Seconds without data after which the topic may be dead; coarse ticks overestimate its mean gap."""
        mean_s = ((self.last_data_s or 0.0) - (self.first_data_s or 0.0)) / self.data_ticks if self.data_ticks else 0.0
        return max(least_s, QUIET_FACTOR * mean_s) * self.timeout_factor


class SequenceWatch:
    """The book or ticker topics of one connection. `noncontiguous` outlives it: topics whose jumps of u are normal."""

    def __init__(
        self,
        protocol: StreamProtocol,
        frames: KindFrames,
        topics: list[str],
        *,
        silence_s: float,
        noncontiguous: set[str],
        report: Report,
        events: StreamEvents,
        prices: LastPrices | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`prices` takes the prices of tickers."""
        self._frames, self._sequence, self._symbol_of = frames, frames.sequence, protocol.symbol_of
        self._key_of = functools.partial(protocol.key_of, cast(Kind, events.kind))
        self._read = protocol.read
        self._cause = f"{'book' if events.kind == 'orderbook' else events.kind}_gap"
        self._silence_s, self._noncontiguous = silence_s, noncontiguous
        self._report, self._events, self._prices, self._clock = report, events, prices, clock
        self._topics: dict[bytes, _SequencedTopic] = {}
        self._symbols: dict[bytes, str] = {}  # by key
        self._last: dict[bytes, int] = {}  # of topics without a gap: the last id, or how many messages came
        self.resubscribe: Resubscribe = lambda _topic: False
        self.set_topics(topics)

    def set_topics(self, topics: Iterable[str]) -> None:
        """Watch these topics from now on; those watched already keep their state."""
        wanted = {self._key_of(name): name for name in topics}
        for key in self._topics.keys() - wanted.keys():
            del self._topics[key]
            self._last.pop(key, None)
        for key, name in wanted.items():
            self._topics.setdefault(key, _SequencedTopic(name))
        self._symbols = {key: self._symbol_of(name) for key, name in wanted.items()}

    def observe(self, payloads: Sequence[bytes]) -> None:
        """Check payloads that went to the callback, in their order, then record their prices; called for all."""
        if self._sequence:
            self._observe_numbered(payloads, self._sequence)
        else:
            self._observe_counted(payloads)
        if self._prices:
            self._prices.observe(payloads, self._symbols)

    def _observe_numbered(self, payloads: Sequence[bytes], sequence: BookSequence) -> None:
        last_of, marker, begin = self._last, self._frames.marker, len(self._frames.marker)
        link, step, own = sequence.link, sequence.step, sequence.own
        find = bytes.rfind if sequence.is_at_end else bytes.find
        for payload in payloads:
            start = payload.find(marker) + begin
            topic = payload[start : payload.find(b'"', start)]
            last = last_of.get(topic)
            if last is None or (at := find(payload, link % (last + step))) < 0:
                self._examine(payload)
            elif sequence.is_own_linked:
                last_of[topic] = last + step
            elif found := own.search(payload, at - NEAR_BYTES) or own.search(payload):
                last_of[topic] = int(found[1])

    def _observe_counted(self, payloads: Sequence[bytes]) -> None:
        count, marker, begin = self._last, self._frames.marker, len(self._frames.marker)
        for payload in payloads:
            start = payload.find(marker) + begin
            topic = payload[start : payload.find(b'"', start)]
            if topic in count:
                count[topic] += 1
            else:
                self._examine(payload)

    def _examine(self, payload: bytes) -> None:
        """Classify a payload that does not follow the one before: whole, repetition, gap, another kind, garbage."""
        key = self._frames.key_in(payload)
        if key not in self._topics and isinstance(message := self._read(payload), Data):  # written with spaces
            key = self._key_of(message.topic)
        topic, own = self._topics.get(key), self._id_of(payload)
        if topic is None or own is None:
            return
        last, snapshot = self._last.get(key), self._frames.snapshot
        if snapshot and snapshot.search(payload):
            self._last[key] = own
            self._end_gap(topic)
        elif last is None and snapshot:
            if topic.gap_since_ms is None:
                self._begin_gap(topic, "a delta before its snapshot", payload)
        elif last is None or own == last or self._is_next(last, own):  # the first, or one that is repeated
            self._last[key] = own
            self._end_gap(topic)
        elif self._sequence:
            self._jumped(topic, key, last, own, payload)

    def mark_lost(self, topics: Iterable[str], payload: bytes) -> None:
        """Begin a gap in topics that an unreadable message may be of; a numbered book proves whether it was."""
        for name in topics:
            key = self._key_of(name)
            topic = self._topics.get(key)
            is_proven = self._sequence is not None and name not in self._noncontiguous
            if topic is None or topic.gap_since_ms is not None or is_proven:
                continue
            self._last.pop(key, None)
            self._begin_gap(topic, "a message that cannot be read", payload)

    def tick(self, now_s: float, active: Container[str]) -> None:
        """Resubscribe topics with a gap, and those that fell silent while others of the connection brought data."""
        for key, topic in self._topics.items():
            if topic.name not in active:
                topic.last_data_s = now_s
            elif (count := self._last.get(key)) != topic.seen_count:
                topic.seen_count = count
                if count is not None:
                    topic.data_ticks += 1
                    topic.first_data_s, topic.last_data_s = topic.first_data_s or now_s, now_s
        watched = [(key, topic) for key, topic in self._topics.items() if topic.name in active]
        newest_s = max((topic.last_data_s or 0.0 for _, topic in watched), default=0.0)
        for key, topic in watched:
            if topic.gap_since_ms is not None:
                self._try_resubscribe(topic, now_s)
            elif topic.last_data_s is None:
                topic.last_data_s = now_s
            elif newest_s - topic.last_data_s > topic.silence_limit_s(self._silence_s):
                self._silent(topic, key, now_s)

    def _describe_jump(self, last: int, payload: bytes) -> str:
        """Describe which id came and which was due, by the name that the exchange gives it."""
        assert self._sequence is not None
        name = self._sequence.link.split(b'"')[1]
        found = re.search(rb'"%s"\s*:\s*(-?\d+)' % name, payload)
        return f"{name.decode()} {int(found[1]) if found else '?'} where {last + self._sequence.step} was due"

    def _is_next(self, last: int, own: int) -> bool:
        """Whether a message is the next one all the same: its JSON may be written with spaces."""
        return self._sequence is not None and self._sequence.is_own_linked and own == last + self._sequence.step

    def _id_of(self, payload: bytes) -> int | None:
        if self._sequence is None:
            return 0
        found = self._sequence.own.search(payload)
        return int(found[1]) if found else None

    def _jumped(self, topic: _SequencedTopic, key: bytes, last: int, own: int, payload: bytes) -> None:
        """Begin a gap; where the stream has no snapshots, it ends with this very message."""
        if topic.name in self._noncontiguous:
            self._last[key] = own
            return
        topic.jumps = 1 if self._clock() - topic.repaired_s > STABLE_S else topic.jumps + 1
        if topic.jumps > FRUITLESS_LIMIT:
            log.warning("book_jumps_taken_as_normal", topic=topic.name, subscriptions=topic.attempts)
            self._noncontiguous.add(topic.name)
            self._last[key] = own
            return
        del self._last[key]
        why = self._describe_jump(last, payload)
        if self._frames.snapshot:
            self._begin_gap(topic, why, payload)
            return
        self._report(self._cause, payload)
        self._last[key], topic.repaired_s = own, self._clock()
        self._events.gap(topic.name, f"{why}: read the book anew", now_ms())
        self._events.repaired(topic.name, now_ms(), how="stream")

    def _begin_gap(self, topic: _SequencedTopic, why: str, payload: bytes) -> None:
        self._report(self._cause, payload)
        since_ms = self._begin_gap_now(topic)
        self._events.gap(topic.name, why, since_ms)
        self._try_resubscribe(topic, self._clock())

    def _silent(self, topic: _SequencedTopic, key: bytes, now_s: float) -> None:
        silent_s = round(now_s - (topic.last_data_s or now_s), 1)
        log.warning("topic_silent", topic=topic.name, silent_s=silent_s)
        self._last.pop(key, None)
        topic.timeout_factor *= 2
        self._begin_gap_now(topic)
        self._events.stale([topic.name], topic=topic.name, silent_s=silent_s)
        self._try_resubscribe(topic, now_s)

    def _begin_gap_now(self, topic: _SequencedTopic) -> int:
        if self._clock() - topic.repaired_s > STABLE_S:
            topic.attempts = 0
        topic.gap_since_ms = since_ms = now_ms()
        return since_ms

    def _end_gap(self, topic: _SequencedTopic) -> None:
        if topic.gap_since_ms is None:
            return
        how = "stream" if self._sequence and not self._frames.snapshot else "snapshot"
        self._events.repaired(topic.name, topic.gap_since_ms, how=how)
        topic.gap_since_ms, topic.repaired_s = None, self._clock()

    def _try_resubscribe(self, topic: _SequencedTopic, now_s: float) -> None:
        if now_s < topic.not_before_s:
            return
        if self.resubscribe(topic.name):
            topic.not_before_s = now_s + min(REPEAT_CAP_S, REPEAT_S * 2**topic.attempts)
            topic.attempts += 1
        else:
            topic.not_before_s = now_s + RETRY_S


@dataclass
class _TradeTopic:
    """The state of one trades topic. Times are monotonic, `_ms` the host's clock."""

    name: str
    symbol: str
    timeout_s: float
    count: int = 0
    last_data_s: float = 0.0
    since_ms: int = 0  # the tick before its last data: a gap begins later
    peer_count: int = 0  # what other connections had brought of it by its last data
    suspect_since_s: float | None = None  # when a price move, or a peer's trade, was found that no trade explains


USUAL = TradeWatchOptions()


class TradeWatch:
    """The trades topics of one connection; stands where books have a SequenceWatch.

    `peers` are the watches of all connections of the market, this one too: trades that another connection brings, and
    this one does not, are missed here. `prices` None: tickers are not compared.
    """

    def __init__(
        self,
        protocol: StreamProtocol,
        frames: KindFrames,
        topics: Iterable[str],
        prices: LastPrices | None,
        events: StreamEvents,
        *,
        peers: "Collection[TradeWatch]" = (),
        options: TradeWatchOptions = USUAL,
        wall_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._marker, self._symbol_of = frames.marker, protocol.symbol_of
        self._key_of = functools.partial(protocol.key_of, cast(Kind, events.kind))
        self._prices, self._events, self._peers, self._wall_ms = prices, events, peers, wall_ms
        self._options = options
        self._topics: dict[bytes, _TradeTopic] = {}
        self._counts: dict[bytes, int] = {}
        self._last_tick_ms = wall_ms()
        self.resubscribe: ResubscribeSince = lambda _topic, _since_ms: False
        self.set_topics(topics)

    def set_topics(self, topics: Iterable[str]) -> None:
        """Watch these topics from now on; those watched already keep their state."""
        wanted = {self._key_of(name): name for name in topics}
        for key in self._topics.keys() - wanted.keys():
            del self._topics[key], self._counts[key]
        for key, name in wanted.items():
            self._topics.setdefault(key, _TradeTopic(name, self._symbol_of(name), self._options.timeout_s))
            self._counts.setdefault(key, 0)

    def last_data_s(self, name: str) -> float:
        """When a topic last brought data, to the tick (monotonic); 0 where that is not known."""
        topic = self._topics.get(self._key_of(name))
        return topic.last_data_s if topic else 0.0

    def observe(self, payloads: Sequence[bytes]) -> None:
        """Count payloads that went to the callback by their topic; called for all."""
        marker, begin, counts = self._marker, len(self._marker), self._counts
        for payload in payloads:
            start = payload.find(marker) + begin
            topic = payload[start : payload.find(b'"', start)]
            if topic in counts:
                counts[topic] += 1

    def tick(self, now_s: float, active: Container[str]) -> None:
        """Resubscribe topics that were silent while their price moved, or while another connection brought trades."""
        tick_ms, self._last_tick_ms = self._last_tick_ms, self._wall_ms()
        for key, topic in self._topics.items():
            if topic.name not in active or self._counts[key] != topic.count or not topic.last_data_s:
                topic.count, topic.last_data_s, topic.since_ms = self._counts[key], now_s, tick_ms
                topic.suspect_since_s, topic.peer_count = None, self._count_of_peers(key)
            elif topic.suspect_since_s is None:
                topic.suspect_since_s = now_s if self._is_suspect(key, topic) else None
            elif now_s > topic.suspect_since_s + topic.timeout_s:
                self._silent(topic, now_s)

    def _is_suspect(self, key: bytes, topic: _TradeTopic) -> bool:
        moved_s = self._prices.moves.get(topic.symbol, 0.0) if self._prices else 0.0
        return topic.last_data_s < moved_s - self._options.margin_s or self._count_of_peers(key) > topic.peer_count

    def _count_of_peers(self, key: bytes) -> int:
        """Trades of the other connections; it falls when one of them ends, which makes no topic suspect."""
        return sum(peer._counts.get(key, 0) for peer in list(self._peers) if peer is not self)

    def _silent(self, topic: _TradeTopic, now_s: float) -> None:
        if not self.resubscribe(topic.name, topic.since_ms):
            return  # tried again at the next tick
        silent_s = round(now_s - topic.last_data_s, 1)
        log.warning("topic_silent", topic=topic.name, silent_s=silent_s)
        self._events.stale([topic.name], topic=topic.name, silent_s=silent_s)
        topic.timeout_s = min(self._options.timeout_cap_s, topic.timeout_s * 2)
        topic.last_data_s = 0.0  # its state begins anew
