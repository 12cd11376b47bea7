"""Topics and the sessions subscribed to them: one payload in, one frame per subscriber out.

Runs on the event loop's thread only. Writes to no socket: frames wait in each session until the server flushes.
"""

import hashlib
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from .frames import text_frame
from .limits import SocketLimits

SEQ = re.compile(rb'"seq":(\d+)')
CLOSED_DIGESTS_KEPT = 200  # digests of ended connections, newest kept


Frame = Callable[[bytes], bytes]  # a message's text as it is written: see frames.py


class Topic:
    """One topic of one category, with its counters.

    `generated` payloads, of them `snapshots` to one connection alone, by its id; `sent` frames over all subscribers.
    """

    __slots__ = (
        "category",
        "detail",
        "fault",
        "generated",
        "held",
        "is_replayed",
        "kind",
        "name",
        "sent",
        "sessions",
        "snapshots",
        "symbol",
    )

    def __init__(self, category: str, name: str, kind: str, symbol: str, detail: str = "") -> None:
        self.category, self.name, self.kind, self.symbol, self.detail = category, name, kind, symbol, detail
        self.sessions: list[Session] = []
        self.generated = 0
        self.snapshots: Counter[str] = Counter()
        self.sent = 0
        self.fault: TopicFault | None = None
        self.held: list[bytes] = []
        self.is_replayed = False


@dataclass(slots=True)
class TopicFault:
    """The faults of the next messages of a topic: each counts down to zero."""

    duplicates: int = 0
    swaps: int = 0
    garbled: int = 0
    garble: Callable[[Frame, bytes], bytes] = lambda frame, body: frame(body)
    holes: int = 0
    holes_for: "frozenset[Session] | None" = None  # who misses messages; everyone


class Session:
    """One connection: its topics and the frames that wait to be written. `category` is the name of its path.

    `reframe` makes the payload of this connection out of a topic's, where connections get it in different wrappings.
    `wrap` makes a frame of a message: a service's `opened` may set `frames.gzip_frame`.
    `headers` are those of its handshake, names in lower case. `own` is the dialect's; `limits` stand in for the usual
    ones of its messages and pings, where a path has several.
    """

    def __init__(self, category: str, conn_id: str, with_digest: bool = False) -> None:
        self.category, self.conn_id = category, conn_id
        self.pending: list[bytes] = []
        self.topics: dict[str, Topic] = {}
        self.characters = 0  # of the names of its topics, where the exchange limits them
        self.uid: int | None = None  # of an authenticated connection
        self.private_topics: list[str] = []
        self.req_ids: dict[str, None] = {}  # ids of its requests, the newest last, where none may come twice
        self.own: dict[str, Any] = {}
        self.headers: Mapping[str, str] = MappingProxyType({})
        self.reframe: Callable[[Topic, bytes], bytes] | None = None
        self.wrap: Frame = text_frame
        self.limits: SocketLimits | None = None
        self.ending: tuple[int, str] | None = None  # close code and reason, once what waits is written
        self.is_muted = self.is_alive = False
        self.silenced: set[str] = set()  # topics that are subscribed, and bring nothing
        self.digests: dict[str, Any] | None = {} if with_digest else None

    def push_text(self, text: str) -> None:
        """Queue one text message for the connection."""
        self.pending.append(self.wrap(text.encode()))

    def answer_ping(self) -> None:
        """Record that the client has answered a ping that is a message."""
        self.is_alive = True

    def end(self, code: int, reason: str = "") -> None:
        """End the connection with a close code, after what waits."""
        self.ending = (code, reason)

    def framed(self, topic: Topic, body: bytes) -> bytes:
        """The frame of a topic's payload on this connection."""
        return self.wrap(body if self.reframe is None else self.reframe(topic, body))

    def hash_payload(self, kind: str, body: bytes) -> None:
        """Add one payload and a newline to the ordered digest of its kind."""
        assert self.digests is not None
        digest = self.digests.get(kind)
        if digest is None:
            digest = self.digests[kind] = hashlib.sha256()
        digest.update(body)
        digest.update(b"\n")

    def digest_report(self) -> dict[str, Any]:
        """Hex digest per kind, so far."""
        digests = {kind: digest.hexdigest() for kind, digest in (self.digests or {}).items()}
        return {"conn_id": self.conn_id, "category": self.category, "sha256": digests}


