"""Whether the process lives, and whether it is ready: one verdict for /readyz, metrics, alerts and the page.

Any thread. Reads what is counted anyway; the main thread calls `tick`, so that a hung one is seen. Reasons why a
process is not ready: stream_down, stream_silent, sink_down, aggregator_behind, clock_unknown, starting, thread_lost.
"""

import difflib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from aggregation.service import KlineService
from app import VERSION
from app.stream_health import Rhythm, StreamWatch, Trouble
from conf.settings import Settings
from consumers.health import SinkOutage
from consumers.relay import Relay
from consumers.service import OutputService
from consumers.web.http import HttpAnswer, HttpRequest, Route
from exchanges.rest import ExchangeRest
from exchanges.universe.follower import SymbolFollower
from model.clock import now_ms
from model.intervals import parse_interval
from model.symbols import canonical
from streams import StreamService

LOOK_S = 2.0  # between two looks at the streams by the main thread: 0.01 % of a core for 50 of them
MAIN_LATE_S = 30.0  # a main thread that has not ticked for so long hangs
BEHIND_S = 5.0  # of a step of the aggregator, which takes milliseconds
RARE = ("liquidations", "topics")  # the silence of these proves nothing
CANDLE_LATE_MS = 10_000  # after its end a candle is out within the grace, or seconds where proof is waited for
SHOWN_MOST = 50  # symbols that an answer names

Answer = dict[str, Any]


class UnknownSeriesError(LookupError):
    """A candle that is not collected was asked for; `answer` says which are."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer["error"])
        self.answer = answer


class Verdict(Protocol):
    """What the routes need: Health, RelayHealth."""

    def livez(self) -> tuple[bool, Answer]: ...

    def readyz(
        self, market: str | None = None, symbol: str | None = None, interval: str | None = None
    ) -> tuple[bool, Answer]: ...


class WatchedCollector(Protocol):
    """What is read of app.collector.Collector."""

    settings: Settings
    outputs: OutputService
    streams: StreamService
    klines: KlineService | None
    rest: ExchangeRest
    symbols: SymbolFollower

    @property
    def traded(self) -> set[tuple[str, str]]: ...
    def threads(self) -> Sequence[threading.Thread]: ...
    def is_steady(self, market: str, kind: str) -> bool: ...


class WatchedRelay(Protocol):
    """What is read of app.relay.OutputRelay."""

    outputs: OutputService
    source: Relay

    def threads(self) -> Sequence[threading.Thread]: ...


class _ServiceHealth:
    """What the health of every service has: threads, the main thread's ticks, outputs that are down."""

    def __init__(
        self, threads: Callable[[], Sequence[threading.Thread]], outages: Callable[[], list[SinkOutage]]
    ) -> None:
        self._threads, self._outages = threads, outages
        self._lock = threading.Lock()
        self.monotonic = time.monotonic
        self._begun_s, self._begun_ms = self.monotonic(), now_ms()
        self._ticked_s: float | None = None  # None until the start is over
        self._looked_s = float("-inf")

    @property
    def is_started(self) -> bool:
        """Whether the start is over."""
        return self._ticked_s is not None

    def tick(self) -> None:
        """Record that the main thread is alive, and look at the streams every two seconds."""
        self._ticked_s = now_s = self.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self.reasons()

    def livez(self) -> tuple[bool, Answer]:
        """Return whether every thread that must live does."""
        threads, lost = self._threads(), [trouble.what for trouble in self._lost_threads()]
        answer = {"live": not lost, "lost": lost, "threads": len(threads), "version": VERSION}
        return not lost, answer | {"uptime_s": round(self.monotonic() - self._begun_s, 1)}

    def reasons(self) -> list[Answer]:
        """Return why it is not ready, as /readyz does; none where it is."""
        now_s = self.monotonic()
        with self._lock:
            found = [*self._lost_threads(), *self._troubles(now_s)]
        return [
            {"reason": each.reason, "what": each.what, "since": now_ms() - round((now_s - each.since_s) * 1000)}
            for each in found
        ] + [
            {"reason": "sink_down", "what": f"{outage.sink}: {outage.reason}", "since": outage.since_ms}
            for outage in self._outages()
        ]

    def _ready(self) -> tuple[bool, Answer]:
        reasons = self.reasons()
        return not reasons, {"ready": not reasons, "reasons": reasons}

    def _troubles(self, now_s: float, /) -> Iterator[Trouble]:
        """Yield what else is wrong; under a lock."""
        raise NotImplementedError

    def _lost_threads(self) -> Iterator[Trouble]:
        now_s = self.monotonic()
        if self._ticked_s is not None and now_s - self._ticked_s > MAIN_LATE_S:
            yield Trouble("thread_lost", "the thread main hangs", self._ticked_s)
        for thread in self._threads():
            if thread.ident is not None and not thread.is_alive():
                yield Trouble("thread_lost", f"the thread {thread.name} has ended", now_s)


