"""The evidence of the exchange's time: bounds of its offset by messages and by REST, and sources that contradict them.

Pure; guarded by the lock of the ExchangeClock. Offsets are exchange time minus monotonic time, in ms.
"""

from dataclasses import dataclass, field

DRIFT = 1e-4  # how far a host's oscillator may be off: 100 ppm, twice what is usual
ONE_WAY_ONLY_MS = 500  # the quickest message of many was on its way for less
TOGETHER_MS = 20  # messages that waited together are one proof, not many
JUMP_MS = 1_000  # two measures of REST further apart, with no message to decide, contradict each other
PERSIST_MS, PERSIST_TIMES = 2_000, 3  # one source alone overrules REST alone after so long and so many messages
SOURCES_MOST = 5_000  # far more symbols than any market has; beyond it the bounds begin anew


class OneWayBound:
    """The best lower bound of the offset from messages: no message is received before it was sent.

    The second best bound of different sources counts, and not much above the median of all: a symbol with wrong times
    moves nothing. Of a single source it is the second best of different times. Bounds loosen with DRIFT; as all do so
    equally, each is kept as the height of its falling line at time 0.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop all bounds."""
        self._best, self._best_ts_ms, self._second = float("-inf"), 0, float("-inf")
        self._lines: dict[str, float] = {}
        self._line = float("-inf")
        self.newest_ms, self.count = float("-inf"), 0

    def add(self, bound_ms: float, ts_ms: int, now_ms: float, source: str = "") -> None:
        """Add the bound of a message of `source` with the time `ts_ms`, received at `now_ms`."""
        line = bound_ms + DRIFT * now_ms
        self.count += now_ms - self.newest_ms >= TOGETHER_MS
        self.newest_ms = now_ms
        if ts_ms == self._best_ts_ms:
            self._best = max(self._best, line)
        elif line > self._best:
            self._best, self._best_ts_ms, self._second = line, ts_ms, self._best
        else:
            self._second = max(self._second, line)
        if line > self._lines.get(source, float("-inf")):
            is_new = source not in self._lines
            if is_new and len(self._lines) >= SOURCES_MOST:
                self._lines.clear()
            self._lines[source] = line
            if is_new or line > self._line:
                self._line = self._agreed()

    def _agreed(self) -> float:
        if len(self._lines) < 2:
            return self._second
        ordered = sorted(self._lines.values(), reverse=True)
        return min(ordered[1], ordered[len(ordered) // 2] + ONE_WAY_ONLY_MS)

    def at(self, now_ms: float) -> float:
        """The bound now; minus infinity before two messages."""
        line = self._second if len(self._lines) < 2 else self._line
        return line - DRIFT * now_ms


@dataclass(frozen=True, slots=True)
class Measured:
    """Bounds of the offset by one measure over REST, at the monotonic time `at_ms`."""

    low_ms: float
    high_ms: float
    at_ms: float

    def low_at(self, now_ms: float) -> float:
        """The lower bound, loosened by drift."""
        return self.low_ms - DRIFT * (now_ms - self.at_ms)

    def high_at(self, now_ms: float) -> float:
        """The upper bound, loosened by drift."""
        return self.high_ms + DRIFT * (now_ms - self.at_ms)

    @property
    def middle_ms(self) -> float:
        """The offset where request and answer take equally long."""
        return (self.low_ms + self.high_ms) / 2

    def contradicts(self, other: "Measured") -> bool:
        """Whether both measures cannot be true, by more than JUMP_MS."""
        reach_ms = JUMP_MS + DRIFT * abs(self.at_ms - other.at_ms)
        return self.low_ms > other.high_ms + reach_ms or other.low_ms > self.high_ms + reach_ms


@dataclass
class _Outlier:
    """Messages of one source that contradict the current time."""

    since_ms: float
    ts_ms: int
    bound_ms: float
    now_ms: float
    times: int = 1


@dataclass
class Votes:
    """The sources whose messages fit the current time, and those whose messages contradict it, since it is current."""

    supporting: set[str] = field(default_factory=set)
    opposing: dict[str, _Outlier] = field(default_factory=dict)

    def support(self, source: str) -> None:
        """Count a source whose message fits; one that also contradicted does not count as opposing any more."""
        if len(self.supporting) < SOURCES_MOST:
            self.supporting.add(source)
        self.opposing.pop(source, None)

    def oppose(self, source: str, bound_ms: float, ts_ms: int, now_ms: float) -> bool:
        """Count a source whose message is too far in the future; True where its source opposes for the first time."""
        self.supporting.discard(source)
        outlier = self.opposing.get(source)
        if outlier is None:
            if len(self.opposing) < SOURCES_MOST:
                self.opposing[source] = _Outlier(now_ms, ts_ms, bound_ms, now_ms)
            return True
        outlier.times += ts_ms != outlier.ts_ms
        outlier.ts_ms, outlier.bound_ms, outlier.now_ms = ts_ms, bound_ms, now_ms
        return False

    def overrules(self) -> bool:
        """Whether more sources oppose the current time than support it, or one opposes alone for long enough."""
        if len(self.opposing) > 1:
            return len(self.opposing) > len(self.supporting)
        return not self.supporting and all(
            outlier.times >= PERSIST_TIMES and outlier.now_ms - outlier.since_ms >= PERSIST_MS
            for outlier in self.opposing.values()
        )


def agreed(samples: list[Measured]) -> Measured:
    """The bounds that all samples allow, or the narrowest sample where they contradict each other by a few ms."""
    low, high = max(s.low_ms for s in samples), min(s.high_ms for s in samples)
    if low <= high:
        return Measured(low, high, samples[-1].at_ms)
    return min(samples, key=lambda s: s.high_ms - s.low_ms)
