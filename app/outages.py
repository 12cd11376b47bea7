"""Outages of the exchange as a person is to be told of them: once, then at growing distances, and when they are over.

An OutageSink for streams and REST, whose failures of one cause are one outage, however many there are. Any thread
reports; a report costs a lock and two look-ups. Main calls `tick`.
"""

import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog

from model.pacing import OUTAGE_LINES_S, outage_line_due_s
from model.problems import REST, Problem

GATHER_S = 1.0  # streams that are lost within it are one line
LASTING_S = 10.0  # of a cause that comes and goes, an outage of this length has a line of its own in any case
NAMES_MOST = 4  # in a sentence
PARTS_MOST = 20  # in a field
DETAIL_CHARACTERS = 160  # of an error's text in a sentence
PLAIN = frozenset(
    {"name_not_found", "no_way", "refused", "timed_out", "hung_up", "returned"}
)  # causes whose detail adds nothing
CLASS_NAMES = re.compile(r"^(\w+(Error|Exception|Timeout): )+")  # before an error's text

log = structlog.get_logger()


@dataclass
class _Outage:
    """What is known of one cause: the outage that is open, and how often there was one of late.

    `parts` are those that are down for it, `seen` those that were.
    """

    problem: Problem
    since_s: float = 0.0
    parts: set[str] = field(default_factory=set)
    seen: dict[str, None] = field(default_factory=dict)
    attempts: int = 0
    is_logged: bool = False
    lines: int = 0  # how often it was logged that it lasts
    quiet_until_s: float = float("-inf")  # those that begin before it, and are over soon, are only counted
    series: int = 0  # how many came in a row, each soon after the one before
    held_back: int = 0
    counted: dict[str, None] = field(default_factory=dict)  # the parts of those

    def fields(self) -> dict[str, Any]:
        """Return what every line of an outage has."""
        problem, parts = self.problem, sorted(self.seen)
        peer = {"peer": problem.peer} if problem.peer else {}
        of_parts = {"parts": parts[:PARTS_MOST], "count_of_parts": len(parts)}
        return {"cause": problem.cause, **peer, **of_parts, "attempts": self.attempts}


