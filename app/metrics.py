"""The metrics for Prometheus: declared once each, read at the scrape from what is counted already.

The web server's thread. Nothing is kept but the counts of streams that were removed; the work of a scrape grows with
connections, markets and outputs, not with symbols. docs/MONITORING.md has the table that `FAMILIES` make.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector as Source

from aggregation.service import KlineService
from app import VERSION
from app.faults import FaultLog
from app.figures import Figures, Histogram, Labels
from conf.settings import Settings
from consumers.record_decoder import RecordDecoder
from consumers.service import OutputService
from consumers.web.http import HttpAnswer, HttpRequest
from exchanges.rest import ExchangeRest
from streams.service import StreamService
from streams.supervisor import StreamStatus

REASONS = (
    *("starting", "stream_down", "stream_silent", "sink_down"),
    *("aggregator_behind", "clock_unknown", "thread_lost"),
)  # why app/health.py finds a process not ready
HOWS = ("ids", "trades", "candle", "snapshot", "stream")  # model.events.Repaired

Samples = Mapping[Labels, float]
Histograms = Mapping[Labels, Histogram]


class Readiness(Protocol):
    """The port to the verdict that /readyz gives."""

    def readyz(self) -> tuple[bool, dict[str, Any]]:
        """Return whether a service is ready, and why not."""


class Watched(Protocol):
    """The port to what has metrics: app.collector.Collector, app.relay.OutputRelay. Any thread."""

    settings: Settings
    outputs: OutputService
    figures: Figures

    @property
    def health(self) -> Readiness:
        """The one verdict."""


class Collecting(Watched, Protocol):
    """The port to a collector."""

    faults: FaultLog
    rest: ExchangeRest
    streams: StreamService
    klines: KlineService | None
    decoder: RecordDecoder | None

    @property
    def followed(self) -> Mapping[str, Sequence[str]]:
        """The symbols by market."""


class StreamFigures(NamedTuple):
    """The streams of one market and kind. `age_s`: of the newest message; None before the first."""

    streams: int
    connected: int
    messages: int
    connects: int
    age_s: float | None


class StreamTotals:
    """Sums of streams by market and kind that never fall: what a removed stream counted stays."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, StreamStatus] = {}
        self._gone: Counter[tuple[Labels, str]] = Counter()

    def of(self, statuses: Iterable[StreamStatus]) -> dict[Labels, StreamFigures]:
        """Return the figures of streams as they are now. Any thread."""
        with self._lock:
            now = {status.name: status for status in statuses if status.market}  # else nothing is seen of it
            for name, last in self._last.items():
                if name not in now or now[name].messages < last.messages or class_of(now[name]) != class_of(last):
                    self._gone[class_of(last), "messages"] += last.messages
                    self._gone[class_of(last), "connects"] += last.connects
            self._last = now
            classes = {class_of(status) for status in now.values()} | {of for of, _ in self._gone}
            return {of: self._figures(of, [each for each in now.values() if class_of(each) == of]) for of in classes}

    def _figures(self, of: Labels, statuses: list[StreamStatus]) -> StreamFigures:
        ages_s = [status.last_data_age_s for status in statuses if status.last_data_age_s is not None]
        return StreamFigures(
            len(statuses),
            sum(status.is_live for status in statuses),
            self._gone[of, "messages"] + sum(status.messages for status in statuses),
            self._gone[of, "connects"] + sum(status.connects for status in statuses),
            min(ages_s, default=None),
        )


def class_of(status: StreamStatus) -> Labels:
    """Return the market and kind of a stream."""
    return status.market or "", status.kind or ""


class Scrape:
    """What one scrape reads, each part once: families have to agree with each other."""

    def __init__(self, service: Watched, collector: Collecting | None, totals: StreamTotals) -> None:
        self.service, self.collector, self.outputs = service, collector, service.outputs
        self._totals = totals

    @cached_property
    def ready(self) -> tuple[bool, Counter[str]]:
        """Whether the service is ready, and how many things are wrong, by reason."""
        is_ready, answer = self.service.health.readyz()
        return is_ready, Counter(reason["reason"] for reason in answer["reasons"])

    @cached_property
    def streams(self) -> dict[Labels, StreamFigures]:
        """The streams by market and kind."""
        return self._totals.of(self.collector.streams.supervisor.status()) if self.collector else {}

    @cached_property
    def queues(self) -> dict[Labels, tuple[float, float]]:
        """Depth and drops of every queue."""
        outputs, collector = self.outputs, self.collector
        found: dict[Labels, tuple[float, float]] = {
            (name,): (stats.queued, stats.dropped) for name, stats in outputs.manager.stats().items()
        }
        for name, part in (("recorder", outputs.recorder), ("envelopes", collector and collector.decoder)):
            if part:
                figures = part.stats()
                found[name,] = figures["queued"], figures["dropped"]
        if collector and collector.klines:
            queues = collector.klines.aggregator.queues.values()
            found["aggregator",] = sum(map(len, queues)), sum(queue.dropped for queue in queues)
        return found

    @cached_property
    def klines(self) -> tuple[Samples, ...]:
        """Closed, incomplete and revised klines by market and interval."""
        figures = self.service.figures.klines
        if not (self.collector and figures):
            return {}, {}, {}
        markets, intervals = self.collector.settings.markets, self.collector.settings.kline_intervals
        return figures.read({(market, interval): 0 for market in markets for interval in intervals})

    @cached_property
    def audits(self) -> dict[str, tuple[int, int]]:
        """Klines compared with the exchange's candles, and those that differed or that it does not have, by market."""
        auditor = self.collector and self.collector.klines and self.collector.klines.auditor
        if not (self.collector and auditor):
            return {}
        found = auditor.by_market().items()
        zeros = dict.fromkeys(self.collector.settings.markets, (0, 0))
        return zeros | {
            market: (tally.compared + tally.unknown, tally.different + tally.unknown) for market, tally in found
        }

    def events(self, counts: Samples) -> Samples:
        """Counts of status events by market and kind, zeros where there were none."""
        return {**dict.fromkeys(self.streams, 0), **counts}


