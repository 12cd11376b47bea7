"""The service of klines: the aggregator, and the repair, audit and backfill of its klines.

Starts and stops the threads `aggregator`, `repair` and `audit`; has none itself. Reads the exchange's REST API through
a HistorySource and hands klines to a KlineSink: it depends on no output.
"""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog

from aggregation.aggregator import Aggregator, Decode
from aggregation.audit.auditor import Auditor
from aggregation.audit.compare import compared_fields, is_left_out
from aggregation.klines.arithmetic import PLAIN, Arithmetic
from aggregation.recovery.backfill import Backfill
from aggregation.recovery.liveness import SilenceChecker
from aggregation.recovery.repair import Repairer
from aggregation.trade_queue import ControlMessage, Correction, DropSymbols, FeedGap
from model.events import NO_EVENTS, EventSink
from model.intervals import parse_interval
from model.ports import AuditResults, ContractSizes, HistorySource, KlineSink, Report, ignore_result
from model.records import Candle, FeedMarker, Kline, Published

CLOCK_WAIT_S = 2.0  # for the exchange's time before the first kline; an exchange without an answer is not waited for
UNKNOWN_CLOCK_MS = 5_000  # how far a host's clock may be off that was not compared with the exchange's yet

log = structlog.get_logger()


@dataclasses.dataclass(frozen=True)
class KlineOptions:
    """Which klines are made, and how.

    `arithmetics` by market, also of those that STREAMS may add. `repairs`: the exchange may be read; `audit_sample` is
    a share from 0 to 1. `consecutive_ids`: the exchange numbers the trades of each symbol one after the other;
    `has_ids`: it tells them apart at all.
    """

    markets: tuple[str, ...]
    intervals: tuple[str, ...]
    arithmetics: Mapping[str, Arithmetic] = dataclasses.field(default_factory=dict)
    event_clock: bool = False
    grace_ms: int = 300
    repairs: bool = True
    audit_sample: float = 0.0
    audit_correct: bool = False
    consecutive_ids: bool = False
    has_ids: bool = True

    def arithmetic_of(self, market: str) -> Arithmetic:
        """The arithmetic of a market."""
        return self.arithmetics.get(market, PLAIN)


