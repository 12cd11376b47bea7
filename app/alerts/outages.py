"""What can be down, and since when: streams, outputs, disks and whatever else is looked at. Pure; main thread.

Times `_s` are monotonic, by the clock that the caller reads.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from model.events import NOT_WANTED, STOPPED, Connected, Disconnected, SinkDown, SinkUp, StatusEvent

FLAPPING_S = 600.0  # outages within so long count together
FLAPS = 5  # so many of them are flapping: each may be too short to be told

SubjectType = Literal["stream", "silence", "output", "disk", "state"]


class Key(NamedTuple):
    """The identity of a subject: its type and name."""

    type: SubjectType
    name: str


class Problem(NamedTuple):
    """What is wrong with something that is looked at, and since when; None: since it is seen."""

    text: str
    since_s: float | None = None
    class_key: tuple[str, str] | None = None  # market and kind of the data that it is about


@dataclass(eq=False)
class Subject:
    """Something that is up or down. `after_s`: how long it is down before that is told.

    Of a stream, and of the silence of a class of them, `market` and `kind` are those of the data. `figures`: what an
    output lost in the outages since they were set to nothing.
    """

    key: Key
    after_s: float
    market: str | None = None
    kind: str | None = None
    symbols: frozenset[str] = frozenset()
    reason: str = ""
    is_down: bool = False
    is_gone: bool = False  # not wanted any more: it counts as up
    since_s: float = 0.0  # of the present outage, or of the last one
    seen_s: float = 0.0  # when that was known
    up_s: float = 0.0  # when the last outage ended
    outages: int = 0
    missed_s: float | None = None  # when the last outage began, where it was long enough to be told and was not yet
    figures: dict[str, int] = field(default_factory=dict)
    begins_s: deque[float] = field(default_factory=lambda: deque(maxlen=100))

    @property
    def class_key(self) -> tuple[str, str] | None:
        """The market and kind of the data."""
        return (self.market, self.kind) if self.market and self.kind else None

    @property
    def is_trades(self) -> bool:
        """Whether it is a stream of trades, whose outages cost candles."""
        return self.key.type == "stream" and self.kind == "trades"

    def is_due(self, now_s: float) -> bool:
        """Whether an outage is to be told."""
        return self.missed_s is not None or (self.is_down and now_s - self.since_s >= self.after_s)

    def is_flapping(self, now_s: float) -> bool:
        """Whether there are many outages within FLAPPING_S."""
        while self.begins_s and now_s - self.begins_s[0] > FLAPPING_S:
            self.begins_s.popleft()
        return len(self.begins_s) >= FLAPS

    def went_down(self, since_s: float, reason: str, now_s: float) -> None:
        """Record the beginning of an outage; of one that goes on only its newest reason."""
        self.reason = reason or self.reason
        if not self.is_down:
            self.is_down, self.is_gone, self.since_s, self.seen_s = True, False, since_s, now_s
            self.outages += 1
            self.begins_s.append(since_s)

    def came_up(self, now_s: float) -> None:
        """Record the end of the outage, if there is one."""
        if not self.is_down:
            return
        if now_s - self.since_s >= self.after_s:
            self.missed_s = self.since_s
        self.is_down, self.up_s = False, now_s


class Outages:
    """The state of every subject, from status events and from looks."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self.subjects: dict[Key, Subject] = {}

    @property
    def has_down_streams(self) -> bool:
        """Whether any stream is down."""
        return any(each.is_down and each.key.type == "stream" for each in self.subjects.values())

    def take(self, event: StatusEvent, now_s: float, now_ms: int) -> None:
        """Take one status event; `now_ms` is the wall clock's, by which outputs date their events."""
        match event:
            case Connected(stream=str(name)):
                subject = self._stream(name, event)
                subject.symbols |= frozenset(event.symbols or ())
                subject.came_up(now_s)
            case Disconnected(stream=str(name), reason=reason):
                self._disconnected(name, event, reason, now_s)
            case SinkDown(sink=name, reason=reason, from_ms=from_ms):
                before_s = max(0.0, (now_ms - from_ms) / 1000) if from_ms else 0.0
                self._subject(Key("output", name)).went_down(now_s - before_s, reason, now_s)
            case SinkUp(sink=name):
                subject = self._subject(Key("output", name))
                for figure in ("lost", "raw_dropped", "klines_waiting"):
                    if value := getattr(event, figure):
                        subject.figures[figure] = subject.figures.get(figure, 0) + value
                subject.came_up(now_s)

    def look(self, type_: SubjectType, problems: Mapping[str, Problem], now_s: float, *, after_s: float) -> None:
        """Take what is wrong now of everything of one type that is looked at, by names."""
        for name, problem in problems.items():
            since_s = now_s if problem.since_s is None else min(problem.since_s, now_s)
            subject = self._subject(Key(type_, name), after_s)
            subject.market, subject.kind = problem.class_key or (None, None)
            subject.went_down(since_s, problem.text, now_s)
        for key, subject in self.subjects.items():
            if key.type == type_ and key.name not in problems:
                subject.came_up(now_s)

    def refresh(self, now_s: float, running: Mapping[str, str]) -> None:
        """Forget the outages of streams that do not run any more, or whose symbols another connection brings.

        `running`: the names of those that do, and why each is down as far as that is known.
        """
        brought = self._brought()
        for subject in self.subjects.values():
            if not subject.is_down or subject.key.type != "stream":
                continue
            if subject.key.name not in running:
                self._dismiss(subject, now_s)
                continue
            subject.reason = running[subject.key.name] or subject.reason
            if _is_covered(subject, brought):
                subject.since_s = now_s

    def forget_gone(self, kept: Iterable[Subject]) -> None:
        """Drop subjects that are not wanted any more, but those that an incident still tells of."""
        kept_keys = {each.key for each in kept}
        gone = [key for key, each in self.subjects.items() if each.is_gone and key not in kept_keys]
        for key in gone:
            del self.subjects[key]

    def _disconnected(self, name: str, event: Disconnected, reason: str, now_s: float) -> None:
        subject, symbols = self._stream(name, event), frozenset(event.symbols or ())
        if reason == NOT_WANTED:
            subject.symbols -= symbols
        elif reason == STOPPED:
            self._dismiss(subject, now_s)
        else:
            subject.symbols = symbols or subject.symbols
            subject.went_down(now_s, reason, now_s)
            is_new = subject.begins_s and subject.begins_s[-1] == now_s
            if is_new and (self._is_silent(subject) or _is_covered(subject, self._brought())):
                subject.begins_s.pop()  # a silent connection is opened anew again and again: that is told

    def _dismiss(self, subject: Subject, now_s: float) -> None:
        """End the outage of a stream that is not wanted any more; where it was long, that was true until now."""
        subject.came_up(now_s)
        subject.is_gone = True

    def _is_silent(self, subject: Subject) -> bool:
        """Whether the class of a stream is silent."""
        return any(
            each.is_down and each.key.type == "silence" and each.class_key == subject.class_key
            for each in self.subjects.values()
        )

    def _brought(self) -> dict[tuple[str, str], set[str]]:
        """The symbols that streams bring now, by class."""
        brought: dict[tuple[str, str], set[str]] = {}
        for each in self.subjects.values():
            if each.key.type == "stream" and each.class_key and not (each.is_down or each.is_gone):
                brought.setdefault(each.class_key, set()).update(each.symbols)
        return brought

    def _stream(self, name: str, event: Connected | Disconnected) -> Subject:
        subject = self._subject(Key("stream", name))
        subject.market, subject.kind = event.market or subject.market, event.kind or subject.kind
        if isinstance(event, Connected):
            subject.is_gone = False
        return subject

    def _subject(self, key: Key, after_s: float | None = None) -> Subject:
        if key not in self.subjects:
            self.subjects[key] = Subject(key, self._after_s if after_s is None else after_s)
        return self.subjects[key]


def _is_covered(subject: Subject, brought: Mapping[tuple[str, str], set[str]]) -> bool:
    """Whether other streams of its class, REDUNDANCY's, bring all symbols of one that is down."""
    if subject.class_key is None or not subject.symbols:
        return False
    return subject.symbols <= brought.get(subject.class_key, set())
