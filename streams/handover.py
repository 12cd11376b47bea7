"""The handover from a connection to the one that replaces it: while both are open, their payloads are merged to one.

Every payload goes on once, in the exchange's order, and none is left out. The messages of a topic are told apart by
what identifies them: trades and numbered books by their ids, others by their bytes. What the new connection brings is
held until the old one brings it too: from there on both have the same, and the first to bring a message delivers it.
Topics of which nothing can be compared go over when all others have, at once with the end of the old connection.
Called on the threads that read the two connections, and on the one that replaces them. Parses no JSON.
"""

import threading
import time
from asyncio import CancelledError
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from model.ports import Callback, PayloadSink
from model.protocol import BookSequence, KindFrames, TradeKeys
from model.records import FeedMarker, Kind

HELD_MOST = 50_000  # messages of the new connection that the old one has not brought; more: it is too far behind
KNOWN_MOST = 50_000  # ids per topic: some seconds of the greatest flood
RAISED = (Exception, SystemExit, CancelledError)  # what a user's callback may raise

Identify = Callable[[bytes], Sequence[Hashable]]
"""What identifies the parts of a payload within its topic: never nothing."""
Held = Sequence[tuple[bytes, Sequence[Hashable]]]
"""Payloads with what identifies them."""


@dataclass(frozen=True)
class HandoverTimes:
    """How long the steps of a replacement take, in seconds."""

    head_start_s: float = 1.0
    """What the old connection brings is remembered for so long before the new one is subscribed: a new gateway may
    still send what an old one has sent already."""
    overlap_s: float = 3.0
    """Both are subscribed for so long at least: the end of the old one may be dated back by as much as a trade takes to
    come, and by what the clocks may be off."""
    quiet_s: float = 3.0
    """A topic that the old connection does not bring for so long has nothing on its way."""
    cut_s: float = 5.0
    """A topic of whole messages that are not the same on both may be taken over after so long."""
    spread_s: float = 5.0
    """A replacement begins within so long, drawn: an exchange gives notice to all connections at once."""
    limit_s: float = 30.0
    """A connection that has not taken over by then is given up."""
    linger_s: float = 5.0
    """What the new one brings is compared for so long after the old one has ended: it may be behind."""
    retry_s: float = 5.0
    """Before another attempt; doubled each time."""
    least_age_s: float = 5.0
    """A connection is not replaced sooner: an exchange that announces its end on each must not be dialed for ever."""


USUAL = HandoverTimes()


@dataclass(slots=True)
class _Topic:
    """The state of one topic. Times are monotonic."""

    known: OrderedDict[Hashable, None] = field(default_factory=OrderedDict)  # ids that went on, oldest first
    held: deque[tuple[bytes, Sequence[Hashable]]] = field(default_factory=deque)  # of the new connection
    awaited: set[Hashable] = field(default_factory=set)  # the ids of these
    old_s: float = 0.0  # when the old connection brought a message last
    held_s: float = 0.0  # since when messages are held
    is_owed: bool = False  # the old one brought a message that the new one must bring, too
    is_joined: bool = False  # both connections bring the same from here on

    def knows(self, ids: Sequence[Hashable]) -> bool:
        """Whether all that a message has went on already."""
        return all(each in self.known for each in ids)

    def learn(self, ids: Sequence[Hashable]) -> None:
        """Remember what goes on."""
        known = self.known
        known.update(dict.fromkeys(ids))
        while len(known) > KNOWN_MOST:
            known.popitem(last=False)


class Side:
    """One of the two connections: the callback of its session, a PayloadSink, while the handover lasts."""

    def __init__(self, handover: "Handover", *, is_new: bool, never_blocks: bool) -> None:
        self.never_blocks = never_blocks
        self.failed: Callable[[bytes, BaseException], object] | None = None  # the session's
        self._handover, self._is_new = handover, is_new

    def __call__(self, payload: bytes) -> None:
        """Take one payload."""
        self.put_all((payload,))

    def put_all(self, payloads: Sequence[bytes]) -> None:
        """Take what one read of the connection brought; never raises."""
        self._handover.take(payloads, self, is_new=self._is_new)

    def mark(self, marker: FeedMarker) -> None:
        """Take a marker of the connection."""
        self._handover.mark(marker, is_new=self._is_new)


