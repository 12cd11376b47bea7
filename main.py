"""The collector: what to stream, and how the rooms are joined.

`python main.py` runs it; a script of your own may import STREAMS, append to it and call `run()`. The main thread
starts the others, watches them, and stops them in order. No payload passes through here.
"""

import sys

if __name__ == "__main__":  # before the imports below, which take a second
    from app import startup

    startup.begin(None if sys.argv[1:2] == ["audit"] else 0)

import dataclasses
import functools
import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import structlog

from aggregation.audit.cli import Defaults, run_audit
from aggregation.service import KlineOptions, KlineService, compared_fields
from app.cli import AUDIT, RELAY, wants_dry_run
from app.descriptors import Descriptors
from app.exits import Exit
from app.fan_out import each, together
from app.faults import FaultLog
from app.pipeline import Mark, Pipeline, Pipelines
from app.process import all_or_errors, carry_out, exit_of_stop, refuse, set_up
from app.signals import stop_on_signals
from callbacks.liquidations import handle_liquidations
from callbacks.orderbook import handle_orderbook, handle_spot_orderbook
from callbacks.payload import PayloadCallback
from callbacks.redundancy import RedundantTrades
from callbacks.ticker import handle_spot_ticker, handle_ticker
from callbacks.trades import handle_spot_trades, handle_trades
from conf.coins import CoinsFile
from conf.settings import Settings, load_settings
from consumers.record_decoder import RecordDecoder
from consumers.relay import Relay
from consumers.service import OutputService
from consumers.status import StatusTeller
from exchanges.registry import VENUES
from exchanges.universe.follower import Choice
from model.ports import Dial, Feed, HistoryError
from model.records import FeedMarker, Kind, TradeBatch
from model.threads import dead_of
from network.report import describe_network
from streams import (
    Connects,
    DescriptorBudget,
    DesiredStream,
    Reader,
    StreamOptions,
    StreamRequest,
    StreamService,
    Target,
    check_entries,
    current,
    request_of,
)
from streams.registry import is_deferred
from streams.shard import Shard

STREAMS_SHARE, AGGREGATOR_SHARE = 0.4, 0.6  # of the stop deadline: when they must be done; the outputs have the rest

Callback = Callable[[bytes], Any]
Symbols = str | Sequence[str]

log = structlog.get_logger()

# -- what to stream -------------------------------------------------------------------------------------------

STREAMS: list[dict[str, Any]] = []
"""One supervised, reconnecting thread per entry. `run` adds what the settings ask for; the list may grow while it runs.

    STREAMS.append({
        "name": "Trades_ETHUSDT",
        "func": subscribe_trades,
        "args": ("ETHUSDT", handle_trades),
    })
"""


def subscribe_trades(symbols: Symbols, callback: Callback, market: str | None = None) -> None:
    """Stream trades of a symbol or a list of symbols (one connection) to `callback`, exact bytes.

    Blocks until the connection ends; meant as the "func" of a STREAMS entry. `market` is linear, inverse, spot or
    option; None is the callback's own, else CHANNEL_TYPE. What handle_trades is given goes to the channel, klines and
    records of that market: `stream:bybit_trades` of CHANNEL_TYPE, `stream:bybit_inverse_trades` of inverse beside it.
    """
    _stream("trades", symbols, callback, market)


def subscribe_orderbook(
    symbols: Symbols, callback: Callback, market: str | None = None, depth: int | None = None
) -> None:
    """Stream order books like `subscribe_trades`; `depth` is 1, 50, 200 or 1000, None is ORDERBOOK_DEPTH."""
    _stream("orderbook", symbols, callback, market, depth)


def subscribe_ticker(symbols: Symbols, callback: Callback, market: str | None = None) -> None:
    """Stream tickers like `subscribe_trades`."""
    _stream("ticker", symbols, callback, market)


def subscribe_liquidations(symbols: Symbols, callback: Callback, market: str | None = None) -> None:
    """Stream liquidations like `subscribe_trades`; spot has none."""
    _stream("liquidations", symbols, callback, market)


