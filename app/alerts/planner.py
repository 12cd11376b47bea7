"""What is told when: begins and ends of incidents as pairs, and notes, at most so many an hour. Pure; main thread.

An incident is what went down together: one message at its begin, one at its end. Times `_s` are monotonic, by the clock
of the caller, who calls `step` about once a second.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.alerts import words
from app.alerts.incidents import Incident, Member, Sentences, groups_of, totals
from app.alerts.losses import Losses, Outage
from app.alerts.notes import BATCH_S, Notes
from app.alerts.outages import FLAPS, Outages, Problem, Subject, SubjectType
from app.alerts.quota import Quota
from model.events import Delisted, Listed, StatusEvent
from model.records import Kline

GROUP_S = 30.0  # what goes down within so long is told together: a dead network is noticed by time-outs, not at once
GATHER_S = 5.0  # what is seen later than it began, as silence is, waits so long for others; at most ALERT_AFTER
SETTLE_S = 10.0  # so long something is up before that is told, at most ALERT_AFTER
PARTIAL_S = 60.0  # so long after something is back that is told although other parts of the incident are not

AlertEvent = Literal["begin", "end", "update", "note"]


@dataclass(frozen=True)
class Alert:
    """A message to a person. `incident` is the number that a begin, its updates and its end have in common."""

    event: AlertEvent
    title: str
    text: str
    at_ms: int
    incident: int | None = None


@dataclass(frozen=True)
class PlannerOptions:
    """`name` of the collector stands in titles. `has_klines`: any are made. `batch_s`: how long notes are collected."""

    exchange: str
    name: str
    after_s: float = 60.0
    most_per_hour: int = 20
    listings: bool = False
    has_klines: bool = True
    batch_s: float = BATCH_S


class AlertPlanner:
    """Takes events and observations; `step` returns what is to be sent now."""

    def __init__(self, options: PlannerOptions) -> None:
        self._options = options
        self._settle_s = min(SETTLE_S, options.after_s)
        self.outages = Outages(options.after_s)
        self.losses = Losses(has_klines=options.has_klines)
        self.incidents: list[Incident] = []
        self._notes = Notes(options.batch_s)
        self._quota = Quota(options.most_per_hour)
        self._number = 0
        self._held: Counter[str] = Counter()
        self._now_s, self._now_ms = 0.0, 0

    # -- what comes ------------------------------------------------------------------------------------

    def take(self, event: StatusEvent, now_s: float, now_ms: int) -> None:
        """Take one status event."""
        self.outages.take(event, now_s, now_ms)
        self.losses.take(event)
        if isinstance(event, Listed | Delisted) and self._options.listings:
            verb = "Listed" if isinstance(event, Listed) else "Delisted"
            text = f"{verb} at {self._options.exchange} {event.market}: {words.names(event.symbols)}."
            self._notes.add("listings", text, now_s)

    def take_klines(self, market: str, klines: Sequence[Kline], now_s: float) -> None:
        """Take klines that went out, of which complete ones without a revision may be left out."""
        self.losses.take_klines(market, klines, now_s)

    def look(self, type_: SubjectType, problems: Mapping[str, Problem], now_s: float) -> None:
        """Take what is wrong now of everything of a type that is looked at, by names."""
        self.outages.look(type_, problems, now_s, after_s=0.0 if type_ == "disk" else self._options.after_s)

    def audited(self, interval: str, different: int, now_s: float) -> None:
        """Take how many more candles of an interval the audit has found that differ from the exchange's."""
        self._notes.add("audit", (interval, different), now_s)

    # -- what is told ----------------------------------------------------------------------------------

    def step(self, now_s: float, now_ms: int, running: Callable[[], Mapping[str, str]]) -> list[Alert]:
        """Return what is to be sent now; `running()` returns the streams that are wanted, and why each is down."""
        self._now_s, self._now_ms = now_s, now_ms
        if self.outages.has_down_streams:
            self.outages.refresh(now_s, running())
        alerts = [alert for incident in list(self.incidents) for alert in self._follow(incident)]
        alerts += self._begin()
        self.outages.forget_gone(member.subject for incident in self.incidents for member in incident.members)
        return alerts + self._take_notes()

    def stop(self, now_s: float, now_ms: int, problem: str | None = None) -> list[Alert]:
        """Return the ends of everything that is open, for the collector stops; `problem`: it was not asked to."""
        self._now_s, self._now_ms = now_s, now_ms
        alerts = [self._alert("note", "the collector ends", f"The collector ends: {problem}.")] if problem else []
        for incident in list(self.incidents):
            lines = self._sentences.remaining(groups_of(incident.members))
            text = "\n".join(["The collector stops; no end of this will be told:", *lines])
            alerts.append(self._end(incident, "stopped", text))
        return alerts

    def _follow(self, incident: Incident) -> list[Alert]:
        """Tell the end of an incident, or of parts of it, or that it got worse."""
        now_s, say = self._now_s, self._sentences
        for member in incident.members:
            member.is_flapping |= member.subject.is_flapping(now_s)
        over = [each for each in incident.members if each.is_over(now_s, self._settle_s, self.losses, self._clock_of)]
        rest = [each for each in incident.members if each not in over]
        if not rest:
            groups = groups_of(over)
            back = " back" if {each.subject.key.type for each in over} <= {"stream", "silence", "output"} else ": over"
            return [self._end(incident, say.title(groups, back), "\n".join(say.ended(groups)))]
        is_allowed = self._quota.allows(now_s, len(self.incidents))
        if is_allowed and any(now_s - each.subject.up_s >= PARTIAL_S for each in over):
            incident.members = rest
            lines = [*say.ended(groups_of(over)), *say.remaining(groups_of(rest))]
            for member in over:
                member.close()
            return [
                self._alert("update", say.title(groups_of(over), " back, others are not"), "\n".join(lines), incident)
            ]
        if is_allowed and (worse := [each for each in rest if each.is_worse(now_s)]):
            for member in worse:
                member.is_known_down, member.told_since_s = True, member.subject.since_s
            groups = groups_of(worse)
            return [self._alert("update", say.title(groups, " down"), "\n".join(say.begun(groups)), incident)]
        return []

    def _begin(self) -> list[Alert]:
        """Tell of all that is due as one incident, unless more will be due soon."""
        now_s = self._now_s
        taken = {member.subject.key for each in self.incidents for member in each.members}
        free = [each for each in self.outages.subjects.values() if each.key not in taken]
        due = [each for each in free if each.is_due(now_s) or each.is_flapping(now_s)]
        if not due or self._is_more_due_soon(due, free):
            return []
        if not self._quota.allows(now_s, len(self.incidents) + 1):
            for subject in due:
                self._hold(subject)
            return []
        self._number += 1
        incident = Incident(self._number, [Member.of(each, now_s) for each in due])
        self.incidents.append(incident)
        groups, say = groups_of(incident.members), self._sentences
        types = {each.key.type for each in due} - {"output"}
        down = words.DOWN[types.pop()] if len(types) == 1 else " down"
        title = say.title(groups, down if any(each.is_known_down for each in incident.members) else " flapping")
        return [self._alert("begin", title, "\n".join(say.begun(groups)), incident)]

    def _is_more_due_soon(self, due: Sequence[Subject], free: Sequence[Subject]) -> bool:
        """Whether to wait, for what goes down together to be told together; not where something is up again."""
        if any(each.missed_s is not None for each in due):
            return False
        if any(self._now_s - each.seen_s < min(GATHER_S, each.after_s) for each in due):
            return True
        down = [each.since_s + each.after_s for each in due if each.is_due(self._now_s)]
        until_s = min([*down, *(each.begins_s[FLAPS - 1] for each in due if not each.is_due(self._now_s))]) + GROUP_S
        if not down:
            return self._now_s < until_s
        return any(each.is_down and each not in due and each.since_s + each.after_s <= until_s for each in free)

    def _hold(self, subject: Subject) -> None:
        """Count an outage that ended before it could be told."""
        if subject.missed_s is not None:
            subject.missed_s = None
            self._held[words.label(subject)] += 1

    def _take_notes(self) -> list[Alert]:
        spared = [
            Outage(str(each.market), each.symbols, self._clock_of(each.since_s))
            for each in self.outages.subjects.values()
            if each.is_trades and each.is_down
        ]
        spared += [
            Outage(str(each.subject.market), each.subject.symbols, self._clock_of(each.begin_s))
            for incident in self.incidents
            for each in incident.members
            if each.subject.is_trades
        ]
        for lost in self.losses.take_lasting(spared, self._now_s):
            self._notes.add("candles", lost, self._now_s)
        if completed := self.losses.take_completed(self._now_s):
            self._notes.add("completed", completed, self._now_s)
        if self._held and self._quota.allows(self._now_s, len(self.incidents) + 1):
            self._notes.add("held", "", self._now_s)
        alerts: list[Alert] = []
        due = self._notes.take_due(self._now_s, lambda: self._quota.allows(self._now_s, len(self.incidents)))
        for topic, items in due:
            if topic != "held" or self._held:  # else another alert has told it
                alerts.append(self._alert("note", *_note(topic, items)))
        return alerts

    def _end(self, incident: Incident, title: str, text: str) -> Alert:
        self.incidents.remove(incident)
        for member in incident.members:
            member.close()
        return self._alert("end", title, text, incident)

    def _alert(self, event: AlertEvent, title: str, text: str, incident: Incident | None = None) -> Alert:
        """Make an alert, count it, and add what was held back before it, or will be after it."""
        self._quota.count(self._now_s)
        if self._held:
            held = words.listed(f"{words.count(number, 'outage')} of {name}" for name, number in self._held.items())
            text = f"{text}\nHeld back before this: {held}.".lstrip()
            self._held.clear()
        if event == "begin" and not self._quota.allows(self._now_s, len(self.incidents) + 1):
            most = self._options.most_per_hour
            text += f"\nThese are many alerts: what else begins is held back, so that they are at most {most} an hour."
        return Alert(event, f"{self._options.name}: {title}", text, self._now_ms, incident.number if incident else None)

    @property
    def _sentences(self) -> Sentences:
        total = totals(self.outages.subjects.values())
        return Sentences(self._options.exchange, self._now_s, self._clock_of, total, self.losses)

    def _clock_of(self, at_s: float) -> int:
        return self._now_ms - round((self._now_s - at_s) * 1000)


def _note(topic: str, items: Sequence[Any]) -> tuple[str, str]:
    """Title and text of the items of a topic."""
    match topic:
        case "candles":
            return "candles stay incomplete", words.candles(items)
        case "completed":
            number = sum(items)
            return "candles complete", f"All candles told as incomplete ({number:,}) are complete by now."
        case "audit":
            counts: Counter[str] = Counter()
            for interval, different in items:
                counts[interval] += different
            return "candles differ", words.differing(counts)
        case "held":
            return "alerts held back", ""
    return "listed and delisted", "\n".join(items)
