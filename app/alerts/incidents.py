"""Incidents: what is down together and was told, and its sentences. Pure; main thread."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from app.alerts import words
from app.alerts.losses import Losses
from app.alerts.outages import FLAPPING_S, Subject
from app.outages import clipped

STEADY_S = 300.0  # so long something is up that flapped before that is told
ClockOf = Callable[[float], int]
"""Wall clock, ms since the epoch, of a monotonic time."""


@dataclass(eq=False)
class Member:
    """A subject of an incident; its outage, or the first of several, began at `begin_s`.

    `is_flapping`: it ends once it is steady. `is_known_down`: it was told as down since `told_since_s`, not only as
    flapping.
    """

    subject: Subject
    begin_s: float
    told_since_s: float
    outages_before: int
    is_flapping: bool
    is_known_down: bool

    @classmethod
    def of(cls, subject: Subject, now_s: float) -> "Member":
        """Make a member of a subject that is due."""
        is_down = subject.is_due(now_s)
        since_s = subject.since_s if subject.missed_s is None else subject.missed_s
        begin_s = since_s if is_down else subject.begins_s[0]
        outages = max(1, sum(each_s >= begin_s for each_s in subject.begins_s))
        subject.missed_s = None
        subject.figures.clear()
        return cls(subject, begin_s, begin_s, subject.outages - outages, subject.is_flapping(now_s), is_down)

    @property
    def outages(self) -> int:
        """How many outages there were so far."""
        return self.subject.outages - self.outages_before

    def span_ms(self, clock_of: ClockOf) -> tuple[int, int]:
        """The begin of the first outage, and the end of the last."""
        return clock_of(self.begin_s), clock_of(max(self.begin_s, self.subject.up_s))

    def is_over(self, now_s: float, settle_s: float, losses: Losses, clock_of: ClockOf) -> bool:
        """Whether its end can be told: it is up for good, and what it cost is known."""
        subject = self.subject
        if subject.is_gone or subject.is_down:
            return subject.is_gone
        up_s = now_s - subject.up_s
        if self.is_flapping or not subject.is_trades:
            return up_s >= (STEADY_S if self.is_flapping else settle_s)
        span_ms = self.span_ms(clock_of)
        return up_s >= settle_s and losses.is_settled(str(subject.market), subject.symbols, span_ms, up_s)

    def is_worse(self, now_s: float) -> bool:
        """Whether what was told as flapping alone is down for long."""
        subject = self.subject
        return subject.is_down and not self.is_known_down and now_s - subject.since_s >= FLAPPING_S

    def close(self) -> None:
        """Let the subject begin anew: its outages so far were told, and that it flapped."""
        self.subject.missed_s = None
        if self.is_flapping:
            self.subject.begins_s.clear()
        self.subject.figures.clear()


@dataclass(eq=False)
class Incident:
    """What was told to have begun, in one message."""

    number: int
    members: list[Member] = field(default_factory=list)


def groups_of(members: Iterable[Member]) -> list[list[Member]]:
    """The members told in one sentence: streams by class, everything else alone."""
    groups: dict[object, list[Member]] = {}
    for member in members:
        key = member.subject.key
        groups.setdefault((key.type, member.subject.class_key or key), []).append(member)
    return list(groups.values())


class Sentence(NamedTuple):
    """A sentence in parts: the `kind` of data, or what else a subject is; `about` which market; what is with it."""

    kind: str
    about: str
    tail: str


class Sentences:
    """Sentences about groups of members, at one moment. `total(class)`: how many symbols a class has."""

    def __init__(
        self, exchange: str, now_s: float, clock_of: ClockOf, total: Callable[[tuple[str, str]], int], losses: Losses
    ) -> None:
        self._exchange, self._now_s, self._clock_of, self._total = exchange, now_s, clock_of, total
        self._losses = losses

    def title(self, groups: Sequence[Sequence[Member]], down: str) -> str:
        """A few words about all, without states where others are with them; `down`: what they are."""
        subjects = [group[0].subject for group in groups]
        first = [each for each in subjects if each.key.type != "state"] or subjects
        return words.capitalized(words.listed(dict.fromkeys(map(words.label, first)))) + down

    def begun(self, groups: Iterable[Sequence[Member]]) -> list[str]:
        """What began, when and why."""
        return _joined(map(self._begun, groups))

    def ended(self, groups: Iterable[Sequence[Member]]) -> list[str]:
        """What ended, after how long, and what it cost."""
        return _joined(map(self._ended, groups))

    def remaining(self, groups: Iterable[Sequence[Member]]) -> list[str]:
        """What is not over."""
        return _joined(map(self._remaining, groups))

    def _begun(self, group: Sequence[Member]) -> Sentence:
        subjects = [member.subject for member in group]
        reasons = Counter(each.reason for each in subjects if each.reason).most_common(1)
        why = f" ({clipped(reasons[0][0])})" if reasons else ""
        flapping = [member for member in group if member.is_flapping]
        times = f"{max((len(each.subject.begins_s) for each in flapping), default=0)} outages in 10 minutes"
        if not any(member.is_known_down for member in group):
            return self._sentence(subjects, f" flapping: {times}{why}.")
        since = self._time(min(member.told_since_s for member in group if member.is_known_down))
        flaps = f", flapping: {times}" if flapping else ""
        return self._sentence(subjects, f"{words.DOWN[subjects[0].key.type]} since {since}{flaps}{why}.")

    def _ended(self, group: Sequence[Member]) -> Sentence:
        subjects = [member.subject for member in group]
        if all(each.is_gone for each in subjects):
            return self._sentence(subjects, ": not collected any more.")
        begin_s, up_s = min(member.begin_s for member in group), max(each.up_s for each in subjects)
        outages, after = max(member.outages for member in group), words.duration(up_s - begin_s)
        if any(member.is_flapping for member in group):
            text = f" steady since {self._time(up_s)}, after {outages} outages in {after}"
        else:
            text = f" {words.UP[subjects[0].key.type]} after {after}"
            text += f", down {outages} times" if outages > 1 else ""
        return self._sentence(subjects, f"{text}{self._cost(group)}.")

    def _remaining(self, group: Sequence[Member]) -> Sentence:
        since_s = min(member.begin_s for member in group)
        after = words.duration(self._now_s - since_s)
        return self._sentence([member.subject for member in group], f": not over after {after}.")

    def _cost(self, group: Sequence[Member]) -> str:
        first = group[0].subject
        if first.key.type == "output":
            return f": {words.output_loss(first.figures)}"
        if not first.is_trades:
            return ""
        spans_ms = [member.span_ms(self._clock_of) for member in group]
        span_ms = min(begin for begin, _ in spans_ms), max(end for _, end in spans_ms)
        symbols = words.symbols_of(member.subject for member in group)
        cost = self._losses.cost(str(first.market), symbols, span_ms)
        return f": {words.repaired(cost)}" if cost else ""

    def _sentence(self, subjects: Sequence[Subject], tail: str) -> Sentence:
        class_key = subjects[0].class_key
        about = words.about(subjects, self._exchange, self._total(class_key)) if class_key else ""
        return Sentence(words.label(subjects[0]), about, tail)

    def _time(self, at_s: float) -> str:
        return words.time_of_day(self._clock_of(at_s), self._clock_of(self._now_s))


def _joined(sentences: Iterable[Sentence]) -> list[str]:
    """Sentences as text; what holds for several kinds of data of the same symbols alike is one."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for kind, about, tail in sentences:
        kinds.setdefault((about or kind, tail), []).append(kind)
    return [
        words.capitalized(words.listed(each)) + (about if about != each[0] else "") + tail
        for (about, tail), each in kinds.items()
    ]


def totals(subjects: Collection[Subject]) -> Callable[[tuple[str, str]], int]:
    """What returns how many symbols a class has."""
    return lambda wanted: len(words.symbols_of(each for each in subjects if each.class_key == wanted))