def subscribe_topics(topics: Symbols, callback: Callback, market: str | None = None) -> None:
    """Stream any other topics of the exchange, e.g. "kline.5.BTCUSDT", like `subscribe_trades`."""
    _stream("topics", topics, callback, market)


# Add your own streams here.


SUBSCRIBE: dict[Kind, Callable[..., None]] = {
    "trades": subscribe_trades,
    "orderbook": subscribe_orderbook,
    "ticker": subscribe_ticker,
    "liquidations": subscribe_liquidations,
    "topics": subscribe_topics,
}
KIND_OF: dict[Callable[..., None], Kind] = {function: kind for kind, function in SUBSCRIBE.items()}
MAIN_CALLBACKS: dict[Kind, PayloadCallback] = {
    "trades": handle_trades,
    "orderbook": handle_orderbook,
    "ticker": handle_ticker,
    "liquidations": handle_liquidations,
}
SPOT_CALLBACKS: dict[Kind, PayloadCallback] = {
    "trades": handle_spot_trades,
    "orderbook": handle_spot_orderbook,
    "ticker": handle_spot_ticker,
}
ALL_CALLBACKS = (*MAIN_CALLBACKS.values(), *SPOT_CALLBACKS.values())


# -- the collector --------------------------------------------------------------------------------------------


