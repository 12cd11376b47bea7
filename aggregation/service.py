"""Everything that makes klines, as one: the aggregator, and what repairs, audits and resumes its work.

Starts and stops the threads `aggregator`, `repair` and `audit`; has none itself. It asks the exchange through the
memory it is given, and hands klines to one function: outputs are not its affair.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from aggregation.aggregator import Aggregator, Decode, Publish
from aggregation.audit.auditor import Auditor
from aggregation.audit.compare import FIELDS, FIELDS_WITHOUT_OPEN
from aggregation.recovery.backfill import Backfill, Published
from aggregation.recovery.repair import Repairer
from aggregation.recovery.silence import SilenceChecker
from aggregation.trade_queue import Correction, DropSymbols, FeedDown, FeedGap, FeedUp, InsertTrades, Silence
from model.intervals import parse_interval
from model.ports import Report
from model.records import Candle, Delivery, Kline, PastTrade

CLOCK_WAIT_S = (
    2.0  # for the exchange's time before the first candle; an exchange that does not answer is not waited for
)

UNKNOWN_CLOCK_MS = 5_000  # how far a host's clock may be off that nobody has compared with the exchange's yet

log = structlog.get_logger()

Send = Callable[[str, Sequence[Kline]], object]
"""(market, klines) -> they go out. Any of the three threads; never blocks."""


@dataclass(frozen=True)
class KlineOptions:
    """What klines are made, and how. `repairs`: the exchange may be asked; `audit_sample` is a share from 0 to 1."""

    markets: tuple[str, ...]
    intervals: tuple[str, ...]
    prev_close_opens: bool = True
    event_clock: bool = False
    grace_ms: int = 300
    repairs: bool = True
    audit_sample: float = 0.0
    audit_correct: bool = False

    @classmethod
    def of(cls, settings: Any) -> "KlineOptions":
        """From a conf.settings.Settings, which this room does not import."""
        return cls(
            settings.markets,
            settings.kline_intervals,
            prev_close_opens=settings.kline_open == "prev_close",
            event_clock=settings.aggregation_clock == "event",
            grace_ms=settings.kline_close_grace_ms if settings.aggregator_waiter_mode_enabled else 0,
            repairs=settings.repairs_klines,
            audit_sample=settings.audit_sample,
            audit_correct=settings.audit_correct,
        )


class Clock(Protocol):
    """The exchange's time. `changes` counts how often it became sure, or another one; see exchanges/clock.py."""

    @property
    def changes(self) -> int: ...

    @property
    def offset_ms(self) -> int: ...

    @property
    def is_known(self) -> bool: ...

    def now_ms(self) -> int: ...

    def sure_ms(self) -> int: ...

    def span_of(self, host_ms: int, /) -> tuple[int, int]: ...


class Memory(Protocol):
    """What the exchange remembers; None where it cannot be asked now. Blocks."""

    candle_steps_ms: Sequence[int]

    @property
    def clock(self) -> Clock: ...

    def candles(
        self, market: str, symbol: str, step_ms: int, start_ms: int, end_ms: int
    ) -> Sequence[Candle] | None: ...

    def recent_trades(self, market: str, symbol: str) -> Sequence[PastTrade] | None: ...

    def look_at_clock(self) -> None: ...

    def wait_for_clock(self, limit_s: float) -> None: ...