class Outages:
    """All outages of one process; a model.problems.OutageSink. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._causes: dict[str, dict[str, None]] = {}  # of parts that do not work, the newest cause last
        self._outages: dict[str, _Outage] = {}
        self._newest: Problem | None = None

    # -- any thread ------------------------------------------------------------------------------------

    def failed(self, part: str, problem: Problem) -> None:
        """Record a failed attempt of a part; logged at once where nothing of the host can be reached."""
        with self._lock:
            now_s = self._clock()
            self._newest = problem
            causes = self._causes.setdefault(part, {})
            causes.pop(problem.cause, None)
            causes[problem.cause] = None
            outage = self._outages.setdefault(problem.cause, _Outage(problem))
            if not outage.parts:
                outage.since_s, outage.is_logged, outage.lines, outage.attempts = now_s, False, 0, 0
                outage.seen.clear()
            outage.problem = problem
            outage.parts.add(part)
            outage.seen[part] = None
            outage.attempts += 1
            if not problem.is_of_stream:
                self._begin_gathered(now_s)  # what was lost before it could not be reached any more
                self._begin(outage, now_s)

    def works(self, part: str) -> None:
        """Record that a part works: the outages end that no other part has."""
        if part not in self._causes:  # nearly always
            return
        with self._lock:
            self._end(part, self._clock(), is_removed=False)

    def removed(self, part: str) -> None:
        """Forget a part."""
        with self._lock:
            self._end(part, self._clock(), is_removed=True)

    def problem_of(self, part: str) -> Problem | None:
        """Why a part does not work, as its newest failure shows; None where it works."""
        with self._lock:
            causes = self._causes.get(part)
            return self._outages[next(reversed(causes))].problem if causes else None

    @property
    def newest(self) -> Problem | None:
        """The problem of the newest failure; None where nothing has failed."""
        return self._newest

    # -- main ------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Log the outages that have begun, last, or came again and again."""
        with self._lock:
            now_s = self._clock()
            for cause, outage in self._outages.items():
                if outage.parts and not outage.is_logged:
                    self._begin(outage, now_s)
                elif outage.parts and now_s - outage.since_s >= outage_line_due_s(outage.lines):
                    self._go_on(cause, outage, now_s)
                elif outage.held_back and now_s >= outage.quiet_until_s:
                    self._log_series(outage, now_s)

    # -- under the lock --------------------------------------------------------------------------------

    def _begin_gathered(self, now_s: float) -> None:
        for outage in self._outages.values():
            if outage.parts and outage.problem.is_of_stream:
                self._begin(outage, now_s, gather_s=0.0)

    def _begin(self, outage: _Outage, now_s: float, gather_s: float = GATHER_S) -> None:
        """Log that an outage began, unless it was logged, or may be one of a series of short ones."""
        wait_s = gather_s if outage.problem.is_of_stream else 0.0
        if outage.since_s < outage.quiet_until_s:
            wait_s = LASTING_S
        if outage.is_logged or now_s - outage.since_s < wait_s:
            return
        outage.is_logged, problem = True, outage.problem
        log.warning(
            "outage_began",
            sentence=sentence_of(problem, outage.parts),
            **outage.fields(),
            detail=problem.detail,
            pause_s=problem.pause_s,
            remedy=problem.remedy,
        )

    def _go_on(self, cause: str, outage: _Outage, now_s: float) -> None:
        """Log that an outage lasts, where it is why some part does not work now."""
        down_s, problem = now_s - outage.since_s, outage.problem
        while down_s >= outage_line_due_s(outage.lines):
            outage.lines += 1
        if parts := [part for part in outage.parts if next(reversed(self._causes[part])) == cause]:
            of_parts = "" if problem.is_of_stream else f" of {named(parts)}"
            since = f"Still after {duration(down_s)} and {_counted(outage.attempts, 'attempt')}{of_parts}"
            sentence = f"{since}: {sentence_of(problem, parts)}"
            log.warning(
                "outage_lasts", sentence=sentence, **outage.fields(), down_s=round(down_s, 1), remedy=problem.remedy
            )

    def _end(self, part: str, now_s: float, *, is_removed: bool) -> None:
        """End a part's outages, and log the oldest of those that no other part has."""
        closed = [self._outages[cause] for cause in self._causes.pop(part, ())]
        for outage in closed:
            outage.parts.discard(part)
        shown = [outage for outage in closed if not outage.parts and self._has_line(outage, now_s)]
        if shown and not is_removed:
            self._log_end(min(shown, key=lambda outage: outage.since_s), [each.problem.cause for each in shown], now_s)

    def _has_line(self, outage: _Outage, now_s: float) -> bool:
        """Whether the end of an outage is logged; else it is counted. Sets when the next may be."""
        is_in_series = outage.since_s < outage.quiet_until_s
        if is_in_series and not outage.is_logged:
            outage.held_back += 1
            outage.counted |= outage.seen
            return False
        is_soon = outage.since_s < outage.quiet_until_s + OUTAGE_LINES_S[0]
        outage.series = outage.series + 1 if is_soon else 0
        outage.quiet_until_s = now_s + _quiet_s(outage.series)
        return True

    def _log_end(self, outage: _Outage, causes: list[str], now_s: float) -> None:
        """Log the end of an outage, and of others for `causes` that the same parts had meanwhile."""
        away_s, problem, names = now_s - outage.since_s, outage.problem, named(outage.seen)
        why = "" if outage.is_logged else f"; it was {clipped(problem.detail or problem.meaning)}"
        is_of_streams = problem.is_of_stream or all(map(_is_stream, outage.seen))
        what = "Back" if is_of_streams else f"{problem.peer or 'The exchange'} is reached again"
        sentence = f"{what} after {duration(away_s)}: {names}{why}."
        fields = {**outage.fields(), "causes": sorted(causes), "away_s": round(away_s, 1), "detail": problem.detail}
        log.info("outage_over", sentence=sentence, **fields)

    def _log_series(self, outage: _Outage, now_s: float) -> None:
        """Log how many short outages were counted, and go on to count for longer."""
        count, outage.held_back = outage.held_back, 0
        parts, outage.counted = outage.counted, {}
        outage.series += 1
        outage.quiet_until_s = now_s + _quiet_s(outage.series)
        what = clipped(outage.problem.detail or outage.problem.meaning)
        sentence = f"{_counted(count, 'short outage')} more since then: {named(parts)}; the last was {what}."
        fields = {**outage.fields(), "parts": sorted(parts)[:PARTS_MOST], "count_of_parts": len(parts)}
        log.warning("outages_short", sentence=sentence, **fields, count=count, remedy=outage.problem.remedy)


def sentence_of(problem: Problem, parts: Iterable[str] = ()) -> str:
    """Return a problem in a sentence of what it means and one of what to do; of streams, with their names."""
    has_detail = problem.detail and not problem.status and problem.cause not in PLAIN
    detail = f" ({clipped(problem.detail)})" if has_detail else ""
    if problem.is_of_stream:
        return f"{named(parts)}: {problem.meaning}{detail}. {_capital(problem.remedy)}."
    pause = (
        f"left alone for {duration(problem.pause_s)}, then tried again" if problem.pause_s else "tried again and again"
    )
    return f"{_capital(problem.meaning)}{detail}. It is {pause}. What to do: {problem.remedy}."


def named(parts: Iterable[str]) -> str:
    """Return names for a sentence: all of a few, or how many streams and the first of them."""
    names = sorted(parts)
    streams = [name for name in names if _is_stream(name)]
    if len(streams) > NAMES_MOST:
        streams = [f"{len(streams)} streams ({streams[0]}, {streams[1]}, ...)"]
    return ", ".join([*streams, *(name for name in names if not _is_stream(name))])


def clipped(text: str) -> str:
    """Return the text of an error in one line, not too long, without the names of its classes."""
    line = CLASS_NAMES.sub("", " ".join(text.split()))
    return line if len(line) <= DETAIL_CHARACTERS else f"{line[:DETAIL_CHARACTERS]}..."


def duration(seconds: float) -> str:
    """Return a length of time as people say it: 0.8 s, 12 s, 3 min, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{minutes} min" if minutes < 120 else f"{hours} h {rest} min" if rest else f"{hours} h"


def _quiet_s(series: int) -> float:
    """Return how long no short outage is logged, after so many in a row."""
    return OUTAGE_LINES_S[min(series, len(OUTAGE_LINES_S) - 1)]


def _is_stream(part: str) -> bool:
    return not part.startswith(REST)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _capital(text: str) -> str:
    """Return a sentence with its first letter in capitals, unless it begins with the name of a host."""
    return text if "." in text.partition(" ")[0] else text[:1].upper() + text[1:]