class Collector:
    """All rooms, joined for one run. Raises ValueError with every mistake at once; starts nothing before `start`."""

    def __init__(self, settings: Settings, streams: list[dict[str, Any]]) -> None:
        self.settings = settings
        self._venue = VENUES[settings.exchange]
        self._request_of = functools.partial(request_of, kinds=KIND_OF, read_topic=self._venue.read_topic)
        self._followed: Choice = {}
        self._traded: set[tuple[str, str]] = set()  # markets and symbols of trades
        self._brought: set[tuple[str, str]] = set()  # and of any kind
        self.faults = FaultLog()
        coins = CoinsFile(*settings.coins_paths)
        read_coins = (coins.load,) if not settings.load_all_symbols else ()
        self.descriptors = Descriptors()
        checks = (*read_coins, lambda: self._check_entries(streams), self._check_network)
        self.outputs = all_or_errors(self._build_outputs, *checks)
        self._tell = StatusTeller(settings.exchange, self.outputs.say)
        self.outputs.tell_changes(self._tell)
        self.memory = self._venue.memory(settings, self.faults.report)
        self.klines = self._build_klines() if settings.enable_klines_stream else None
        self.decoder = self._build_decoder()
        self.pipelines = Pipelines(
            self._build_pipeline,
            settings.channel_type,
            market_here=lambda: current().market,
            report=self.faults.report,
        )
        for callback in ALL_CALLBACKS:
            callback.bind(self.pipelines)
        self.streams = self._build_streams(streams)
        self.symbols = self._venue.follower(settings, coins)
        self._follow(self.symbols.choice)
        feeds = [self.streams.feed(market).url for market in settings.markets]
        self._network = describe_network([*feeds, *([self.memory.url] if settings.has_rest else [])])

    def choose_symbols(self, stop: threading.Event | None = None) -> Exit | None:
        """Learn from the exchange what is to be streamed; an exit code where that is nothing."""
        self.symbols.start()
        is_known = self.symbols.wait(stop=stop)
        self._follow(self.symbols.choice)
        if (stop and stop.is_set()) or any(self.symbols.choice.values()):
            return None
        problem = "none is listed as the settings ask for" if is_known else "what the exchange lists cannot be read"
        log.critical("no_symbols", problem=problem)
        return Exit.SETTINGS if is_known else Exit.OUTPUT_UNREACHABLE

    def start(self, stop: threading.Event | None = None) -> Exit | None:
        """Start outputs first, streams last; an exit code where that cannot be. `stop` ends what it waits for."""
        _run_streams_of(self)
        log.info("network", **self._network)
        if problem := self.choose_symbols(stop):
            return problem
        self.descriptors.plan(self.streams.count, self.settings.websocket_clients)
        if not self.outputs.open():
            return Exit.OUTPUT_UNREACHABLE
        self._resume()
        if not self.outputs.start(stop):
            return Exit.OUTPUT_UNREACHABLE
        if self.klines:
            self.klines.start()
        if self.decoder:
            self.decoder.start()
        try:
            self.streams.supervisor.start()
        except ValueError as error:
            log.critical("streams_wrong", problem=str(error))
            return Exit.SETTINGS
        gc.freeze()  # what lives as long as the process need not be looked through again and again
        return None

    def tick(self) -> Exit | None:
        """Follow STREAMS, revive what died; an exit code where the process would go on without something it needs."""
        if (choice := self.symbols.take()) is not None:
            self._follow(choice)
        if self.streams.tick():
            self._retire()
        if not self.outputs.tick():
            return Exit.OUTPUT_UNREACHABLE
        if (problem := _lost_thread(self._threads())) or self.streams.supervisor.unrevivable:
            return problem or Exit.THREAD_LOST
        if given_up := self.streams.supervisor.gave_up:
            log.critical("streams_given_up", streams=given_up, attempts=self.settings.reconnect_max_attempts)
            self.log_status()
            return Exit.STREAM_GIVEN_UP
        return None

    def _threads(self) -> list[threading.Thread]:
        """All that must live, but for the streams', which are revived."""
        owners = (self.outputs, self.klines, self.decoder, self.symbols)
        return [thread for owner in owners if owner for thread in owner.threads()]

    def stop(self) -> Exit:
        """Streams first, then the aggregator drained, then outputs flushed, under one deadline."""
        begin_s, limit_s = time.monotonic(), self.settings.stop_timeout
        streams_by_s, aggregator_by_s = begin_s + limit_s * STREAMS_SHARE, begin_s + limit_s * AGGREGATOR_SHARE
        self.memory.stop()
        self.symbols.stop()
        alive = self.streams.stop(limit_s * STREAMS_SHARE)
        alive += self.klines.stop(streams_by_s, aggregator_by_s) if self.klines else []
        alive += ["envelopes"] if self.decoder and not self.decoder.stop(aggregator_by_s) else []
        alive += self.outputs.stop(aggregator_by_s, begin_s + limit_s)
        for callback in ALL_CALLBACKS:
            callback.unbind()
        _run_streams_of(None)
        self.faults.flush()
        return exit_of_stop(alive, limit_s)

    def log_status(self) -> None:
        """One line that says how everything does."""
        self.faults.flush()
        log.info("status", **self.status())

    def status(self) -> dict[str, Any]:
        """How everything does, as fields of a log line; any thread."""
        return {
            "symbols": {market: len(symbols) for market, symbols in self._followed.items()},
            **self.streams.stats(),
            "faults": self.faults.counts(),
            **self.outputs.stats(),
            "envelopes": self.decoder.stats() if self.decoder else None,
            **(self.klines.stats() if self.klines else {}),
        }

    def live_status(self) -> dict[str, Any]:
        """The same and each stream's own figures, for the table on a terminal."""
        streams = self.streams.supervisor.status()
        return {**self.status(), "each_stream": [dataclasses.asdict(stream) for stream in streams]}

    def _follow(self, choice: Choice) -> None:
        """Stream these symbols from now on, as far as they are this process's."""
        owns = self.streams.shard.owns
        self._followed = {market: tuple(filter(owns, symbols)) for market, symbols in choice.items()}
        self.streams.follow(self._wanted())
        self._retire()

    def _retire(self) -> None:
        """Let nothing close, and keep nothing, of symbols that neither the settings nor an entry brings any more."""
        traded, self._traded = self._traded, self.streams.collected()
        if klines := self.klines:
            for market, went, came in _changes(traded, self._traded):
                klines.drop_symbols(market, went, came)
        brought, self._brought = self._brought, self.streams.collected(None)
        for market, went, came in _changes(brought, self._brought):
            for word, symbols in (("gone", went), ("came", came)):
                self.outputs.store(market, word, [{"symbol": symbol} for symbol in symbols])

    def _wanted(self) -> Iterator[DesiredStream]:
        """What the settings ask for: markets x kinds x symbols."""
        settings = self.settings
        for market, symbols in self._followed.items():
            for kind in settings.streamed_kinds(market):
                redundant = frozenset(filter(settings.is_redundant, symbols) if kind == "trades" else ())
                pipeline = self.pipelines.of(market, kind, is_planned=True)
                yield DesiredStream(kind, market, SUBSCRIBE[kind], pipeline, symbols, redundant, RedundantTrades)

    def _resume(self) -> None:
        """Where an earlier run published klines, go on from there."""
        if (redis := self.outputs.manager.redis) and self.klines:
            collected = self.streams.collected()
            known = redis.load_published({*self.settings.markets, *(market for market, _ in collected)})
            self.klines.resume(known, collected, redis.recent)

    # -- joining the rooms ------------------------------------------------------------------------------------

    def _build_outputs(self) -> OutputService:
        owns = Shard.parse(self.settings.shard).owns if self.settings.shard_name else None
        return OutputService(
            self.settings,
            owns=owns,
            symbols=lambda market: self._followed.get(market, ()),
            status=self.live_status,
            pair_of=lambda market, symbol: self.symbols.pair_of(market, symbol),
            descriptors=lambda: self.descriptors.for_clients,
        )

    def _build_streams(self, streams: list[dict[str, Any]]) -> StreamService:
        venue, publisher = self._venue, self.outputs.manager.redis
        options = StreamOptions.of(self.settings, Connects(venue.connects, venue.connects_per_s))
        # What a round of reading brought goes to Redis at once, on the reader's thread; then it is counted.
        before, after = ([publisher.hold], [publisher.send_waiting]) if publisher else ([], [])
        reader = Reader(before, [*after, self.klines.on_reads_done] if self.klines else after)
        return StreamService(
            streams,
            options,
            self._build_feed,
            self._request_of,
            self._target_of,
            reader=reader,
            tell=self._tell,
            descriptors=DescriptorBudget(lambda: self.descriptors.for_streams),
        )

    def _check_entries(self, streams: list[dict[str, Any]]) -> None:
        """Raise ValueError with every wrong entry."""
        depth = self.settings.orderbook_depth
        check_entries(streams, self._request_of, self._market_of, self._idle_feed_of, depth)

    def _check_network(self) -> None:
        """Raise ValueError with every proxy and certificate on the way of the streams that cannot be used."""
        describe_network(self._idle_feed_of(market).url for market in self.settings.markets)

    def _idle_feed_of(self, market: str) -> Feed:
        """A feed to ask, which opens nothing."""
        report = self.faults.report
        return self._venue.feed_of(self.settings, market, dial=lambda _url: None, report=report, tell=report)

    def _market_of(self, request: StreamRequest) -> str:
        """The market that somebody asks for; ValueError for a request that makes no sense."""
        callback = request.callback
        if not callable(callback):
            raise ValueError(f"callback is {callback!r}, must be a function of one payload")  # noqa: TRY004 - as below
        if is_deferred(callback) or is_deferred(getattr(callback, "__call__", None)):  # noqa: B004
            raise ValueError(f"callback {callback!r} is async or a generator, must be a plain function of one payload")
        if isinstance(request.symbols, Iterator):
            raise ValueError("symbols can be read only once, must be a text or a list of texts")  # noqa: TRY004
        is_ours = isinstance(callback, PayloadCallback)
        if is_ours:
            self._check_kind(request, callback.kind)
        market = request.market or (callback.market if is_ours else None) or self.settings.channel_type
        if market not in self._venue.markets:
            raise ValueError(f"market is {market!r}, must be one of {', '.join(self._venue.markets)}")
        return market

    def _check_kind(self, request: StreamRequest, kind: str) -> None:
        """Raise ValueError where a request brings what handle_<kind> does not take."""
        if request.kind == kind:
            return
        if request.kind != "topics":
            raise ValueError(f"callback takes {kind}, not {request.kind}: name handle_{request.kind}")
        # Whatever topic brings trades counts as a feed, by which klines are proven.
        wrong = [name for name, of in request.topics() if (of[0] != kind if of else kind == "trades")]
        if wrong:
            raise ValueError(f"callback takes {kind}, not {', '.join(map(str, wrong))}: give these their own entry")

    def _target_of(self, request: StreamRequest) -> Target:
        """Where what somebody asks for goes: to the pipeline of its market where the callback is one of ours."""
        market, callback = self._market_of(request), request.callback
        if isinstance(callback, PayloadCallback):
            return Target(market, self.pipelines.of(market, callback.kind), is_channel=True)
        return Target(market, callback, is_channel=isinstance(callback, Pipeline | RedundantTrades))

    def _build_feed(self, market: str, dial: Dial) -> Feed:
        def tell(event: str, **fields: Any) -> None:
            self._tell(event, stream=current().name, **fields)

        report, observe = self.faults.report, self.memory.clock.observe
        return self._venue.feed_of(self.settings, market, dial=dial, report=report, tell=tell, observe=observe)

    def _build_klines(self) -> KlineService:
        settings, report = self.settings, self.faults.report
        decode, written = self._venue.decoder_of(settings, self.memory)
        service = KlineService(
            KlineOptions.of(settings),
            lambda payloads: TradeBatch(*decode(payloads, report), written=functools.partial(written, payloads)),
            self.outputs.send_klines,
            self.memory,
            report=report,
            tell=self._tell,
        )
        if bridge := self.outputs.raw_bridge:
            every_s = settings.websocket_open_klines_interval
            service.share_open_klines(lambda: bridge.has_subscribers, bridge.offer_open, every_s)
        return service

    def _build_decoder(self) -> RecordDecoder | None:
        """The decoder of payloads to records, where any are sent or stored."""
        types = {*self.settings.envelope_types, *self.settings.stored_types}
        read, report, send = self._venue.reader, self.faults.report, self.outputs.send_records
        return RecordDecoder(lambda _market, kind: read(kind, report, types), send) if types else None

    def _build_pipeline(self, market: str, kind: str, is_planned: bool) -> Pipeline:
        """Join what takes payloads of a market and kind: raw channel first, the aggregator last."""
        is_raw = not is_planned or kind in self.settings.raw_streams
        takers = self.outputs.takers(market, kind, is_raw=is_raw)
        marks: list[Mark] = []
        if decode := self.decoder.sink(market, kind) if self.decoder else None:
            takers.append(each(decode))
            marks += [decode] if kind == "ticker" else []
        if kind == "trades" and self.klines and market in self._venue.kline_markets:
            takers.append(self.klines.queue_for(market))
            marks.append(functools.partial(self._mark, market))
        return Pipeline(market, kind, together(takers), marks)

    def _mark(self, market: str, marker: FeedMarker) -> None:
        assert self.klines is not None
        self.klines.mark(market, marker.kind, marker.symbols, marker.at_ms, marker.delivery)


