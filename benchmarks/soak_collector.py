"""One process of the collector in the soak: its kline packages joined as in app/, stepped in virtual time."""

from functools import partial

from aggregation.service import KlineOptions, KlineService
from aggregation.trade_queue import ControlMessage, FeedGap
from benchmarks.soak_exchange import Exchange
from benchmarks.soak_rest import Rest
from benchmarks.soak_timeline import Timeline
from exchanges.clock import ExchangeClock
from exchanges.rest import ExchangeRest
from model.events import Repaired, StatusEvent
from model.ports import KlineSink
from model.records import Kline

INTERVALS = ("1s", "1m", "3m", "5m", "1h")
LOOK_MS = 1_000  # the repair thread's own period
ANSWER_MS = (0, 800)  # how long an answer is under way
LISTED_MS = (0, 6_000)  # so long after its start a run knows what contracts are

Causes = dict[tuple[str, int, int, int], str]
"""What the issues of a run come from, by symbol, interval, start and revision."""


class CollectorRun(KlineService):
    """The kline service of one collector process, with delayed answers. Starts no thread."""

    def __init__(
        self, timeline: Timeline, rest: Rest, outputs: KlineSink, error_ms: int, exchange: Exchange, causes: Causes
    ) -> None:
        self.timeline, self.is_alive_now = timeline, True
        self._last_answer_ms = self._look_due = 0
        self._has_gaps = False
        self._causes, self._how = causes, "late"
        market, sizes = exchange.market, exchange.sizes
        listed_ms = timeline.now + (timeline.span(LISTED_MS) if exchange.arithmetic.has_contracts else 0)
        clock = ExchangeClock(
            rest.server_time_ms, wall_ms=lambda: timeline.now + error_ms, monotonic=lambda: timeline.now / 1000
        )
        memory = ExchangeRest(
            lambda _market, _stop: rest,
            (market,),
            _no_report,
            clock=clock,
            monotonic=lambda: timeline.now / 1000,
        )
        options = KlineOptions(
            (market,),
            INTERVALS,
            {market: exchange.arithmetic},
            consecutive_ids=exchange.is_numbered,
            has_ids=exchange.has_ids,
        )
        super().__init__(
            options,
            lambda _market, payloads: exchange.decode(payloads),
            outputs,
            memory,
            report=_no_report,
            contract_sizes=lambda _market, symbol: sizes.get(symbol) if timeline.now >= listed_ms else None,
            events=self,
            monotonic=lambda: timeline.now / 1000,
        )
        memory.look_at_clock()

    def step(self) -> None:
        """Run one step of every thread."""
        assert self.repairer
        self.aggregator.step()
        if self.timeline.now >= self._look_due:
            self._step_others()
        if self.timeline.now >= self._look_due or self._has_gaps:
            self._look_due, self._has_gaps = self.timeline.now + LOOK_MS, False
            self.repairer.step()

    def emit(self, event: StatusEvent) -> None:
        """Note what the klines that are published next come from."""
        if isinstance(event, Repaired):
            self._how = event.how

    def publish(self, market: str, klines: list[Kline]) -> None:
        """Publish, and note what each comes from."""
        self._causes.update(((k.symbol, k.interval, k.timestamp, k.revision), self._how) for k in klines)
        self._how = "late"
        super().publish(market, klines)

    def _request_trades(self, market: str, gap: FeedGap) -> None:
        self._has_gaps = True
        super()._request_trades(market, gap)

    def _submit(self, market: str, found: ControlMessage) -> None:
        """Deliver answers later than they were requested, in their order."""
        now = self.timeline.now
        self._last_answer_ms = max(self._last_answer_ms, now + self.timeline.span(ANSWER_MS))
        self.timeline.plan(self._last_answer_ms - now, partial(self._hand_over, market, found))

    def _hand_over(self, market: str, found: ControlMessage) -> None:
        if self.is_alive_now:
            super()._submit(market, found)


def _no_report(_cause: str, _sample: object) -> None:
    """Faults are many here, and wanted."""
