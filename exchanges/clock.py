"""The exchange's clock, right even where the host's is wrong, and the sampler that feeds it from trades.

Runs no thread: the owner calls `refresh` (blocks on REST) on a thread of its own; the rest is for any thread. Based on
the monotonic clock, so that setting the host's clock changes nothing. Independent of exchanges and candles. REST, the
messages and the host's clock are three sources of time: one of them alone does not overrule the two others.
"""

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import structlog

from exchanges.clock_evidence import DRIFT, JUMP_MS, ONE_WAY_ONLY_MS, Measured, OneWayBound, Votes, agreed
from model.ports import HistoryError, Observe
from model.records import TradeBatch

log = structlog.get_logger()

SAMPLES = 5  # REST times per refresh: the quickest answers bound the offset best, the first opens the connection
REFRESH_S = 180.0  # at DRIFT the bounds widen by 18 ms meanwhile
RETRY_S = 10.0  # between refreshes after a failure, a step or an outlier; doubled while REST is implausible
STEP_MS = 20.0  # a host clock is slewed by less between two looks
TOLERANCE_MS = 50.0  # an exchange's machines differ by less; a message further in the future is wrong, or the clock is
HOST_NEAR_MS = 1_000  # a synchronised host is right to less: it supports an offset that is so near
MANY = 5  # so many messages, of which the quickest counts
LATE_MS = 5_000  # no message that is read live is older than this
FAR_MS = 10_000  # without REST no single message moves the time forward by more
CONFIRMATIONS = 3  # measures in a row that agree count where nothing contradicts them
REPEAT_MS = 600_000  # REST alone overrules the host after so long: else a quiet minute would decide
HOLD_MS = 50  # stand still rather than go back by up to this; longer, and windows would close before their trades
LOG_CHANGE_MS = 100.0
STAMP_AGE_MS = 120_000  # a dead link is noticed sooner: no older time stamp of the host's clock is converted


