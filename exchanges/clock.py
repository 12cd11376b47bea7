"""What time it is at the exchange, however wrong the host's clock is.

Runs no thread: its owner calls `refresh` (blocks, asks REST) on one of his, everybody else may call the rest. Based on
the monotonic clock, so that a host clock set meanwhile changes nothing. Knows no exchange and closes no candle.
REST, the messages and the host's clock are three witnesses: what one says alone against two is not believed.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import structlog

from exchanges.contract import HistoryError

log = structlog.get_logger()

SAMPLES = 5  # REST times per refresh: the quickest answers bound the offset best, the first opens the connection
REFRESH_S = 180.0  # at DRIFT the bounds widen by 18 ms meanwhile
RETRY_S = 10.0  # between refreshes after a failure, a step or a doubt; doubled while REST is not believed
DRIFT = 1e-4  # how far a host's oscillator may be off: 100 ppm, twice what is usual
STEP_MS = 20.0  # a host clock is slewed by less between two looks
DOUBT_MS = 50.0  # Bybit's machines differ by less; a message further in the future is wrong, or we are
HEARD_ONLY_MS = 500  # the quickest message of many was on its way for less
HOST_NEAR_MS = 1_000  # a host whose clock is synchronised is right to less: it takes the side of who is so near
MANY = 5  # so many messages, of which the quickest counts
LATE_MS = 5_000  # no message that is read live is older than this
FAR_MS = 10_000  # without REST no single message moves the time forward by more
JUMP_MS = 1_000  # two measures of REST further apart, with no message to decide, contradict each other
CONFIRMATIONS = 3  # measures in a row that agree are believed where nobody speaks against them
REPEAT_MS = 600_000  # REST alone against the host is believed when it goes on for so long: else a quiet minute decides
PERSIST_MS, PERSIST_TIMES = 2_000, 3  # one source against REST alone is believed when it goes on for so long
HOLD_MS = 5_000  # stand still rather than go back by up to this; beyond it standing still would be worse
LOG_CHANGE_MS = 100.0
SOURCES_MOST = 5_000  # far more symbols than any market has; beyond it one begins anew
STAMP_AGE_MS = 120_000  # a dead link is noticed sooner: no older time stamp of the host's clock is asked about


class Heard:
    """The best lower bound that messages gave: none is received before it was sent.

    The second best of different sources is what counts, and not much above what half of them say: a symbol whose times
    are wrong moves nothing. Of a single source it is the second best of different times. Bounds loosen with DRIFT; as
    they all do so equally, they are kept as the height of their falling line at time 0.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._best, self._best_ts_ms, self._second = float("-inf"), 0, float("-inf")
        self._lines: dict[str, float] = {}
        self._line = float("-inf")
        self.newest_ms, self.count = float("-inf"), 0

    def add(self, bound_ms: float, ts_ms: int, now_ms: float, source: str = "") -> None:
        """Take the bound that a message of `source` stamped `ts_ms` gives at `now_ms`."""
        line = bound_ms + DRIFT * now_ms
        self.newest_ms = now_ms
        self.count += 1
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
        return min(ordered[1], ordered[len(ordered) // 2] + HEARD_ONLY_MS)

    def at(self, now_ms: float) -> float:
        """The bound now; minus infinity before two messages."""
        line = self._second if len(self._lines) < 2 else self._line
        return line - DRIFT * now_ms


@dataclass(frozen=True, slots=True)
class Measured:
    """Bounds of the offset from REST, at the monotonic time `at_ms`."""

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
        """The offset where the ways there and back are alike."""
        return (self.low_ms + self.high_ms) / 2

    def contradicts(self, other: "Measured") -> bool:
        """Whether both cannot be true, by far."""
        reach_ms = JUMP_MS + DRIFT * abs(self.at_ms - other.at_ms)
        return self.low_ms > other.high_ms + reach_ms or other.low_ms > self.high_ms + reach_ms


@dataclass
class _Claim:
    """What one source says against all that is believed."""

    since_ms: float
    ts_ms: int
    bound_ms: float
    now_ms: float
    times: int = 1


@dataclass
class _Claims:
    """Who spoke for what is believed, and who against it, since it is."""

    agreeing: set[str] = field(default_factory=set)
    against: dict[str, _Claim] = field(default_factory=dict)

    def agree(self, source: str) -> None:
        """Take a message that fits; whoever speaks both ways speaks for nothing else."""
        if len(self.agreeing) < SOURCES_MOST:
            self.agreeing.add(source)
        self.against.pop(source, None)

    def oppose(self, source: str, bound_ms: float, ts_ms: int, now_ms: float) -> bool:
        """Take a message from further in the future than can be; whether its source is the first time against it."""
        self.agreeing.discard(source)
        claim = self.against.get(source)
        if claim is None:
            if len(self.against) < SOURCES_MOST:
                self.against[source] = _Claim(now_ms, ts_ms, bound_ms, now_ms)
            return True
        claim.times += ts_ms != claim.ts_ms
        claim.ts_ms, claim.bound_ms, claim.now_ms = ts_ms, bound_ms, now_ms
        return False

    def prevail(self) -> bool:
        """Whether more speak against it than for it, or one alone for long enough."""
        if len(self.against) > 1:
            return len(self.against) > len(self.agreeing)
        return not self.agreeing and all(
            claim.times >= PERSIST_TIMES and claim.now_ms - claim.since_ms >= PERSIST_MS
            for claim in self.against.values()
        )


def agreed(samples: list[Measured]) -> Measured:
    """What all samples allow, or the narrowest one where they contradict each other by a server's few ms."""
    low, high = max(s.low_ms for s in samples), min(s.high_ms for s in samples)
    if low <= high:
        return Measured(low, high, samples[-1].at_ms)
    return min(samples, key=lambda s: s.high_ms - s.low_ms)


class ExchangeClock:
    """Exchange time from REST time, refined by the messages' own times. Thread safe; only `refresh` blocks.

    All offsets inside are exchange time minus monotonic time. Without REST the quickest message counts, which can
    only be late, never early; without messages too, the host's clock as it was at the start. Where REST and messages
    contradict each other the host decides, and where that is with neither, the messages: candles are made of them.
    """

    def __init__(
        self,
        server_time_ms: Callable[[], int],
        *,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`server_time_ms` raises HistoryError where it cannot say; `monotonic` in seconds."""
        self._server_time_ms, self._wall_ms, self._monotonic = server_time_ms, wall_ms, monotonic
        self._lock = threading.RLock()
        self._heard, self._claims = Heard(), _Claims()
        self._measured: Measured | None = None
        self._pending: deque[Measured] = deque(maxlen=CONFIRMATIONS)  # in a row, agreeing, against the one that counts
        self._since_ms = 0.0  # the first measure in a row that agree with the one that counts
        self._is_heard_to_fit = False  # whether messages have confirmed the measure
        self._is_vouched = False  # whether they, or repetition, have
        self._is_rejecting = False
        self._wall_ahead_ms = self._start_ms = wall_ms() - self._mono_ms()
        self._stepped: deque[tuple[float, float]] = deque(maxlen=8)  # when the host stepped, and how it was until then
        self._last_ms = 0
        self._next_refresh_ms, self._retry_s = self._mono_ms(), RETRY_S
        self._is_reachable = True
        self.steps = self.doubted = self.rejected = 0
        self.changes = 0  # how often the time became sure, or another one: what was judged by it may be judged anew

    # what it says

    def now_ms(self) -> int:
        """Exchange time, ms since the epoch. Stands still rather than going back, unless it was wrong by seconds."""
        with self._lock:
            self._look_at_host()
            mono_ms = self._mono_ms()
            now_ms = int(mono_ms + self._estimate(mono_ms)[0])
            if self._last_ms - HOLD_MS <= now_ms < self._last_ms:
                return self._last_ms
            self._last_ms = now_ms
            return now_ms

    def sure_ms(self) -> int:
        """Exchange time, or the earlier one where two witnesses contradict each other: what was over then is over."""
        with self._lock:
            self._look_at_host()
            mono_ms = self._mono_ms()
            return int(mono_ms + min(self._candidates(mono_ms)))

    def span_of(self, host_ms: int) -> tuple[int, int]:
        """The earliest and the latest exchange time that a time of the host's clock may mean, of the last minutes."""
        with self._lock:
            self._look_at_host()
            mono_ms = self._mono_ms()
            if not self.is_known and self._is_near_host(self._start_ms):
                return host_ms, host_ms  # the host is all there is, and both are its clock
            stamps_ms = self._stamps(host_ms, mono_ms)
            offsets_ms = self._candidates(mono_ms)
            return round(min(stamps_ms) + min(offsets_ms)), round(max(stamps_ms) + max(offsets_ms))

    @property
    def offset_ms(self) -> int:
        """Exchange time minus the host's clock as it is now: negative where the host is fast; 0 while it is unknown."""
        with self._lock:
            if not self.is_known:
                return 0
            self._look_at_host()
            return round(self._estimate(self._mono_ms())[0] - self._wall_ahead_ms)

    @property
    def uncertainty_ms(self) -> int | None:
        """How far `now_ms` may be off, in ms; None where nothing but the host's clock is known."""
        with self._lock:
            uncertainty = self._estimate(self._mono_ms())[1]
        return None if uncertainty is None else round(uncertainty)

    @property
    def is_known(self) -> bool:
        """Whether REST or messages have said anything yet."""
        return self.uncertainty_ms is not None

    # what it is told

    def observe(self, ts_ms: int, source: str = "") -> None:
        """Learn that a message of exchange time `ts_ms` is here; `source` tells one symbol from another.

        Any exchange time before the sending will do, and any moment after the receiving; the closer the better. Cheap,
        but one call per batch is enough.
        """
        with self._lock:
            self._look_at_host()
            mono_ms = self._mono_ms()
            bound_ms = ts_ms - mono_ms - 1  # its millisecond may have been nearly over
            if bound_ms <= self._limit(mono_ms):
                before_ms, was_known = self._estimate(mono_ms)
                self._heard.add(bound_ms, ts_ms, mono_ms, source)
                self._claims.agree(source)
                if self._measured:
                    self._compare(self._measured, bound_ms, mono_ms)
                elif self._is_heard(mono_ms):  # known for the first time, or one of two was wrong until now
                    self.changes += was_known is None or abs(self._estimate(mono_ms)[0] - before_ms) > JUMP_MS
                return
            self.doubted += 1
            if self._claims.oppose(source, bound_ms, ts_ms, mono_ms):
                self._want_refresh(mono_ms)
            self._judge_claims(bound_ms, mono_ms)

    def seconds_to_refresh(self) -> float:
        """How long the owner may wait before the next `refresh`; 0 when it is due."""
        with self._lock:
            self._look_at_host()
            return max(0.0, (self._next_refresh_ms - self._mono_ms()) / 1000)

    def refresh(self) -> bool:
        """Measure by REST; blocks for some round trips. False, and all as before, where REST is not believed."""
        samples = list(self._samples())
        with self._lock:
            is_taken = bool(samples) and self._take(agreed(samples))
            wait_s = REFRESH_S if is_taken and not self._is_disputed else self._retry_s
            self._retry_s = min(2 * self._retry_s, REFRESH_S) if samples and not is_taken else RETRY_S
            self._next_refresh_ms = self._mono_ms() + 1000 * wait_s
            return is_taken

    # inside

    def _mono_ms(self) -> float:
        return self._monotonic() * 1000

    def _samples(self) -> Iterator[Measured]:
        try:
            for _ in range(SAMPLES):
                yield self._sample()
            self._is_reachable = True
        except HistoryError as error:
            if self._is_reachable:  # once, not every RETRY_S
                log.warning("exchange_clock_unreachable", error=str(error))
            self._is_reachable = False

    def _sample(self) -> Measured:
        sent_ms = self._mono_ms()
        server_ms = self._server_time_ms()
        back_ms = self._mono_ms()
        return Measured(server_ms - back_ms, server_ms + 1 - sent_ms, back_ms)

    def _estimate(self, mono_ms: float) -> tuple[float, float | None]:
        """Offset to the monotonic clock and how far it may be off, ms."""
        heard_ms = self._heard.at(mono_ms)
        if self._measured is None:
            return (heard_ms, HEARD_ONLY_MS) if self._is_heard(mono_ms) else (self._start_ms, None)
        low_ms, high_ms = self._measured.low_at(mono_ms), self._measured.high_at(mono_ms)
        if heard_ms <= high_ms:
            offset_ms = max((low_ms + high_ms) / 2, heard_ms)  # ways there and back are alike, until proven unlike
            return offset_ms, max(high_ms - offset_ms, offset_ms - max(low_ms, heard_ms))
        return heard_ms, heard_ms - low_ms

    def _is_heard(self, mono_ms: float) -> bool:
        return self._heard.at(mono_ms) > float("-inf")

    def _candidates(self, mono_ms: float) -> list[float]:
        """The offsets that may be the right one: several where witnesses contradict each other."""
        offsets_ms = [self._estimate(mono_ms)[0], *(measured.middle_ms for measured in self._pending)]
        return [*offsets_ms, self._wall_ahead_ms] if self._is_disputed else offsets_ms

    @property
    def _is_disputed(self) -> bool:
        """Whether REST alone stands against the host, and no message has spoken yet."""
        measured = self._measured
        return measured is not None and not self._is_vouched and not self._is_near_host(measured.middle_ms)

    def _is_near_host(self, offset_ms: float) -> bool:
        return abs(self._wall_ahead_ms - offset_ms) <= HOST_NEAR_MS

    def _host_prefers(self, offset_ms: float, other_ms: float) -> bool:
        """Whether the host's clock is a witness for the one offset and against the other."""
        ahead_ms = self._wall_ahead_ms
        return self._is_near_host(offset_ms) and abs(ahead_ms - offset_ms) < abs(ahead_ms - other_ms)

    # messages against what is believed

    def _limit(self, mono_ms: float) -> float:
        """The highest bound that a message may give without being doubted."""
        if self._measured:
            return self._measured.high_at(mono_ms) + DOUBT_MS
        return FAR_MS + (self._heard.at(mono_ms) if self._is_heard(mono_ms) else self._wall_ahead_ms)

    def _judge_claims(self, bound_ms: float, mono_ms: float) -> None:
        """Believe messages from after the time that is believed, where there is another witness, or are enough."""
        believed_ms, uncertainty_ms = self._estimate(mono_ms)
        is_host_a_witness = uncertainty_ms is not None  # else it is what is believed
        if is_host_a_witness and self._host_prefers(believed_ms, bound_ms):
            return
        if (is_host_a_witness and self._host_prefers(bound_ms, believed_ms)) or self._claims.prevail():
            claims = self._claims.against
            self._disbelieve()
            self._heard.forget()
            for source, claim in claims.items():
                for back in (0, 1):  # each is confirmed already, and need not wait for its second best
                    self._heard.add(claim.bound_ms - back, claim.ts_ms - back, claim.now_ms, source)

    def _compare(self, measured: Measured, bound_ms: float, mono_ms: float) -> None:
        """Have messages confirm a measure, or refute one that is ahead of them all."""
        if self._is_heard_to_fit:
            return
        if bound_ms >= measured.low_at(mono_ms) - HEARD_ONLY_MS:
            self.changes += self._is_disputed
            self._is_vouched = self._is_heard_to_fit = True
            return
        heard_ms = self._heard.at(mono_ms)
        against_ms = max(bound_ms, heard_ms) if self._is_disputed else heard_ms
        if measured.low_at(mono_ms) - against_ms <= LATE_MS and self._heard.count < MANY:
            return
        if self._host_prefers(measured.middle_ms, against_ms):
            return
        if self._is_heard(mono_ms) or self._host_prefers(against_ms, measured.middle_ms):
            self._heard.add(bound_ms - 1, 0, mono_ms)  # of the first message, too: it is confirmed
            self._disbelieve()

    def _disbelieve(self) -> None:
        """Let REST's measure go: the messages count."""
        if self._measured:
            self._reject("exchange_clock_refuted", self._measured)
        self._measured, self._claims, self._is_vouched, self._is_heard_to_fit = None, _Claims(), False, False
        self.changes += 1
        self._want_refresh(self._mono_ms())

    def _want_refresh(self, mono_ms: float) -> None:
        self._next_refresh_ms = min(self._next_refresh_ms, mono_ms + 1000 * RETRY_S)

    # what REST says

    def _take(self, measured: Measured) -> bool:
        """Believe a measure, unless another witness speaks against it."""
        if not self._is_credible(measured):
            self._reject("exchange_clock_doubted", measured)
            return False
        old, was_disputed = self._measured, self._is_disputed
        before_ms = self._estimate(measured.at_ms)[0]
        if self._heard.at(measured.at_ms) > measured.high_ms + DOUBT_MS:
            self._heard.forget()
        if old is None or old.contradicts(measured):
            self._since_ms, self._claims = measured.at_ms, _Claims()
        self._is_heard_to_fit = self._fits_messages(measured)
        self._is_vouched = self._is_heard_to_fit or measured.at_ms - self._since_ms >= REPEAT_MS
        self._measured, self._is_rejecting = measured, False
        self._pending.clear()
        change_ms = self._estimate(measured.at_ms)[0] - before_ms
        self.changes += (old is None or abs(change_ms) > JUMP_MS or was_disputed) and not self._is_disputed
        if old is None or abs(change_ms) > LOG_CHANGE_MS:
            log.info(
                "exchange_clock_measured",
                offset_ms=self.offset_ms,
                uncertainty_ms=self.uncertainty_ms,
                change_ms=round(change_ms),
            )
        return True

    def _is_credible(self, measured: Measured) -> bool:
        """Messages decide, and the host; where neither does, a jump is to be confirmed."""
        if self._is_heard(measured.at_ms):
            heard_ms = self._heard.at(measured.at_ms)
            return self._fits_messages(measured) or self._host_prefers(measured.middle_ms, heard_ms)
        old = self._measured
        if old is None or not old.contradicts(measured) or self._host_prefers(measured.middle_ms, old.middle_ms):
            return True
        if self._pending and self._pending[-1].contradicts(measured):
            self._pending.clear()
        self._pending.append(measured)
        is_alone = self._host_prefers(old.middle_ms, measured.middle_ms)  # against the host and what it said before
        return len(self._pending) >= CONFIRMATIONS and not is_alone

    def _fits_messages(self, measured: Measured) -> bool:
        if not self._is_heard(measured.at_ms):
            return False
        heard_ms = self._heard.at(measured.at_ms)
        reach_ms = HEARD_ONLY_MS + 2 * DRIFT * (measured.at_ms - self._heard.newest_ms)  # its line fell meanwhile
        return measured.low_ms - reach_ms <= heard_ms <= measured.high_ms + DOUBT_MS

    def _reject(self, event: str, measured: Measured) -> None:
        self.rejected += 1
        if not self._is_rejecting:  # once, not at every question
            apart_ms = round(measured.middle_ms - self._estimate(self._mono_ms())[0])
            log.warning(event, rest_apart_ms=apart_ms, remedy="REST is asked again; messages and host say otherwise")
        self._is_rejecting = True

    # the host's clock

    def _stamps(self, host_ms: int, mono_ms: float) -> list[float]:
        """The monotonic times that a time of the host's clock may mean, which may have been set since."""
        found, begin_ms = [], mono_ms - STAMP_AGE_MS
        for until_ms, ahead_ms in (*self._stepped, (mono_ms, self._wall_ahead_ms)):
            if begin_ms - STEP_MS <= host_ms - ahead_ms <= until_ms + STEP_MS:
                found.append(host_ms - ahead_ms)
            begin_ms = max(begin_ms, until_ms)
        return found or [host_ms - self._wall_ahead_ms]

    def _look_at_host(self) -> None:
        """Notice that the host's clock was set, or that the host slept."""
        first_ms = self._mono_ms()
        wall_ms = self._wall_ms()
        low_ms, high_ms = wall_ms - self._mono_ms(), wall_ms - first_ms  # not equal where we were interrupted
        before_ms = self._wall_ahead_ms
        if low_ms - STEP_MS <= before_ms <= high_ms + STEP_MS:
            self._wall_ahead_ms = min(max(before_ms, low_ms), high_ms)
            return
        self.steps += 1
        self._stepped.append((first_ms, before_ms))
        self._wall_ahead_ms, self._next_refresh_ms = low_ms, first_ms
        self._claims = _Claims()
        log.warning("host_clock_stepped", step_ms=round(low_ms - before_ms))