class Health(_ServiceHealth):
    """The health of a collector."""

    def __init__(self, collector: WatchedCollector) -> None:
        """Reads nothing of `collector` yet, which is about to be built."""
        super().__init__(lambda: collector.threads(), lambda: collector.outputs.outages())
        self._collector = collector
        self._rhythms: dict[tuple[str, str], Rhythm] = {}
        self._streams = StreamWatch(self._rhythm_of, collector.settings.silence_timeout)

    def readyz(
        self, market: str | None = None, symbol: str | None = None, interval: str | None = None
    ) -> tuple[bool, Answer]:
        """Return whether all that is wanted comes and goes out, and why not.

        With a symbol: whether its last closed candle of `interval` is as fresh as that lets one expect. Raises
        UnknownSeriesError for one that is not collected.
        """
        is_ready, answer = self._ready()
        if not (market or symbol or interval):
            return is_ready, answer
        is_fresh, series = self._freshness(market, symbol or "", interval or "")
        return is_fresh, {**series, **answer}

    def _troubles(self, now_s: float, /) -> Iterator[Trouble]:
        collector = self._collector
        if not self.is_started:
            yield Trouble("starting", "the start is not over yet", self._begun_s)
            return
        yield from self._streams.look(collector.streams.supervisor.status(), now_s)
        for name in collector.streams.supervisor.unrevivable:
            yield Trouble("thread_lost", f"the thread of the stream {name} ends again and again", now_s)
        if collector.klines is None:
            return
        if (behind_s := collector.klines.aggregator.behind_s(now_s)) > BEHIND_S:
            what = f"klines are {behind_s:.0f} s behind: the aggregator has too much to do"
            yield Trouble("aggregator_behind", what, now_s - behind_s)
        if collector.settings.repairs_klines and not collector.rest.clock.is_known:
            what = "the exchange's time is not known: neither its REST API nor a message has given it"
            yield Trouble("clock_unknown", what, self._begun_s)

    def _rhythm_of(self, market: str, kind: str) -> Rhythm:
        if kind in RARE:
            return "any"
        if (market, kind) not in self._rhythms:
            self._rhythms[market, kind] = "steady" if self._collector.is_steady(market, kind) else "usual"
        return self._rhythms[market, kind]

    # -- one candle -----------------------------------------------------------------------------------

    def _freshness(self, market: str | None, symbol: str, interval: str) -> tuple[bool, Answer]:
        collector = self._collector
        if collector.klines is None:
            raise UnknownSeriesError({"error": "no candles are made: set ENABLE_KLINES_STREAM=true"})
        market, symbol, step_ms = self._series(market, symbol, interval)
        at_ms = collector.rest.clock.now_ms()
        end_ms = collector.klines.aggregator.last_close_ms(market, symbol, step_ms)
        series: Answer = {"market": market, "symbol": symbol, "interval": interval}
        begun_ms = parse_interval(interval).window_start(at_ms)
        length_ms = parse_interval(interval).window_end(begun_ms) - begun_ms
        most_ms = length_ms + CANDLE_LATE_MS
        if end_ms is None:
            is_due = now_ms() - self._begun_ms > 2 * length_ms + CANDLE_LATE_MS
            return not is_due, series | {"age_s": None, "is_fresh": not is_due, "expected_s": most_ms / 1000}
        age_ms = max(0, at_ms - end_ms)  # the clock may have gone back
        is_fresh = age_ms <= most_ms
        return is_fresh, series | {"age_s": age_ms / 1000, "is_fresh": is_fresh, "expected_s": most_ms / 1000}

    def _series(self, market: str | None, symbol: str, interval: str) -> tuple[str, str, int]:
        """Return market, symbol and step of a series that is collected."""
        collector, wanted = self._collector, self._collector.settings.kline_intervals
        traded = collector.traded
        markets = sorted({each for each, _ in traded})
        markets_asked = [market] if market else [each for each in collector.settings.markets if each in markets]
        for each in markets_asked:
            names = (str(collector.symbols.resolve(each, symbol)), canonical(symbol))
            found = next((name for name in names if (each, name) in traded), None)
            if found is None:
                continue
            try:
                step = parse_interval(interval)
            except ValueError:
                break
            if step.step_ms in {parse_interval(text).step_ms for text in wanted}:
                return each, found, step.step_ms
            break
        else:
            known = sorted({name for where, name in traded if market in (None, where)})
            near = difflib.get_close_matches(symbol.upper(), known, SHOWN_MOST) or known[:SHOWN_MOST]
            text = f"{symbol or 'no symbol'} is not collected" + (f" in {market}" if market else "")
            raise UnknownSeriesError(
                {"error": text, "symbols": near, "symbols_total": len(known), "markets": markets, "intervals": wanted}
            )
        raise UnknownSeriesError({"error": f"{interval or 'no interval'} is not collected", "intervals": wanted})


class RelayHealth(_ServiceHealth):
    """The health of a relay: its source, and its outputs."""

    def __init__(self, relay: WatchedRelay) -> None:
        super().__init__(lambda: relay.threads(), lambda: relay.outputs.outages())
        self._relay = relay

    def readyz(
        self, market: str | None = None, symbol: str | None = None, interval: str | None = None
    ) -> tuple[bool, Answer]:
        """Return whether the source is connected and the outputs work. Candles are the collectors' to answer for."""
        if market or symbol or interval:
            raise UnknownSeriesError({"error": "a relay makes no candles: ask the collector"})
        return self._ready()

    def _troubles(self, _now_s: float, /) -> Iterator[Trouble]:
        if not self.is_started:
            yield Trouble("starting", "the start is not over yet", self._begun_s)
        elif (down := self._relay.source.down_since_s) is not None:
            reason = "starting" if self._relay.source.connects == 0 else "stream_down"
            yield Trouble(reason, "the relay is not connected to the Redis of the collectors", down)


def health_routes(health: Verdict) -> dict[str, Route]:
    """Return /livez and /readyz; 200 where all is well, 503 where not."""

    def live(_request: HttpRequest) -> HttpAnswer:
        is_live, answer = health.livez()
        return HttpAnswer.json(200 if is_live else 503, answer)

    def ready(request: HttpRequest) -> HttpAnswer:
        try:
            is_ready, answer = health.readyz(*(request.query.get(name) for name in ("market", "symbol", "interval")))
        except UnknownSeriesError as error:
            return HttpAnswer.json(404, error.answer)
        return HttpAnswer.json(200 if is_ready else 503, answer)

    return {"/livez": Route(live, is_open=True), "/readyz": Route(ready, is_open=True)}