class KlineService:
    """Trades and marks in by market, klines out. Starts nothing before `start`."""

    def __init__(
        self,
        options: KlineOptions,
        decode: Decode,
        send: Send,
        memory: Memory,
        *,
        report: Report,
        tell: Callable[..., object],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options, self._send, self._memory, self._monotonic = options, send, memory, monotonic
        self._intervals = [parse_interval(text) for text in options.intervals]
        self._silences = SilenceChecker(memory.recent_trades, self._submit, memory.clock.now_ms)
        self.aggregator = self._build_aggregator(decode, report, tell)
        self.repairer = self._build_repairer() if options.repairs else None
        self.auditor = self._build_auditor() if options.repairs and options.audit_sample else None
        self.resumption: Backfill | None = None

    # -- main's thread ---------------------------------------------------------------------------------

    def resume(
        self,
        known: Mapping[tuple[str, str, int], Published],
        followed: Iterable[tuple[str, str]],
        recent: Sequence[tuple[str, Kline]] = (),
    ) -> None:
        """Go on from what an earlier run published last, and look again at its `recent` klines; before `start`.

        `followed` are the markets and symbols that are collected now: the same name in two markets is two symbols.
        """
        memory = self._memory
        if (known or recent) and self.repairer:
            self.resumption = Backfill(
                known,
                self._intervals,
                followed,
                memory.candles,
                memory.candle_steps_ms,
                self._send,
                memory.clock.sure_ms,
                self._monotonic,
                read_trades=memory.recent_trades,
                recent=recent,
                prev_close_opens=self._options.prev_close_opens,
            )

    def share_open_klines(self, wanted: Callable[[], bool], offer: Publish, every_s: float) -> None:
        """Have `offer` called with all open candles, every so often, while `wanted()`; before `start`."""
        self.aggregator.share_open_klines(wanted, offer, every_s)

    def start(self) -> None:
        """Start the threads; waits a moment for the exchange's time, without which the first candle may be wrong."""
        if self.repairer:
            self.repairer.start()
            self._memory.wait_for_clock(CLOCK_WAIT_S)
        self.aggregator.start()
        if self.auditor:
            self.auditor.start()

    def threads(self) -> list[threading.Thread]:
        """The threads that must live."""
        owners = (self.aggregator, self.repairer, self.auditor)
        return [thread for owner in owners if owner for thread in owner.threads()]

    def stop(self, asking_by_s: float, aggregating_by_s: float) -> list[str]:
        """End asking, then count what has arrived, by two deadlines (monotonic); the names of what did not end."""
        for asker in (self.repairer, self.auditor):
            if asker and not asker.stop(asking_by_s):
                log.info("left_asking", asker=type(asker).__name__)  # a question on its way has nothing to lose
        return [] if self.aggregator.stop(aggregating_by_s) else ["aggregator"]

    # -- any thread ------------------------------------------------------------------------------------

    def queue_for(self, market: str) -> Callable[[Sequence[bytes]], None]:
        """Where trade payloads of a market go, in their order; one caller at a time makes room for a new market."""
        self.aggregator.add_market(market)
        return self.aggregator.queues[market].put_all

    def mark(
        self, market: str, kind: str, symbols: tuple[str, ...], at_ms: int, delivery: Delivery | None = None
    ) -> None:
        """A feed came "up" or went "down", at a time of the host's clock; the mark has the exchange's.

        Until that is known, or where it may be one of two, an outage is taken to be longer than it was; where nobody is
        asked, the host is believed.
        """
        clock, is_up = self._memory.clock, kind == "up"
        unsure_ms = UNKNOWN_CLOCK_MS if self._options.repairs and not clock.is_known else 0
        mark = FeedUp if is_up else FeedDown
        earliest_ms, latest_ms = clock.span_of(at_ms)
        at_ms = latest_ms + unsure_ms if is_up else earliest_ms - unsure_ms
        self.aggregator.queues[market].put_control(mark(symbols, at_ms, delivery))

    def drop_symbols(self, market: str, symbols: Iterable[str], again: Iterable[str] = ()) -> None:
        """These are not wanted any more, nothing of them closes once their feed is down; `again` ones are anew."""
        if (queue := self.aggregator.queues.get(market)) is not None:
            queue.put_control(DropSymbols(tuple(symbols), tuple(again)))

    def stats(self) -> dict[str, Any]:
        """Figures since the start, as fields of a log line."""
        return {
            "klines": self.aggregator.stats(),
            "repair": self.repairer.stats() if self.repairer else None,
            "audit": self.auditor.stats() if self.auditor else None,
            "clock_offset_ms": self._memory.clock.offset_ms,
        }

    # -- the way of a kline ----------------------------------------------------------------------------

    def publish(self, market: str, klines: list[Kline]) -> None:
        """Let those who repair and audit see what closed, and send it; aggregator thread."""
        if self.repairer:
            has_feed = self.aggregator.tables[
                market
            ].has_feed  # of a symbol nobody subscribed the exchange is not asked
            self.repairer.offer(market, [kline for kline in klines if kline.complete or has_feed(kline.symbol)])
        if self.auditor:
            self.auditor.offer(market, klines)
        self._send(market, self.resumption.admit(market, klines) if self.resumption else klines)

    def correct(self, market: str, kline: Kline, candle: Candle) -> None:
        """Have the exchange's candle sent in the place of a kline."""
        self._submit(market, Correction(kline, candle))

    def _submit(self, market: str, found: Correction | InsertTrades | Silence) -> None:
        self.aggregator.queues[market].put_control(found)

    def _request_trades(self, market: str, outage: FeedGap) -> None:
        if self.repairer:
            self.repairer.request_trades(market, outage)

    def _on_silence(self, market: str, symbol: str, since_ms: int) -> None:
        if self.repairer:  # else nobody answers: so long a silence that its rhythm alone condemns it is one, then
            self._silences.ask(market, symbol, since_ms)
            self.repairer.wake()

    def _look(self) -> None:
        """What the repair thread asks besides."""
        self._memory.look_at_clock()
        self._silences.step()
        if self.resumption:
            self.resumption.step()

    # -- building --------------------------------------------------------------------------------------

    def _build_aggregator(self, decode: Decode, report: Report, tell: Callable[..., object]) -> Aggregator:
        options = self._options
        return Aggregator(
            options.markets,
            self._intervals,
            decode,
            self.publish,
            prev_close_opens=options.prev_close_opens,
            event_clock=options.event_clock,
            grace_ms=options.grace_ms,
            report=report,
            on_gap=self._request_trades,
            now_ms=self._memory.clock.now_ms,
            clock_changes=lambda: self._memory.clock.changes,
            tell=tell,
            on_silence=self._on_silence,
        )

    def _build_repairer(self) -> Repairer:
        memory = self._memory
        now_ms, steps_ms = memory.clock.sure_ms, memory.candle_steps_ms
        return Repairer(
            memory.candles,
            memory.recent_trades,
            steps_ms,
            self._submit,
            now_ms,
            self._look,
            lambda: memory.clock.is_known,
        )

    def _build_auditor(self) -> Auditor:
        options, memory = self._options, self._memory
        return Auditor(
            memory.candles,
            memory.candle_steps_ms,
            memory.clock.sure_ms,
            sample=options.audit_sample,
            correct=self.correct if options.audit_correct else None,
            fields=compared_fields(prev_close_opens=options.prev_close_opens),
        )


def compared_fields(*, prev_close_opens: bool) -> Sequence[str]:
    """What of a kline can equal the exchange's candle."""
    return FIELDS if prev_close_opens else FIELDS_WITHOUT_OPEN