class ExchangeClock:
    """Exchange time from REST, refined by the messages' own times. Thread safe; only `refresh` blocks.

    All offsets inside are exchange time minus monotonic time. Without REST the quickest message counts, which can
    only be late, never early; without messages too, the host's clock as it was at the start. Where REST and messages
    contradict each other the host decides; where it supports neither, the messages do: candles are made of them.
    """

    def __init__(
        self,
        server_time_ms: Callable[[], int],
        *,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`server_time_ms` raises HistoryError where REST does not answer; `monotonic` is in seconds."""
        self._server_time_ms, self._wall_ms, self._monotonic = server_time_ms, wall_ms, monotonic
        self._lock = threading.RLock()
        self._one_way, self._votes = OneWayBound(), Votes()
        self._measured: Measured | None = None
        # Agreeing measures in a row that contradict the one that counts.
        self._pending: deque[Measured] = deque(maxlen=CONFIRMATIONS)
        self._since_ms = 0.0  # of the first of the agreeing measures that ends with the one that counts
        self._is_confirmed_by_messages = False  # whether messages fit the measure
        self._is_confirmed = False  # whether messages or repetition confirm it
        self._is_rejecting = False
        self._wall_ahead_ms = self._start_ms = wall_ms() - self._mono_ms()
        self._stepped: deque[tuple[float, float]] = deque(maxlen=8)  # when the host stepped, and how it was until then
        self._last_ms = 0
        self._next_refresh_ms, self._retry_s = self._mono_ms(), RETRY_S
        self._is_reachable = True
        self.steps = self.outliers = self.rejected = 0
        self.changes = 0  # how often the time became certain, or another one: what depended on it may be due anew

    # reading the time

    def now_ms(self) -> int:
        """Exchange time, ms since the epoch. Stands still rather than going back a little; goes back by more."""
        with self._lock:
            mono_ms = self._look_at_host()
            now_ms = int(mono_ms + self._estimate(mono_ms)[0])
            if self._last_ms - HOLD_MS <= now_ms < self._last_ms:
                return self._last_ms
            self._last_ms = now_ms
            return now_ms

    def sure_ms(self) -> int:
        """Exchange time, or the earlier one where two sources contradict each other: what was over then is over."""
        with self._lock:
            mono_ms = self._look_at_host()
            return int(mono_ms + min(self._candidates(mono_ms)))

    def span_of(self, host_ms: int) -> tuple[int, int]:
        """The earliest and latest exchange time of a recent time stamp by the host's clock (two minutes at most)."""
        with self._lock:
            mono_ms = self._look_at_host()
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
            return round(self._estimate(self._look_at_host())[0] - self._wall_ahead_ms)

    @property
    def uncertainty_ms(self) -> int | None:
        """How far `now_ms` may be off, in ms; None where nothing but the host's clock is known."""
        with self._lock:
            uncertainty = self._estimate(self._mono_ms())[1]
        return None if uncertainty is None else round(uncertainty)

    @property
    def is_known(self) -> bool:
        """Whether REST or messages have given a time yet."""
        return self.uncertainty_ms is not None

    # feeding it

    def observe(self, ts_ms: int, source: str = "") -> None:
        """Record that a message with exchange time `ts_ms` has arrived; `source` is its symbol.

        Any exchange time before the sending is correct, and any moment after the receiving; the closer the better.
        Cheap, but one call per batch is enough.
        """
        with self._lock:
            mono_ms = self._look_at_host()
            bound_ms = ts_ms - mono_ms - 1  # its millisecond may have been nearly over
            if bound_ms <= self._limit(mono_ms):
                before_ms, was_known = self._estimate(mono_ms)
                self._one_way.add(bound_ms, ts_ms, mono_ms, source)
                self._votes.support(source)
                if self._measured:
                    self._compare(self._measured, bound_ms, mono_ms)
                elif self._has_one_way(mono_ms):  # known for the first time, or corrected by the second source
                    self.changes += was_known is None or abs(self._estimate(mono_ms)[0] - before_ms) > JUMP_MS
                return
            self.outliers += 1
            if self._votes.oppose(source, bound_ms, ts_ms, mono_ms):
                self._want_refresh(mono_ms)
            self._count_votes(bound_ms, mono_ms)

    def seconds_to_refresh(self) -> float:
        """How long the owner may wait before the next `refresh`; 0 when it is due."""
        with self._lock:
            mono_ms = self._look_at_host()
            return max(0.0, (self._next_refresh_ms - mono_ms) / 1000)

    def refresh(self) -> bool:
        """Measure over REST; blocks for some round trips. False, and no change, where the measure is implausible."""
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
                sent_ms = self._mono_ms()
                server_ms = self._server_time_ms()
                back_ms = self._mono_ms()
                yield Measured(server_ms - back_ms, server_ms + 1 - sent_ms, back_ms)
            self._is_reachable = True
        except HistoryError as error:
            if self._is_reachable and error.problem is None:  # else it is an outage; once, not every RETRY_S
                log.warning("exchange_clock_unreachable", error=str(error))
            self._is_reachable = False

    def _estimate(self, mono_ms: float) -> tuple[float, float | None]:
        """Offset to the monotonic clock and how far it may be off, ms."""
        one_way_ms = self._one_way.at(mono_ms)
        if self._measured is None:
            return (one_way_ms, ONE_WAY_ONLY_MS) if self._has_one_way(mono_ms) else (self._start_ms, None)
        low_ms, high_ms = self._measured.low_at(mono_ms), self._measured.high_at(mono_ms)
        if one_way_ms <= high_ms:
            offset_ms = max((low_ms + high_ms) / 2, one_way_ms)  # ways there and back are alike, until proven unlike
            return offset_ms, max(high_ms - offset_ms, offset_ms - max(low_ms, one_way_ms))
        return one_way_ms, one_way_ms - low_ms

    def _has_one_way(self, mono_ms: float) -> bool:
        return self._one_way.at(mono_ms) > float("-inf")

    def _candidates(self, mono_ms: float) -> list[float]:
        """The offsets that may be right: several where sources contradict each other."""
        offsets_ms = [self._estimate(mono_ms)[0], *(measured.middle_ms for measured in self._pending)]
        return [*offsets_ms, self._wall_ahead_ms] if self._is_disputed else offsets_ms

    @property
    def _is_disputed(self) -> bool:
        """Whether REST and host contradict each other, and no message has decided yet."""
        measured = self._measured
        return measured is not None and not self._is_confirmed and not self._is_near_host(measured.middle_ms)

    def _is_near_host(self, offset_ms: float) -> bool:
        return abs(self._wall_ahead_ms - offset_ms) <= HOST_NEAR_MS

    def _host_supports(self, offset_ms: float, other_ms: float) -> bool:
        """Whether the host's clock supports the first offset against the second."""
        ahead_ms = self._wall_ahead_ms
        return self._is_near_host(offset_ms) and abs(ahead_ms - offset_ms) < abs(ahead_ms - other_ms)

    # messages that contradict the current time

    def _limit(self, mono_ms: float) -> float:
        """The highest bound that a message may give without being an outlier."""
        if self._measured:
            return self._measured.high_at(mono_ms) + TOLERANCE_MS
        return FAR_MS + (self._one_way.at(mono_ms) if self._has_one_way(mono_ms) else self._wall_ahead_ms)

    def _count_votes(self, bound_ms: float, mono_ms: float) -> None:
        """Replace the current time by the outliers' where the host supports them, or they are enough."""
        current_ms, uncertainty_ms = self._estimate(mono_ms)
        is_host_independent = uncertainty_ms is not None  # else it is the current time
        if is_host_independent and self._host_supports(current_ms, bound_ms):
            return
        if (is_host_independent and self._host_supports(bound_ms, current_ms)) or self._votes.overrules():
            outliers = self._votes.opposing
            self._discard_measure()
            self._one_way.forget()
            for source, outlier in outliers.items():
                for back in (0, 1):  # each is confirmed already, and need not wait for its second best
                    self._one_way.add(outlier.bound_ms - back, outlier.ts_ms - back, outlier.now_ms, source)

    def _compare(self, measured: Measured, bound_ms: float, mono_ms: float) -> None:
        """Confirm a measure by a message, or discard one that is ahead of all messages."""
        if self._is_confirmed_by_messages:
            return
        if bound_ms >= measured.low_at(mono_ms) - ONE_WAY_ONLY_MS:
            self.changes += self._is_disputed
            self._is_confirmed = self._is_confirmed_by_messages = True
            return
        one_way_ms = self._one_way.at(mono_ms)
        against_ms = max(bound_ms, one_way_ms) if self._is_disputed else one_way_ms
        if measured.low_at(mono_ms) - against_ms <= LATE_MS and self._one_way.count < MANY:
            return
        if self._host_supports(measured.middle_ms, against_ms):
            return
        if self._has_one_way(mono_ms) or self._host_supports(against_ms, measured.middle_ms):
            self._one_way.add(bound_ms - 1, 0, mono_ms)  # the first message counts, too: it is confirmed
            self._discard_measure()

    def _discard_measure(self) -> None:
        """Discard the measure of REST: the messages count."""
        if self._measured:
            self._reject("exchange_clock_refuted", self._measured)
        self._measured, self._votes, self._is_confirmed, self._is_confirmed_by_messages = None, Votes(), False, False
        self.changes += 1
        self._want_refresh(self._mono_ms())

    def _want_refresh(self, mono_ms: float) -> None:
        self._next_refresh_ms = min(self._next_refresh_ms, mono_ms + 1000 * RETRY_S)

    # measures over REST

    def _take(self, measured: Measured) -> bool:
        """Take a measure, unless another source contradicts it; whether it was taken."""
        if not self._is_plausible(measured):
            self._reject("exchange_clock_implausible", measured)
            return False
        old, was_disputed = self._measured, self._is_disputed
        before_ms = self._estimate(measured.at_ms)[0]
        if self._one_way.at(measured.at_ms) > measured.high_ms + TOLERANCE_MS:
            self._one_way.forget()
        if old is None or old.contradicts(measured):
            self._since_ms, self._votes = measured.at_ms, Votes()
        self._is_confirmed_by_messages = self._fits_messages(measured)
        self._is_confirmed = self._is_confirmed_by_messages or measured.at_ms - self._since_ms >= REPEAT_MS
        self._measured, self._is_rejecting = measured, False
        self._pending.clear()
        change_ms = self._estimate(measured.at_ms)[0] - before_ms
        self.changes += (old is None or abs(change_ms) > JUMP_MS or was_disputed) and not self._is_disputed
        if old is None or abs(change_ms) > LOG_CHANGE_MS:
            offset_ms = self.offset_ms
            way = "behind" if offset_ms > 0 else "ahead of"
            log.info(
                "exchange_clock_measured",
                sentence=f"This machine's clock is {abs(offset_ms) / 1000:.3f} s {way} the exchange's.",
                offset_ms=offset_ms,
                uncertainty_ms=self.uncertainty_ms,
                change_ms=round(change_ms),
            )
        return True

    def _is_plausible(self, measured: Measured) -> bool:
        """Whether messages or host support a measure; where neither can, a jump must be confirmed."""
        if self._has_one_way(measured.at_ms):
            one_way_ms = self._one_way.at(measured.at_ms)
            return self._fits_messages(measured) or self._host_supports(measured.middle_ms, one_way_ms)
        old = self._measured
        if old is None or not old.contradicts(measured) or self._host_supports(measured.middle_ms, old.middle_ms):
            return True
        if self._pending and self._pending[-1].contradicts(measured):
            self._pending.clear()
        self._pending.append(measured)
        is_alone = self._host_supports(old.middle_ms, measured.middle_ms)  # against host and earlier measures
        return len(self._pending) >= CONFIRMATIONS and not is_alone

    def _fits_messages(self, measured: Measured) -> bool:
        if not self._has_one_way(measured.at_ms):
            return False
        one_way_ms = self._one_way.at(measured.at_ms)
        reach_ms = ONE_WAY_ONLY_MS + 2 * DRIFT * (measured.at_ms - self._one_way.newest_ms)  # its line fell meanwhile
        return measured.low_ms - reach_ms <= one_way_ms <= measured.high_ms + TOLERANCE_MS

    def _reject(self, event: str, measured: Measured) -> None:
        self.rejected += 1
        if not self._is_rejecting:  # once, not at every refresh
            apart_ms = round(measured.middle_ms - self._estimate(self._mono_ms())[0])
            log.warning(event, rest_apart_ms=apart_ms, remedy="REST is asked again; messages and host contradict it")
        self._is_rejecting = True

    # the host's clock

    def _stamps(self, host_ms: int, mono_ms: float) -> list[float]:
        """The monotonic times of a time stamp by the host's clock, which may have been set since."""
        found, begin_ms = [], mono_ms - STAMP_AGE_MS
        for until_ms, ahead_ms in (*self._stepped, (mono_ms, self._wall_ahead_ms)):
            if begin_ms - STEP_MS <= host_ms - ahead_ms <= until_ms + STEP_MS:
                found.append(host_ms - ahead_ms)
            begin_ms = max(begin_ms, until_ms)
        return found or [host_ms - self._wall_ahead_ms]

    def _look_at_host(self) -> float:
        """Detect that the host's clock was set, or that the host slept; returns the monotonic time (ms) afterwards."""
        first_ms = self._mono_ms()
        wall_ms = self._wall_ms()
        low_ms, high_ms = wall_ms - self._mono_ms(), wall_ms - first_ms  # not equal where we were interrupted
        before_ms = self._wall_ahead_ms
        if low_ms - STEP_MS <= before_ms <= high_ms + STEP_MS:
            self._wall_ahead_ms = min(max(before_ms, low_ms), high_ms)
            return self._mono_ms()
        self.steps += 1
        self._stepped.append((first_ms, before_ms))
        self._wall_ahead_ms, self._next_refresh_ms = low_ms, first_ms
        self._votes = Votes()
        log.warning("host_clock_stepped", step_ms=round(low_ms - before_ms))
        return self._mono_ms()


class MarketDecoder(NamedTuple):
    """The decoder of a market's trades; `sent` finds the time when the exchange made a message."""

    decode: Callable[[Sequence[bytes]], TradeBatch]
    sent: re.Pattern[bytes]


class ClockSampler:
    """Decodes batches of trades and passes the exchange's time in the newest message of each to a clock.

    Its way to us only makes that time older, so that the clock is never early by it; without REST it keeps a wrong host
    clock from closing candles early. Aggregator thread; reads one time of one message per part of a batch.
    """

    def __init__(self, decoder_of: Callable[[str], MarketDecoder], observe: Observe) -> None:
        """`decoder_of` makes the decoder of a market, at its first batch."""
        self._decoder_of, self._observe = decoder_of, observe
        self._decoders: dict[str, MarketDecoder] = {}

    def __call__(self, market: str, payloads: Sequence[bytes]) -> TradeBatch:
        """Decode one batch of a market. A message without a time of its own has that of its last trade."""
        decoder = self._decoders.get(market) or self._decoders.setdefault(market, self._decoder_of(market))
        batch = decoder.decode(payloads)
        if batch.symbols:
            sent = decoder.sent.search(payloads[-1])
            self._observe(int(sent[1]) if sent else batch.event_ms[-1], batch.symbols[-1])
        return batch