@dataclass(frozen=True)
class Family:
    """One metric: its name without the prefix, and how its samples are read, by the values of its labels."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    read: Callable[[Scrape], Samples | Histograms]

    @property
    def full_name(self) -> str:
        """The name as Prometheus has it."""
        return f"collector_{self.name}"

    def metric(self, scrape: Scrape) -> Metric:
        """Return the metric with its samples."""
        samples = self.read(scrape)
        if self.type == "histogram":
            histogram = HistogramMetricFamily(self.full_name, self.help, labels=self.labels)
            for labels, each in samples.items():
                assert isinstance(each, Histogram)
                buckets, sum_s = each.read()
                histogram.add_metric(labels, buckets, sum_s)
            return histogram
        make = CounterMetricFamily if self.type == "counter" else GaugeMetricFamily
        metric = make(self.full_name, self.help, labels=self.labels)
        for labels, each in samples.items():
            assert not isinstance(each, Histogram)
            metric.add_metric(labels, each)
        return metric


def _of_streams(read: Callable[[StreamFigures], float]) -> Callable[[Scrape], Samples]:
    return lambda scrape: {of: read(figures) for of, figures in scrape.streams.items()}


def _arrived(scrape: Scrape) -> Samples:
    now_s = time.time()
    return {of: now_s - figures.age_s for of, figures in scrape.streams.items() if figures.age_s is not None}


def _problems(scrape: Scrape) -> Samples:
    _, found = scrape.ready
    return {(reason,): found[reason] for reason in dict.fromkeys((*REASONS, *found))}


def _gaps(scrape: Scrape) -> Samples:
    return scrape.events(scrape.service.figures.events.gaps())


def _ends(scrape: Scrape) -> Samples:
    return scrape.events(scrape.service.figures.events.disconnects())


def _repairs(scrape: Scrape) -> Samples:
    markets = scrape.collector.settings.markets if scrape.collector else ()
    zeros: dict[Labels, int] = {(market, how): 0 for market in markets for how in HOWS}
    return zeros | scrape.service.figures.events.repairs()


def _quarantined(scrape: Scrape) -> Samples:
    return scrape.events(scrape.collector.streams.quarantined() if scrape.collector else {})


def _symbols(scrape: Scrape) -> Samples:
    followed = scrape.collector.followed if scrape.collector else {}
    return {(market,): len(symbols) for market, symbols in followed.items()}


def _delay(scrape: Scrape) -> Histograms:
    figures = scrape.service.figures.klines
    return {(): figures.delay} if figures else {}


def _lag(scrape: Scrape) -> Histograms:
    figures = scrape.service.figures.trades
    return {(market,): lag for market, lag in figures.lags.items()} if figures else {}


def _late(scrape: Scrape) -> Samples:
    klines = scrape.collector and scrape.collector.klines
    return {(market,): count for market, count in klines.aggregator.late_trades().items()} if klines else {}


def _up(scrape: Scrape) -> Samples:
    names = [*scrape.outputs.manager.stats(), *(["recorder"] if scrape.outputs.recorder else [])]
    down = {outage.sink for outage in scrape.outputs.outages()}
    return {(name,): name not in down for name in names}


def _clock(read: Callable[[Collecting], float]) -> Callable[[Scrape], Samples]:
    return lambda scrape: {(): read(scrape.collector)} if scrape.collector else {}


def _faults(scrape: Scrape) -> Samples:
    counts = scrape.collector.faults.counts() if scrape.collector else {}
    return {(reason,): count for reason, count in counts.items()}


def _queues(index: int) -> Callable[[Scrape], Samples]:
    return lambda scrape: {output: figures[index] for output, figures in scrape.queues.items()}


def _audits(index: int) -> Callable[[Scrape], Samples]:
    return lambda scrape: {(market,): counts[index] for market, counts in scrape.audits.items()}


def _klines(index: int) -> Callable[[Scrape], Samples]:
    return lambda scrape: scrape.klines[index]


def _info(scrape: Scrape) -> Samples:
    settings = scrape.service.settings
    exchange = settings.exchange if scrape.collector else ",".join(settings.relayed_exchanges)
    return {(VERSION, exchange): 1}


def _ready(scrape: Scrape) -> Samples:
    return {(): scrape.ready[0]}


def _threads(_scrape: Scrape) -> Samples:
    return {(): threading.active_count()}


_messages, _connects = _of_streams(lambda of: of.messages), _of_streams(lambda of: of.connects)
_streams, _connected = _of_streams(lambda of: of.streams), _of_streams(lambda of: of.connected)
_offset_s = _clock(lambda collector: collector.rest.clock.offset_ms / 1000)
_is_known = _clock(lambda collector: collector.rest.clock.is_known)

STREAM, MARKET, OUTPUT, SERIES = ("market", "kind"), ("market",), ("output",), ("market", "interval")
BUILD, REASON, REPAIR = ("version", "exchange"), ("reason",), ("market", "how")

FAMILIES = (
    Family("build_info", "gauge", BUILD, "Always 1; its labels are what runs", _info),
    Family("ready", "gauge", (), "Whether /readyz answers 200", _ready),
    Family("problems", "gauge", REASON, "How many things are wrong now, as /readyz lists them", _problems),
    Family("messages_total", "counter", STREAM, "Data messages received", _messages),
    Family("last_message_timestamp_seconds", "gauge", STREAM, "When the newest message came, host's clock", _arrived),
    Family("streams", "gauge", STREAM, "Streams that are wanted, each a connection", _streams),
    Family("streams_connected", "gauge", STREAM, "Streams that are connected and subscribed", _connected),
    Family("connects_total", "counter", STREAM, "Connections opened", _connects),
    Family("disconnects_total", "counter", STREAM, "Outages of streams, whatever attempts to return they took", _ends),
    Family("gaps_total", "counter", STREAM, "Gaps found, as status events", _gaps),
    Family("repairs_total", "counter", REPAIR, "Gaps that were filled, as status events", _repairs),
    Family("topics_quarantined", "gauge", STREAM, "Topics that the exchange refuses now", _quarantined),
    Family("symbols", "gauge", MARKET, "Symbols that are followed", _symbols),
    Family("klines_closed_total", "counter", SERIES, "Klines closed, counted at their first issue", _klines(0)),
    Family("klines_incomplete_total", "counter", SERIES, "Of these those that were not complete then", _klines(1)),
    Family("klines_revised_total", "counter", SERIES, "Further issues: of late trades, of repairs", _klines(2)),
    Family("kline_close_delay_seconds", "histogram", (), "From the close of a kline to its first issue", _delay),
    Family("exchange_lag_seconds", "histogram", MARKET, "Age of the newest trade when its batch is counted", _lag),
    Family("late_trades_total", "counter", MARKET, "Trades that came after the close of their kline", _late),
    Family("queue_depth", "gauge", OUTPUT, "Messages or envelopes that wait for an output or a thread", _queues(0)),
    Family("queue_dropped_total", "counter", OUTPUT, "Those that were lost: queue full, or output away", _queues(1)),
    Family("sink_up", "gauge", OUTPUT, "Whether an output works", _up),
    Family("audit_compared_total", "counter", MARKET, "Klines compared with the exchange's candles", _audits(0)),
    Family("audit_different_total", "counter", MARKET, "Of these those that differ, or are only here", _audits(1)),
    Family("clock_offset_seconds", "gauge", (), "The exchange's clock minus the host's; 0 while unknown", _offset_s),
    Family("clock_known", "gauge", (), "Whether the exchange's clock is known", _is_known),
    Family("faults_total", "counter", REASON, "Faults of the input, by cause as in the log", _faults),
    Family("threads", "gauge", (), "Threads of the process", _threads),
)


class Metrics(Source):
    """The metrics of one service; any thread may ask for them."""

    def __init__(self, service: Watched, collector: Collecting | None = None) -> None:
        """`collector`: the service again, where it is one; None of a relay."""
        self._service, self._collector, self._totals = service, collector, StreamTotals()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def describe(self) -> list[Metric]:
        """Return nothing: else a registry would scrape to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        scrape = Scrape(self._service, self._collector, self._totals)
        metrics = (family.metric(scrape) for family in FAMILIES)
        yield from (metric for metric in metrics if metric.samples)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the text of a scrape and its content type: OpenMetrics where the Accept header asks for that."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Answer GET /metrics."""
        body, content_type = self.render(request.headers.get("accept", ""))
        return HttpAnswer(200, body, content_type)