class Hub:
    """All sessions, all topics that were ever subscribed, all counters."""

    def __init__(self, with_digest: bool = False) -> None:
        self.with_digest = with_digest
        self.sessions: set[Session] = set()
        self.topics: dict[tuple[str, str], Topic] = {}
        self.generated = 0
        self.limit: int | None = None
        self.counters: Counter[str] = Counter()
        self.closed_digests: deque[dict[str, Any]] = deque(maxlen=CLOSED_DIGESTS_KEPT)

    # sessions

    def open(self, category: str, conn_id: str) -> Session:
        """Add a session for a connection that was just accepted."""
        session = Session(category, conn_id, self.with_digest)
        self.sessions.add(session)
        self.counters["connects"] += 1
        return session

    def close(self, session: Session) -> None:
        """Remove a session and its subscriptions; without effect where it is removed already."""
        for topic in list(session.topics.values()):
            self.leave(session, topic)
        if session not in self.sessions:
            return
        self.sessions.discard(session)
        if self.with_digest:
            self.closed_digests.append(session.digest_report())

    def join(self, session: Session, topic: Topic) -> None:
        """Subscribe a session to a topic."""
        session.topics[topic.name] = topic
        topic.sessions.append(session)

    def leave(self, session: Session, topic: Topic) -> None:
        """Unsubscribe a session; without effect where it had no subscription."""
        if session.topics.pop(topic.name, None) is not None:
            topic.sessions.remove(session)

    def topic(self, category: str, name: str, kind: str, symbol: str, detail: str = "") -> Topic:
        """The one Topic of that name, made at the first call."""
        key = (category, name)
        if key not in self.topics:
            self.topics[key] = Topic(category, name, kind, symbol, detail)
        return self.topics[key]

    @property
    def subscribed(self) -> int:
        """Subscriptions over all sessions."""
        return sum(len(session.topics) for session in self.sessions)

    @property
    def is_full(self) -> bool:
        """True when the commanded number of messages has been generated."""
        return self.limit is not None and self.generated >= self.limit

    # payloads

    def publish(self, topic: Topic, payload: str) -> None:
        """Queue one payload for every subscriber of its topic, faults applied."""
        self.publish_bytes(topic, payload.encode())

    def publish_bytes(self, topic: Topic, body: bytes) -> None:
        """As `publish`, for a payload that is bytes already (replay)."""
        topic.generated += 1
        self.generated += 1
        if topic.fault is not None:
            self._publish_faulty(topic, topic.fault, body)
        elif self.with_digest:
            self._deliver(topic, body)
        else:
            frame = text_frame(body)
            for session in topic.sessions:
                if not session.is_muted and topic.name not in session.silenced:
                    is_plain = session.reframe is None and session.wrap is text_frame
                    session.pending.append(frame if is_plain else session.framed(topic, body))
                    topic.sent += 1

    def _deliver(self, topic: Topic, body: bytes) -> None:
        for session in topic.sessions:
            self.deliver_to(session, topic, body)

    def deliver_to(self, session: Session, topic: Topic, body: bytes) -> None:
        """Queue one payload for one subscriber and count it; a muted one never gets it."""
        if session.is_muted or topic.name in session.silenced:
            return
        session.pending.append(session.framed(topic, body))
        topic.sent += 1
        if session.digests is not None:
            session.hash_payload(topic.kind, body)

    def snapshot_to(self, session: Session, topic: Topic, payload: str) -> None:
        """Queue the first snapshot of a subscription; it counts as generated and sent."""
        topic.generated += 1
        topic.snapshots[session.conn_id] += 1
        self.deliver_to(session, topic, payload.encode())

    def _publish_faulty(self, topic: Topic, fault: TopicFault, body: bytes) -> None:
        """Publish with faults: a swap holds a message until its successor went out; a duplicate goes out twice.

        Messages of one sequence number stay together: their order could not be checked afterwards. A garbled one leaves
        as an unreadable frame; one that falls into a hole is never sent.
        """
        if fault.holes:
            fault.holes -= 1
            self.counters["holes"] += 1
            for session in topic.sessions:
                if fault.holes_for is not None and session not in fault.holes_for:
                    self.deliver_to(session, topic, body)
            return
        if fault.garbled:
            fault.garbled -= 1
            self.counters["garbled"] += len(topic.sessions)
            for session in topic.sessions:
                session.pending.append(fault.garble(session.wrap, body))
            return
        if fault.swaps and (not topic.held or _seq_of(topic.held[-1]) == _seq_of(body)):
            topic.held.append(body)
            return
        self._deliver(topic, body)
        if fault.duplicates:
            fault.duplicates -= 1
            self.counters["duplicated"] += len(topic.sessions)
            self._deliver(topic, body)
        if topic.held:
            self.release(topic)
            fault.swaps -= 1
            self.counters["reordered"] += len(topic.sessions)
        if not (fault.duplicates or fault.swaps or fault.garbled or fault.holes):
            topic.fault = None

    def release(self, topic: Topic) -> None:
        """Send messages that a swap held back: their trades count in the true candles, so none may get lost."""
        for body in topic.held:
            self._deliver(topic, body)
        topic.held.clear()

    # stats

    def published(self) -> dict[str, dict[str, Any]]:
        """Per topic its kind, how many payloads went to every subscriber, and snapshots to one, by connection."""
        return {
            f"{topic.category}:{topic.name}": {
                "kind": topic.kind,
                "payloads": topic.generated - topic.snapshots.total(),
                "snapshots": dict(topic.snapshots),
            }
            for topic in self.topics.values()
        }

    def stats(self) -> dict[str, Any]:
        """Counters per kind and category; `topics` holds those that ever sent something."""
        generated: Counter[str] = Counter()
        sent: Counter[str] = Counter()
        per_category: dict[str, dict[str, int]] = {}
        for topic in self.topics.values():
            generated[topic.kind] += topic.generated
            sent[topic.kind] += topic.sent
            kinds = per_category.setdefault(topic.category, {})
            kinds[topic.kind] = kinds.get(topic.kind, 0) + topic.sent
        return {
            "generated": dict(generated),
            "sent": dict(sent),
            "sent_by_category": per_category,
            "topics": {f"{t.category}:{t.name}": t.sent for t in self.topics.values() if t.sent},
            "connections": len(self.sessions),
            "subscriptions": self.subscribed,
            **{name: self.counters[name] for name in ("connects", "handshakes_refused", "slow_dropped")},
            "counters": dict(self.counters),
            "digests": [*self.closed_digests, *(s.digest_report() for s in self.sessions if self.with_digest)],
        }


def _seq_of(body: bytes) -> bytes:
    """The message itself where it has no sequence number."""
    found = SEQ.search(body)
    return found[1] if found else body