def _changes(before: set[tuple[str, str]], now: set[tuple[str, str]]) -> Iterator[tuple[str, list[str], list[str]]]:
    """By market, the symbols that went and those that came; nothing at the beginning, where there were none."""
    for market in sorted({market for market, _ in before ^ now}) if before else ():
        went, came = (
            sorted(symbol for each, symbol in some if each == market) for some in (before - now, now - before)
        )
        yield market, went, came


_collector: Collector | None = None  # the one that runs: a STREAMS entry names a function, not a collector


def _run_streams_of(collector: Collector | None) -> None:
    global _collector
    _collector = collector


def _stream(kind: Kind, symbols: Symbols, callback: Callback, market: str | None, depth: int | None = None) -> None:
    if _collector is None:
        raise RuntimeError(f"subscribe_{kind} needs a running collector: put it in a STREAMS entry and call run()")
    _collector.streams.run(SUBSCRIBE[kind], symbols, callback, market, depth)


def _lost_thread(threads: list[threading.Thread]) -> Exit | None:
    """An exit code where one of them has ended: a process that lives on without it would only look alive."""
    if dead := dead_of(threads):
        log.critical("threads_lost", threads=dead)
    return Exit.THREAD_LOST if dead else None


# -- outputs in a process of their own ------------------------------------------------------------------------


