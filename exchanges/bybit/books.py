"""Order books and tickers, watched as they pass: a topic with a hole, or fallen silent, is subscribed anew, alone.

Runs on the stream's thread, half a microsecond per payload; no JSON is parsed and no payload is changed or kept.
A book's deltas are numbered by `u`, one up each time; every topic begins with a snapshot (docs: websocket/public).
"""

import re
import time
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass

import structlog

from exchanges.bybit.events import StreamNews
from exchanges.bybit.topics import TOPIC_KINDS, fast_prefix
from model.ports import Report

log = structlog.get_logger()

Resubscribe = Callable[[str], bool]
"""Leave a topic and ask for it anew; False where that cannot be now."""

REPEAT_S = 5.0  # between two subscriptions of one topic, doubled each time
REPEAT_CAP_S = 300.0  # a book that never comes is asked for as often as a refused one
CALM_S = 60.0  # a topic that was whole for so long begins anew
FRUITLESS_LIMIT = 5  # the docs promise +1 for the full book only: after so many jumps they are normal for a topic
AGAIN_S = 1.0  # where an answer about the topic is still awaited
QUIET_FACTOR = 20  # a topic may be silent for so many times its own mean gap

_TOPIC = re.compile(rb'"topic"\s*:\s*"([A-Za-z]+\.)([^"]+)"')
_TYPE = re.compile(rb'"type"\s*:\s*"(snapshot|delta)"')
_UPDATE = re.compile(rb'"u"\s*:\s*(\d{1,18})\b')
_UNKNOWN = -1


@dataclass
class _Topic:
    """One topic's state. Times `_s` are monotonic."""

    name: str
    hole_since_ms: int | None = None
    attempts: int = 0  # subscriptions since it was last calm
    jumps: int = 0  # in a row, each soon after a snapshot
    not_before_s: float = 0.0
    whole_s: float = 0.0
    mark: int | None = None  # what the watch had counted at the last tick
    first_s: float | None = None
    heard_s: float | None = None
    beats: int = 0  # ticks in which it was heard
    patience: int = 1  # doubled whenever it was found silent and proved to be only quiet

    def silence_limit_s(self, least_s: float) -> float:
        """Seconds without data after which it may be dead; ticks are coarse, so that its mean gap is overestimated."""
        mean_s = ((self.heard_s or 0.0) - (self.first_s or 0.0)) / self.beats if self.beats else 0.0
        return max(least_s, QUIET_FACTOR * mean_s) * self.patience