class Handover:
    """Merges the payloads of an old and a new connection of one stream into its callback. Any thread; one lock."""

    def __init__(
        self,
        callback: Callback,
        frames: KindFrames,
        identify: Identify,
        *,
        may_cut: bool,
        times: HandoverTimes = USUAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`may_cut`: messages are whole, or begin with a whole one, so that the old ones may be left off anywhere."""
        sink = callback if isinstance(callback, PayloadSink) else None
        self._callback, self._sink = callback, sink
        never_blocks = sink is not None and sink.never_blocks
        self.old = Side(self, is_new=False, never_blocks=never_blocks)
        self.new = Side(self, is_new=True, never_blocks=never_blocks)
        self.problem = ""  # why it cannot succeed
        self._frames, self._identify, self._may_cut = frames, identify, may_cut
        self._times, self._clock = times, clock
        self._before_ms: int | None = None
        self._lock = threading.RLock()  # a callback that fails marks its symbols down
        self._topics: dict[bytes, _Topic] = {}
        self._held = 0
        self._ups: list[FeedMarker] = []  # of the new connection: it proves nothing while its messages are held
        self._up_s: float | None = None  # since when its topics are subscribed
        self._is_adopted = False
        self._is_cancelled = False

    # -- the two connections' threads ------------------------------------------------------------------

    def take(self, payloads: Sequence[bytes], side: Side, *, is_new: bool) -> None:
        """Hand on those payloads of a connection whose turn it is; hold or drop the others."""
        with self._lock:
            if self._is_cancelled if is_new else self._is_adopted:
                return
            now_s, out = self._clock(), list[bytes]()
            for payload in payloads:
                key = self._frames.key_in(payload)
                topic = self._topics.get(key)
                if topic is None:
                    topic = self._topics[key] = _Topic(is_joined=self._is_adopted)
                (self._take_new if is_new else self._take_old)(topic, payload, now_s, out)
            self._hand_on(out, side)

    def _take_old(self, topic: _Topic, payload: bytes, now_s: float, out: list[bytes]) -> None:
        topic.old_s = now_s
        ids = self._identify(payload)
        if topic.is_joined and topic.knows(ids):
            return
        topic.learn(ids)
        out.append(payload)
        topic.is_owed |= self._up_s is not None and now_s > self._up_s + self._times.overlap_s
        if topic.held and not topic.awaited.isdisjoint(ids):
            self._join(topic, out)

    def _take_new(self, topic: _Topic, payload: bytes, now_s: float, out: list[bytes]) -> None:
        ids = self._identify(payload)
        if topic.is_joined:
            if not topic.knows(ids):
                topic.learn(ids)
                out.append(payload)
            return
        topic.held_s = topic.held_s or now_s
        topic.held.append((payload, ids))
        topic.awaited.update(ids)
        self._held += 1
        if any(each in topic.known for each in ids):
            self._join(topic, out)
        elif self._held > HELD_MOST:
            self.problem = "the old connection is too far behind"

    def _join(self, topic: _Topic, out: list[bytes]) -> None:
        """Go on with what the new connection brought after the last message that the old one has brought, too."""
        held = list(topic.held)
        last = max(i for i, (_, ids) in enumerate(held) if any(each in topic.known for each in ids))
        self._release(topic, held[last:], out)

    def _release(self, topic: _Topic, held: Held, out: list[bytes]) -> None:
        self._held -= len(topic.held)
        for payload, ids in held:
            if not topic.knows(ids):
                topic.learn(ids)
                out.append(payload)
        topic.held.clear()
        topic.awaited.clear()
        topic.is_joined = True

    def _hand_on(self, payloads: list[bytes], side: Side) -> None:
        if not payloads:
            return
        if self._sink is not None:
            self._sink.put_all(payloads)
            return
        for payload in payloads:
            try:
                self._callback(payload)
            except RAISED as error:  # a user's: counted and logged, the stream lives
                if side.failed is not None:
                    side.failed(payload, error)

    def mark(self, marker: FeedMarker, *, is_new: bool) -> None:
        """Hand on a marker; those of the new connection wait until it takes over."""
        with self._lock:
            if not is_new or self._is_adopted:
                self._send_mark(marker)
            elif marker.kind == "up":
                self._ups.append(marker)
            elif not self._is_cancelled:
                self.problem = self.problem or "the new connection has lost messages"

    def _send_mark(self, marker: FeedMarker) -> None:
        if self._sink is not None:
            self._sink.mark(marker)

    # -- the thread that replaces ----------------------------------------------------------------------

    @property
    def has_begun(self) -> bool:
        """Whether the old connection's payloads come here."""
        return self._before_ms is not None

    def begin(self, before_ms: int) -> None:
        """Take what the old connection brings from now on; what the exchange sent until `before_ms` was delivered."""
        self._before_ms = before_ms

    def subscribed(self, keys: Iterable[bytes]) -> None:
        """Record that the new connection has topics with these keys from now on."""
        with self._lock:
            self._up_s = self._clock()
            for key in keys:
                self._topics.setdefault(key, _Topic())

    def tick(self) -> bool:
        """Whether the old connection may end now. Any thread."""
        with self._lock:
            if self._up_s is None:
                return False
            now_s, up_s = self._clock(), self._up_s
            is_overlap_over = now_s - up_s >= self._times.overlap_s
            return is_overlap_over and all(self._may_go(topic, now_s, up_s) for topic in self._topics.values())

    def _may_go(self, topic: _Topic, now_s: float, up_s: float) -> bool:
        """Whether both bring the same; else, whether the old one is silent, or their messages are whole and differ."""
        times = self._times
        since_s = max(topic.held_s, up_s)
        return (
            topic.is_joined
            or (not topic.is_owed and now_s - max(topic.old_s, since_s) >= times.quiet_s)
            or (self._may_cut and now_s - since_s >= times.cut_s and bool(self._from_whole(topic)))
        )

    def take_over(self) -> bool:
        """Make the new connection the stream's: what is held goes on, what the old one brings does not any more.

        False where it was cancelled, or has no topics: it is cancelled then. On the thread that reads the old one, as
        its last message or when it has ended: it must prove nothing after this.
        """
        with self._lock:
            if self._is_adopted or self._is_cancelled or not self._ups:
                self._is_cancelled = not self._is_adopted
                return self._is_adopted
            self._is_adopted = True
            for marker in self._ups:
                self._send_mark(marker)
            self._ups.clear()
            out: list[bytes] = []
            for topic in self._topics.values():
                if not topic.is_joined:
                    differs = self._may_cut and topic.old_s > topic.held_s
                    self._release(topic, self._from_whole(topic) if differs else self._unseen(topic), out)
            self._hand_on(out, self.new)
            return True

    def _unseen(self, topic: _Topic) -> Held:
        """What is held of a topic and was not delivered before the handover; exchanges repeat the last trade."""
        sent, before_ms = self._frames.sent.search, self._before_ms or 0
        return [each for each in topic.held if not (found := sent(each[0])) or int(found[1]) > before_ms]

    def _from_whole(self, topic: _Topic) -> Held:
        """The last whole message held of a topic, and what follows it."""
        held, snapshot = list(topic.held), self._frames.snapshot
        whole = [i for i, (payload, _) in enumerate(held) if not snapshot or snapshot.search(payload)]
        return held[whole[-1] :] if whole else []

    def cancel(self) -> bool:
        """Drop what the new connection has brought and brings; False where it is the stream's already."""
        with self._lock:
            self._is_cancelled = not self._is_adopted
            return self._is_cancelled

    def end(self) -> None:
        """Release the sessions and what is remembered: each would be kept until a full gc."""
        with self._lock:
            self.old.failed = self.new.failed = None
            self._topics.clear()


def identities(kind: Kind, frames: KindFrames, trade_keys: TradeKeys | None) -> Identify:
    """Return how the messages of a kind are told apart."""
    if kind == "trades" and trade_keys is not None:
        find = trade_keys.ids.findall
        return lambda payload: find(payload) or (hash(payload),)
    if frames.sequence is not None:
        sequence = frames.sequence
        return lambda payload: (_number(payload, sequence),)
    return lambda payload: (hash(payload),)


def _number(payload: bytes, sequence: BookSequence) -> Hashable:
    """The id of a message of a book; one without changes repeats it, and is told apart by its bytes."""
    found = sequence.own.search(payload)
    if not found:
        return hash(payload)
    is_repeating = not sequence.step and not sequence.is_own_linked and sequence.link % int(found[1]) in payload
    return (hash(payload),) if is_repeating else int(found[1])