class OutputRelay:
    """The outputs but those in Redis, given what collectors publish there. Raises ValueError like Collector."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings = settings.relayed()
        self._descriptors = Descriptors()
        self._outputs = OutputService(settings, descriptors=lambda: self._descriptors.for_clients)
        publish = self._outputs.manager.publish
        self._source = Relay(settings.redis_url, settings.exchange, settings.redis_main_key, publish)

    def start(self, stop: threading.Event) -> Exit | None:
        """Start outputs first; an exit code where one that is required cannot be reached."""
        self._descriptors.plan(0, self.settings.websocket_clients)
        if not self._outputs.start(stop):
            return Exit.OUTPUT_UNREACHABLE
        self._source.start()
        return None

    def tick(self) -> Exit | None:
        """Look after the threads; the source connects again by itself."""
        return _lost_thread([*self._source.threads(), *self._outputs.threads()])

    def log_status(self) -> None:
        """One line that says how everything does."""
        log.info("status", relay=self._source.stats(), consumers=self._outputs.stats()["consumers"])

    def stop(self) -> Exit:
        """The source first; however it ends, what the outputs hold is written, under one deadline."""
        begin_s, limit_s = time.monotonic(), self.settings.stop_timeout
        alive = [] if self._source.stop(begin_s + limit_s * STREAMS_SHARE) else ["relay"]
        alive += self._outputs.stop(begin_s + limit_s * AGGREGATOR_SHARE, begin_s + limit_s)
        return exit_of_stop(alive, limit_s)


# -- running --------------------------------------------------------------------------------------------------


def _collect_streams(settings: Settings) -> Collector:
    return Collector(settings, STREAMS)


def run(settings: Settings | None = None) -> int:
    """Collect until asked to stop by SIGTERM, SIGINT or SIGHUP; returns the exit code (app.exits).

    `settings` None: from the environment and .env. Signals are heard only where this is the main thread.
    """
    return carry_out(settings, _collect_streams)


def relay(settings: Settings | None = None) -> int:
    """Run the outputs but those in Redis, on what collectors publish there, until asked to stop; the exit code."""
    return carry_out(settings, OutputRelay)


def dry_run(settings: Settings | None = None) -> int:
    """Print what would be streamed and end; returns the exit code that a start would end with, 0 where it would run."""
    try:
        collector = set_up(settings, _collect_streams)
    except (ValueError, OSError) as error:
        return refuse(error)
    with stop_on_signals() as stop:
        code = int(collector.choose_symbols(stop) or Exit.ASKED)
    try:
        sys.stdout.write("" if code else collector.streams.text())
    except ValueError as error:
        code = refuse(error)
    collector.stop()
    return code


def audit(arguments: Sequence[str], settings: Settings | None = None) -> int:
    """Compare past klines with the exchange's own candles, as `main.py audit --help` says; returns the exit code."""
    try:
        settings = settings or load_settings()
        history = VENUES[settings.exchange].history_of(settings)
        describe_network([history(settings.channel_type).url])
    except ValueError as error:
        return refuse(error)
    path = settings.file_consumer_base_path / settings.exchange
    fields = compared_fields(prev_close_opens=settings.kline_open == "prev_close")
    return run_audit(arguments, Defaults(settings.channel_type, path, fields), history, HistoryError)


if __name__ == "__main__":
    sys.modules["main"] = sys.modules[__name__]  # whoever imports main finds this STREAMS, not a second one
    if sys.argv[1:2] == [AUDIT]:
        startup.leave(audit(sys.argv[2:]))
    if sys.argv[1:2] == [RELAY]:
        startup.leave(relay())
    startup.leave(dry_run() if wants_dry_run(sys.argv[1:]) else run())