class KlineService:
    """Trades and feed markers in by market, closed klines out. Starts nothing before `start`.

    What closes goes to each of the sinks, in this order: recovery (incomplete klines are queued for repair), audit (a
    sample is compared with the exchange's), outputs (behind the backfill, where an earlier run is continued).
    `contract_sizes` is called on the aggregator's and the repair thread, and must not block.
    """

    def __init__(
        self,
        options: KlineOptions,
        decode: Decode,
        outputs: KlineSink,
        history: HistorySource,
        *,
        report: Report,
        contract_sizes: ContractSizes = lambda _market, _symbol: None,
        events: EventSink = NO_EVENTS,
        audit_results: AuditResults = ignore_result,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options, self._outputs, self._history, self._monotonic = options, outputs, history, monotonic
        self._contract_sizes, self._audit_results = contract_sizes, audit_results
        self._intervals = [parse_interval(text) for text in options.intervals]
        self.silences = SilenceChecker(history, self._submit)
        self.repairer = self._build_repairer() if options.repairs else None
        self.auditor = self._build_auditor() if options.repairs and options.audit_sample else None
        self.aggregator = self._build_aggregator(decode, report, events)
        self.backfill: Backfill | None = None
        sinks = {"recovery": self.repairer, "audit": self.auditor, "outputs": outputs}
        self._sinks: dict[str, KlineSink] = {name: sink for name, sink in sinks.items() if sink is not None}

    # -- main's thread ---------------------------------------------------------------------------------

    def resume(
        self,
        published: Published,
        followed: Iterable[tuple[str, str]],
    ) -> None:
        """Go on from what an earlier run published, and verify its recent klines; before `start`.

        `followed` are the markets and symbols that are collected now: the same name in two markets is two symbols.
        """
        if (published.last or published.recent) and self.repairer:
            self.backfill = self._sinks["outputs"] = Backfill(
                published,
                self._intervals,
                followed,
                self._history,
                self._outputs,
                arithmetic_of=self._options.arithmetic_of,
                contract_sizes=self._contract_sizes,
                monotonic=self._monotonic,
            )

    def start(self) -> None:
        """Start the threads; waits a moment for the exchange's time, without which the first kline may be wrong."""
        if self.repairer:
            self.repairer.start()
            self._history.wait_for_clock(CLOCK_WAIT_S)
        self.aggregator.start()
        if self.auditor:
            self.auditor.start()

    def threads(self) -> list[threading.Thread]:
        """The threads that must live."""
        owners = (self.aggregator, self.repairer, self.auditor)
        return [thread for owner in owners if owner for thread in owner.threads()]

    def stop(self, reading_by_s: float, aggregating_by_s: float) -> list[str]:
        """End reading from the exchange, then count what has arrived, by two deadlines (monotonic).

        Returns the names of what did not end.
        """
        for owner in (self.repairer, self.auditor):
            if owner and not owner.stop(reading_by_s):
                (thread,) = owner.threads()
                log.info("shutdown_unfinished_request", thread=thread.name)  # a read under way has nothing to lose
        return [] if self.aggregator.stop(aggregating_by_s) else ["aggregator"]

    # -- any thread ------------------------------------------------------------------------------------

    def queue_for(self, market: str) -> Callable[[Sequence[bytes]], None]:
        """The queue of a market's trade payloads, in their order; one caller at a time adds a new market."""
        self.aggregator.add_market(market)
        return self.aggregator.queues[market].put_all

    def mark(self, marker: FeedMarker) -> None:
        """Put a feed marker between the payloads of its market, its time changed from the host's to the exchange's.

        Until that is known, or where it may be one of two, a gap is taken to be longer than it was; where the exchange
        is not read, the host's clock stands.
        """
        clock, is_up = self._history.clock, marker.kind == "up"
        unsure_ms = UNKNOWN_CLOCK_MS if self._options.repairs and not clock.is_known else 0
        earliest_ms, latest_ms = clock.span_of(marker.at_ms)
        at_ms = latest_ms + unsure_ms if is_up else earliest_ms - unsure_ms
        self.aggregator.queues[marker.market].put_control(dataclasses.replace(marker, at_ms=at_ms))

    def drop_symbols(self, market: str, symbols: Iterable[str], again: Iterable[str] = ()) -> None:
        """Drop symbols that are not wanted any more: nothing of them closes once their feed is down.

        `again` are wanted anew.
        """
        if (queue := self.aggregator.queues.get(market)) is not None:
            queue.put_control(DropSymbols(tuple(symbols), tuple(again)))

    def stats(self) -> dict[str, Any]:
        """Figures since the start, as fields of a log line."""
        return {
            "klines": self.aggregator.stats(),
            "repair": self.repairer.stats() if self.repairer else None,
            "audit": self.auditor.stats() if self.auditor else None,
            "clock_offset_ms": self._history.clock.offset_ms,
        }

    # -- the way of a kline ----------------------------------------------------------------------------

    def publish(self, market: str, klines: list[Kline]) -> None:
        """Hand closed klines to each of the sinks; aggregator thread."""
        for sink in self._sinks.values():
            sink.put(market, klines)

    def correct(self, market: str, kline: Kline, candle: Candle) -> None:
        """Have the exchange's candle published in the place of a kline."""
        self._submit(market, Correction(kline, candle))

    def _submit(self, market: str, message: ControlMessage) -> None:
        """Hand what was read from the exchange to the aggregator thread."""
        self.aggregator.queues[market].put_control(message)

    def _request_trades(self, market: str, gap: FeedGap) -> None:
        if self.repairer:
            self.repairer.request_trades(market, gap)

    def _has_feed(self, market: str, symbol: str) -> bool:
        return self.aggregator.tables[market].feed.has_feed(symbol)

    def _check_silence(self, market: str, symbol: str, since_ms: int) -> None:
        if self.repairer:  # else no answer comes: a silence that is long enough against its rhythm counts as missed
            self.silences.put(market, symbol, since_ms)
            self.repairer.wake()

    def _step_others(self) -> None:
        """Do what the repair thread does besides repair."""
        self._history.look_at_clock()
        self.silences.step()
        if self.backfill:
            self.backfill.step()

    # -- building --------------------------------------------------------------------------------------

    def _build_aggregator(self, decode: Decode, report: Report, events: EventSink) -> Aggregator:
        options, history = self._options, self._history
        return Aggregator(
            options.markets,
            self._intervals,
            decode,
            self.publish,
            arithmetic_of=options.arithmetic_of,
            contract_sizes=self._contract_sizes,
            event_clock=options.event_clock,
            grace_ms=options.grace_ms,
            report=report,
            on_gap=self._request_trades,
            now_ms=history.clock.now_ms,
            clock_changes=lambda: history.clock.changes,
            events=events,
            on_silence=self._check_silence,
            consecutive_ids=options.consecutive_ids,
            has_ids=options.has_ids,
        )

    def _build_repairer(self) -> Repairer:
        return Repairer(
            self._history,
            self._submit,
            self._step_others,
            self._has_feed,
            lambda market: self._options.arithmetic_of(market).exchange_opens_at,
        )

    def _build_auditor(self) -> Auditor:
        options = self._options
        return Auditor(
            self._history,
            sample=options.audit_sample,
            correct=self.correct if options.audit_correct else None,
            fields_of=lambda market: compared_fields(options.arithmetic_of(market)),
            is_left_out=lambda market, kline: is_left_out(kline, options.arithmetic_of(market)),
            results=self._audit_results,
        )
