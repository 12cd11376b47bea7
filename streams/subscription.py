"""The subscriptions of one connection: requested, active and quarantined topics. Pure: time is an argument.

An exchange answers a request as a whole or topic by topic. A batch that is refused as a whole is sent again without the
topic it names, or in two halves where it names none, until the bad topic stands alone and goes to quarantine.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from model.protocol import Answer


class SubscribeTimeoutError(ConnectionError):
    """The exchange did not answer a subscription within its deadline, and no data proves it."""


@dataclass
class Quarantine:
    """Refused topics and when to try them again (monotonic seconds).

    Belongs to the feed, not to the connection, so that a reconnect does not subscribe them again at once. Streams share
    it: one dict, each operation atomic.
    """

    retry_s: float
    until_s: dict[str, float] = field(default_factory=dict)

    def put(self, topic: str, now_s: float) -> bool:
        """Put `topic` into quarantine; True where it was not in it before."""
        is_new = topic not in self.until_s
        self.until_s[topic] = now_s + self.retry_s
        return is_new

    def release(self, topic: str) -> None:
        """Take `topic` out of quarantine: the exchange has it."""
        self.until_s.pop(topic, None)

    def holds(self, topic: str, now_s: float) -> bool:
        """Whether `topic` is in quarantine at `now_s`."""
        return self.until_s.get(topic, now_s) > now_s


@dataclass(frozen=True, slots=True)
class Request:
    """One subscribe or unsubscribe request."""

    req_id: str
    topics: tuple[str, ...]
    op: Literal["subscribe", "unsubscribe"] = "subscribe"


@dataclass
class _Pending:
    request: Request
    deadline_s: float
    is_retry: bool
    left: list[str] = field(default_factory=list)  # topics without an answer
    proven: bool = False  # data of one of its topics has come

    def __post_init__(self) -> None:
        self.left = list(self.request.topics)


@dataclass(frozen=True, slots=True)
class Change:
    """The effects of an acknowledgement or of time: requests to send, topics that became active or quarantined."""

    send: tuple[Request, ...] = ()
    active: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()  # topic and the exchange's message
    quarantined: tuple[tuple[str, str], ...] = ()  # those of the refused that were not in quarantine before
    unsubscribed: tuple[str, ...] = ()  # not desired any more: no data of them comes from now on


NOTHING = Change()


class Subscription:
    """Drives the topics of one connection from requested to active, and out where they are not desired. One thread."""

    def __init__(
        self,
        topics: Sequence[str],
        plan: Callable[[Sequence[str]], list[tuple[str, ...]]],
        quarantine: Quarantine,
        timeout_s: float,
    ) -> None:
        self.active: set[str] = set()
        self._wanted = dict.fromkeys(topics)
        self._is_changing = False  # the topics were changed, and not all requests for it are answered
        self._plan = plan
        self._quarantine = quarantine
        self._timeout_s = timeout_s
        self._pending: dict[str, _Pending] = {}
        self._unsubscribing: dict[str, _Pending] = {}  # desired topics among them are subscribed again afterwards
        self._quarantined: set[str] = set()  # left out on this connection
        self._numbers = count(1)

    @property
    def topics(self) -> list[str]:
        """The topics that are desired."""
        return list(self._wanted)

    @property
    def is_settled(self) -> bool:
        """Whether no acknowledgement is awaited: every topic is active or in quarantine."""
        return not self._pending

    def begin(self, now_s: float) -> Change:
        """The first requests: every topic that is not in quarantine."""
        self._quarantined = {topic for topic in self._wanted if self._quarantine.holds(topic, now_s)}
        batches = self._plan([topic for topic in self._wanted if topic not in self._quarantined])
        return Change(send=self._subscribe(batches, now_s))

    def set_topics(self, topics: Sequence[str], now_s: float) -> Change:
        """Change the desired topics: new ones are subscribed, missing ones unsubscribed; the others stay."""
        self._wanted = dict.fromkeys(topics)
        self._is_changing = True
        return self._reconcile(now_s)

    def _reconcile(self, now_s: float) -> Change:
        """Subscribe desired topics that are not active, unsubscribe active ones that are not desired; none twice."""
        if not self._is_changing:
            return Change()
        self._quarantined.intersection_update(self._wanted)
        busy = {t for entry in (*self._pending.values(), *self._unsubscribing.values()) for t in entry.request.topics}
        missing = [t for t in self._wanted if t not in self.active | busy | self._quarantined]
        held = {topic for topic in missing if self._quarantine.holds(topic, now_s)}
        self._quarantined |= held
        surplus = sorted(t for t in self.active if t not in self._wanted and t not in busy)
        send = self._unsubscribe(self._plan(surplus), now_s)
        send += self._subscribe(self._plan([t for t in missing if t not in held]), now_s, is_retry=True)
        self._is_changing = bool(self._pending or self._unsubscribing)
        return Change(send=send)

    def answered(self, answer: Answer, now_s: float) -> Change:
        """Apply an acknowledgement or a refusal."""
        return self._then_reconcile(self._answered(answer, now_s), now_s)

    def _then_reconcile(self, change: Change, now_s: float) -> Change:
        return _sum((change, self._reconcile(now_s))) if self._is_changing else change

    def _answered(self, answer: Answer, now_s: float) -> Change:
        unsubscribing = _match(answer, self._unsubscribing, takes_oldest=answer.is_unsubscribe)
        if unsubscribing is not None:
            return self._unsubscribed(unsubscribing, now_s, is_refused=not answer.success)
        if answer.is_unsubscribe:
            return Change()
        pending = _match(answer, self._pending, takes_oldest=True)
        if pending is None:
            return Change()
        topics = tuple(pending.left)
        if listed := {*answer.accepted, *answer.refused}:
            pending.left = [topic for topic in topics if topic not in listed]
        if not (listed and pending.left):
            del self._pending[pending.request.req_id]
        if listed:
            refused = tuple(topic for topic in topics if topic in answer.refused)
            done = Change(active=self._activate(topic for topic in topics if topic in answer.accepted))
            if answer.is_active:
                return _sum((done, Change(active=self._activate(refused))))
            return _sum((done, self._quarantine_topics(refused, answer.message, now_s)))
        if answer.success:
            return Change(active=self._activate(topics))
        return self._refused(topics, answer, now_s)

    def data_received(self, topic: str) -> Change:
        """Mark `topic` active, for data of it came; its acknowledgement may come later, or never."""
        for pending in self._pending.values():
            if topic in pending.request.topics:
                pending.proven = True
                return Change(active=self._activate((topic,)))
        return Change()

    def postponed(self, req_id: str) -> None:
        """Wait for no answer to a request that is not sent yet, because the exchange limits messages."""
        self._set_deadline(req_id, math.inf)

    def sent(self, req_id: str, now_s: float) -> None:
        """Wait for the answer to a postponed request from now on."""
        self._set_deadline(req_id, now_s + self._timeout_s)

    def _set_deadline(self, req_id: str, deadline_s: float) -> None:
        pending = self._pending.get(req_id) or self._unsubscribing.get(req_id)
        if pending is not None:
            pending.deadline_s = deadline_s

    def resubscribe(self, topic: str, now_s: float) -> Change | None:
        """Unsubscribe `topic` and subscribe it again, alone; None where it is not active or an answer is awaited."""
        if topic not in self.active or any(topic in pending.request.topics for pending in self._pending.values()):
            return None
        self.active.discard(topic)
        return Change(send=self._unsubscribe([(topic,)], now_s))

    def due(self, now_s: float) -> Change:
        """The requests that are due: quarantined topics again; unanswered ones are given up.

        Raises SubscribeTimeoutError where a first subscription stays without answer and without data.
        """
        if not (self._pending or self._unsubscribing or self._quarantined or self._is_changing):
            return NOTHING  # quickly, for there are many idle connections
        overdue = [entry for entry in self._unsubscribing.values() if entry.deadline_s <= now_s]
        gone = (self._unsubscribed(entry, now_s) for entry in overdue)  # as if the request had been answered
        return self._then_reconcile(_sum((self._expire(now_s), self._retry(now_s), *gone)), now_s)

    def _expire(self, now_s: float) -> Change:
        changes = []
        for pending in [entry for entry in self._pending.values() if entry.deadline_s <= now_s]:
            topics = tuple(pending.left)
            if pending.proven:
                changes.append(Change(active=self._activate(topics)))
            elif pending.is_retry:
                changes.append(self._quarantine_topics(topics, "no answer", now_s))
            else:
                raise SubscribeTimeoutError(f"no answer to subscribe within {self._timeout_s} s: {topics[:3]}")
            del self._pending[pending.request.req_id]
        return _sum(changes)

    def _retry(self, now_s: float) -> Change:
        again = [topic for topic in sorted(self._quarantined) if not self._quarantine.holds(topic, now_s)]
        self._quarantined.difference_update(again)
        return Change(send=self._subscribe([(topic,) for topic in again], now_s, is_retry=True))

    def _unsubscribed(self, entry: _Pending, now_s: float, *, is_refused: bool = False) -> Change:
        """Drop unsubscribed topics, and subscribe desired ones again. After a refusal try them one by one."""
        topics = entry.request.topics
        del self._unsubscribing[entry.request.req_id]
        if is_refused and len(topics) > 1:
            return Change(send=self._unsubscribe([(topic,) for topic in topics], now_s))
        unsubscribed = tuple(topic for topic in topics if topic in self.active)
        self.active.difference_update(unsubscribed)
        back = [topic for topic in topics if topic in self._wanted]
        return Change(send=self._subscribe(self._plan(back), now_s, is_retry=True), unsubscribed=unsubscribed)

    def _unsubscribe(self, batches: Iterable[tuple[str, ...]], now_s: float) -> tuple[Request, ...]:
        requests = tuple(Request(str(next(self._numbers)), batch, "unsubscribe") for batch in batches if batch)
        for request in requests:
            self._unsubscribing[request.req_id] = _Pending(request, now_s + self._timeout_s, is_retry=True)
        return requests

    def _subscribe(
        self, batches: Iterable[tuple[str, ...]], now_s: float, *, is_retry: bool = False
    ) -> tuple[Request, ...]:
        requests = tuple(Request(str(next(self._numbers)), batch) for batch in batches if batch)
        for request in requests:
            self._pending[request.req_id] = _Pending(request, now_s + self._timeout_s, is_retry)
        return requests

    def _refused(self, topics: tuple[str, ...], answer: Answer, now_s: float) -> Change:
        named = tuple(topic for topic in topics if topic in answer.named)
        rest = tuple(topic for topic in topics if topic not in named)
        if named and answer.is_active:
            verdict = Change(active=self._activate(named))
        elif named:
            verdict = self._quarantine_topics(named, answer.message, now_s)
        elif len(topics) == 1:
            return self._quarantine_topics(topics, answer.message, now_s)
        else:
            half = (len(rest) + 1) // 2
            return Change(send=self._subscribe((rest[:half], rest[half:]), now_s))
        return _sum((verdict, Change(send=self._subscribe((rest,), now_s))))

    def _quarantine_topics(self, topics: tuple[str, ...], message: str, now_s: float) -> Change:
        new = [topic for topic in topics if self._quarantine.put(topic, now_s)]
        self._quarantined.update(topics)
        return Change(
            refused=tuple((topic, message) for topic in topics),
            quarantined=tuple((topic, message) for topic in new),
        )

    def _activate(self, topics: Iterable[str]) -> tuple[str, ...]:
        new = tuple(topic for topic in topics if topic not in self.active)
        self.active.update(new)
        for topic in new:
            self._quarantine.release(topic)
        return new


def _match(answer: Answer, pending: Mapping[str, _Pending], *, takes_oldest: bool) -> _Pending | None:
    """The request of an acknowledgement by req_id, else by the topics it lists; the oldest where it lists none."""
    if answer.req_id:
        return pending.get(answer.req_id)
    listed = {*answer.accepted, *answer.refused, *answer.of}
    if not listed and takes_oldest:
        return next(iter(pending.values()), None)
    return next((entry for entry in pending.values() if listed & set(entry.request.topics)), None)


def _sum(changes: Iterable[Change]) -> Change:
    parts = tuple(changes)
    return Change(
        send=tuple(request for part in parts for request in part.send),
        active=tuple(topic for part in parts for topic in part.active),
        refused=tuple(pair for part in parts for pair in part.refused),
        quarantined=tuple(pair for part in parts for pair in part.quarantined),
        unsubscribed=tuple(topic for part in parts for topic in part.unsubscribed),
    )