class TopicWatch:
    """The topics of one connection. `loose` outlives it: topics whose jumps are normal."""

    def __init__(
        self,
        market: str,
        kind: str,
        topics: list[str],
        *,
        silence_s: float,
        loose: set[str],
        report: Report,
        news: StreamNews,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prefix = fast_prefix(market, kind)
        self._kind = TOPIC_KINDS[kind].encode()
        self._is_numbered = kind == "orderbook" and not topics[0].startswith("orderbook.1.")
        self._cause = "book_gap" if kind == "orderbook" else "ticker_gap"
        self._silence_s = silence_s
        self._loose = loose
        self._report = report
        self._news = news
        self._clock = clock
        self._topics = {name.partition(".")[2].encode(): _Topic(name) for name in topics}
        self._next: dict[bytes, int] = {}  # whole topics: the u that comes next, or how many messages came
        self.resubscribe: Resubscribe = lambda _topic: False

    def follow(self, topics: Iterable[str]) -> None:
        """Watch these from now on; those watched already go on."""
        wanted = {name.partition(".")[2].encode(): name for name in topics}
        for key in self._topics.keys() - wanted.keys():
            del self._topics[key]
            self._next.pop(key, None)
        for key, name in wanted.items():
            self._topics.setdefault(key, _Topic(name))

    def see(self, payloads: Sequence[bytes]) -> None:
        """Take payloads that went to the callback, in their order; on the path of all."""
        if self._is_numbered:
            self._see_numbered(payloads)
        else:
            self._see_counted(payloads)

    def _see_numbered(self, payloads: Sequence[bytes]) -> None:
        following, begin = self._next, len(self._prefix)
        for payload in payloads:
            topic = payload[begin : payload.find(b'"', begin)]
            update = following.get(topic, _UNKNOWN)
            if payload.rfind(b'"u":%d,' % update) > 0:  # from the end: levels come before it
                following[topic] = update + 1
            else:
                self.look(payload)

    def _see_counted(self, payloads: Sequence[bytes]) -> None:
        count, begin = self._next, len(self._prefix)
        for payload in payloads:
            topic = payload[begin : payload.find(b'"', begin)]
            if topic in count:
                count[topic] += 1
            else:
                self.look(payload)

    def look(self, payload: bytes) -> None:
        """Take a payload that was not simply the next one: a beginning, a repetition, a hole, another kind, garbage."""
        found, kind = _TOPIC.search(payload), _TYPE.search(payload)
        key = found[2] if found and found[1] == self._kind else b""
        topic, update = self._topics.get(key), self._update_of(payload)
        if topic is None or kind is None or update is None:
            return
        expected = self._next.get(key)
        if kind[1] == b"snapshot" or update == 1:
            self._next[key] = update + 1
            self._whole(topic)
        elif expected is None:
            if topic.hole_since_ms is None:
                self._hole(topic, "a delta before its snapshot", payload)
        elif self._is_numbered and update not in (expected, expected - 1):
            self._jumped(topic, key, expected, update, payload)
        else:
            self._next[key] = update + 1

    def lose(self, topics: Iterable[str], payload: bytes) -> None:
        """Ask anew for topics that an unreadable message may be of; a numbered book shows by itself whether it was."""
        for name in topics:
            key = name.partition(".")[2].encode()
            topic = self._topics.get(key)
            if topic is None or topic.hole_since_ms is not None or (self._is_numbered and name not in self._loose):
                continue
            self._next.pop(key, None)
            self._hole(topic, "a message that cannot be read", payload)

    def tick(self, now_s: float, active: Container[str]) -> None:
        """Ask again for what is still broken, and for what fell silent while its neighbours speak."""
        for key, topic in self._topics.items():
            if topic.name not in active:
                topic.heard_s = now_s
            elif (count := self._next.get(key)) != topic.mark:
                self._heard(topic, count, now_s)
        newest_s = max((topic.heard_s or 0.0 for topic in self._topics.values() if topic.name in active), default=0.0)
        for key, topic in self._topics.items():
            if topic.name not in active:
                continue
            if topic.hole_since_ms is not None:
                self._ask(topic, now_s)
            elif topic.heard_s is None:
                topic.heard_s = now_s
            elif newest_s - topic.heard_s > topic.silence_limit_s(self._silence_s):
                self._silent(topic, key, now_s)

    def _update_of(self, payload: bytes) -> int | None:
        if not self._is_numbered:
            return 0
        found = _UPDATE.match(payload, max(payload.rfind(b'"u"'), 0))
        return int(found[1]) if found else None

    def _jumped(self, topic: _Topic, key: bytes, expected: int, update: int, payload: bytes) -> None:
        if topic.name in self._loose:
            self._next[key] = update + 1
            return
        topic.jumps = 1 if self._clock() - topic.whole_s > CALM_S else topic.jumps + 1
        if topic.jumps > FRUITLESS_LIMIT:
            log.warning("book_jumps_taken_as_normal", topic=topic.name, subscriptions=topic.attempts)
            self._loose.add(topic.name)
            self._next[key] = update + 1
            return
        del self._next[key]
        self._hole(topic, f"u {update} where {expected} was due", payload)

    def _hole(self, topic: _Topic, why: str, payload: bytes) -> None:
        self._report(self._cause, payload)
        self._break(topic)
        self._news.tell("gap", [topic.name], topic=topic.name, reason=why, **{"from": topic.hole_since_ms})
        self._ask(topic, self._clock())

    def _silent(self, topic: _Topic, key: bytes, now_s: float) -> None:
        silent_s = round(now_s - (topic.heard_s or now_s), 1)
        log.warning("topic_silent", topic=topic.name, silent_s=silent_s)
        self._next.pop(key, None)
        topic.patience *= 2
        self._break(topic)
        self._news.tell("stale", [topic.name], topic=topic.name, silent_s=silent_s)
        self._ask(topic, now_s)

    def _break(self, topic: _Topic) -> None:
        if self._clock() - topic.whole_s > CALM_S:
            topic.attempts = 0
        topic.hole_since_ms = time.time_ns() // 1_000_000

    def _whole(self, topic: _Topic) -> None:
        if topic.hole_since_ms is None:
            return
        span = {"from": topic.hole_since_ms, "until": time.time_ns() // 1_000_000}
        self._news.tell("repaired", [topic.name], topic=topic.name, how="snapshot", **span)
        topic.hole_since_ms, topic.whole_s = None, self._clock()

    def _ask(self, topic: _Topic, now_s: float) -> None:
        if now_s < topic.not_before_s:
            return
        if self.resubscribe(topic.name):
            topic.not_before_s = now_s + min(REPEAT_CAP_S, REPEAT_S * 2**topic.attempts)
            topic.attempts += 1
        else:
            topic.not_before_s = now_s + AGAIN_S

    @staticmethod
    def _heard(topic: _Topic, count: int | None, now_s: float) -> None:
        topic.mark = count
        if count is not None:
            topic.beats += 1
            topic.heard_s = now_s
            topic.first_s = topic.first_s or now_s
