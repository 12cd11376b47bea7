"""The collector: all packages joined for one run of the STREAMS list.

The main thread starts the others, watches them, and stops them in order. No payload passes through here.
"""

import dataclasses
import functools
import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import structlog

from aggregation.service import KlineService
from app.alerts.build import build_alerts
from app.descriptors import Descriptors
from app.entries import EntryReader, Subscribe
from app.exits import Exit
from app.faults import FaultLog
from app.figures import Figures
from app.first_light import FirstLight, Plan, StatusSentence, log_plan, log_source
from app.health import Health, health_routes
from app.market_api import ServedExchange
from app.metrics_route import metrics_routes
from app.options import (
    endpoints,
    feed_options,
    kinds_of,
    kline_options,
    output_options,
    rest_of,
    stream_options,
    symbol_rules,
    trade_rules,
)
from app.outages import Outages, named
from app.page.parts import Page
from app.passed_streams import PassedStreams
from app.pipeline import KlineFanout, Pipeline, Pipelines, TakeMarker, one_by_one
from app.process import build_or_every_error, exit_of_stop
from app.venue_checks import check_settings, depth_of, has_markets
from callbacks.payload import PayloadCallback
from callbacks.redundancy import RedundantTrades
from conf.coins import CoinsFile
from conf.settings import Settings
from consumers.record_decoder import RecordDecoder
from consumers.redis.checkpoint.load import published_without_redis
from consumers.service import OutputService
from exchanges.clock import ClockSampler, MarketDecoder
from exchanges.contract import Venue
from exchanges.registry import VENUES
from exchanges.rest import ExchangeRest
from exchanges.universe.follower import Choice, follow_symbols
from model.clock import now_ms
from model.context import current
from model.dialect import passed_on
from model.events import EventFanout
from model.pacing import ThrottledLogger
from model.ports import Callback, CandleStore, Depth, Dial, Feed, PayloadSink, ReadRoundListener, Symbols
from model.records import Kind
from model.wake import ReadRound
from network.report import describe_network
from streams import (
    DescriptorBudget,
    DesiredStream,
    MarketFeed,
    NamedEvents,
    Reader,
    StreamRequest,
    StreamService,
    Target,
)
from streams.shard import Shard

if TYPE_CHECKING:
    from app.alerts.service import AlertService

NONE_LISTED = "none is listed as the settings ask for"
UNREADABLE = "what the exchange lists cannot be read, and that is needed here"
AWAITED = "Waiting for what the exchange lists, a minute at most: nothing can be collected without it."
LISTING_SOON_S = 2.0  # the answer of a listing comes sooner, where it comes
STREAMS_SHARE, AGGREGATOR_SHARE = 0.4, 0.6  # of the stop deadline: when they must be done; the outputs have the rest

log = structlog.get_logger()


class Collector:
    """All packages, joined for one run. Raises ValueError with every mistake at once; starts nothing before `start`."""

    def __init__(
        self,
        settings: Settings,
        streams: list[dict[str, Any]],
        subscribe: Subscribe,
        venue: Venue | None = None,
        make_feed: Callable[..., Feed] = MarketFeed,
    ) -> None:
        """`subscribe`: the function of each kind, by which entries of `streams` are read and made.

        `venue` takes the place of the exchange that `settings` name, `make_feed` that of what streams a market.
        """
        self._make_feed = make_feed
        self._logger = ThrottledLogger(log)
        self.settings = settings
        self._subscribe = subscribe
        self._venue = venue or VENUES[settings.exchange]
        self._followed: Choice = {}
        self._traded: set[tuple[str, str]] = set()  # markets and symbols of trades
        self._brought: set[tuple[str, str]] = set()  # and of any kind
        self.faults = FaultLog()
        self.health, self.figures, self.outages = Health(self), Figures(), Outages()
        self.first_light = FirstLight(self._messages, self._klines_closed)
        self._status_sentence = StatusSentence()
        self.events = EventFanout(self.figures.events, self.first_light)
        self.alerts: AlertService | None = None
        self.store: CandleStore | None = None
        self.page = Page(self, self._venue)
        self.served = ServedExchange(self, self._venue, self._contract_size)
        self.passed = PassedStreams(settings, self._venue, self._dial, self._put_passed, self._lose_passed)
        coins = CoinsFile(*settings.coins_paths)
        read_coins = (coins.load,) if not settings.load_all_symbols else ()
        check_venue = functools.partial(check_settings, settings, self._venue)
        if not has_markets(settings, self._venue):  # nothing else can be looked at
            build_or_every_error(check_venue, *read_coins)
        self.descriptors = Descriptors()
        self._entries = EntryReader(settings, self._venue, subscribe, self.faults.report)
        checks = (check_venue, *read_coins, lambda: self._entries.check(streams), self._entries.check_network)
        self.outputs = build_or_every_error(self._build_outputs, self._build_alerts, *checks)
        self.store = store = self.outputs.manager.candle_store
        if store:
            store.on_commit(self.served.awaited.stored)
        self.events.add(self.outputs)
        self.events.add(self.page.hub)
        self._rest_of = rest_of(settings, self._venue)
        self.rest = ExchangeRest(self._rest_of, settings.markets, self.faults.report, outages=self.outages)
        self.klines = self._build_klines() if settings.enable_klines_stream else None
        self.decoder = self._build_decoder()
        self.pipelines = Pipelines(self._build_pipeline, settings.channel_type)
        self.is_running = True
        self._problem: Exit | None = None
        self.streams = self._build_streams(streams)
        rules = symbol_rules(settings, self._venue)
        self.symbols = follow_symbols(self._rest_of, settings.markets, rules, coins, self.events, self.outages)
        self._entries.resolve = self.symbols.resolve
        self.follow(self.symbols.choice)
        self._network = describe_network([*self._entries.addresses(), *([self.rest.url] if settings.has_rest else [])])

    # -- for the threads of streams and of users: a model.context.RunningCollector ----------------------------

    def subscribe(self, kind: Kind, symbols: Symbols, callback: Callback, market: str | None, depth: Depth) -> None:
        """Stream a kind of some symbols to `callback` on the calling thread, until the connection ends."""
        request = StreamRequest(kind, symbols, callback, market, depth, self._entries.read_topic)
        request = self._entries.narrowed(request)
        if request.kind != "topics":
            self.symbols.include(self._entries.market_of(request), request.symbols, current().stop)
        self.streams.run(self._entries.resolved(request))

    def pipeline(self, market: str | None, kind: str) -> PayloadSink:
        """Return what takes payloads of a market (None: CHANNEL_TYPE) and kind."""
        return self.pipelines.of(market, kind)

    def report(self, cause: str, sample: bytes) -> None:
        """Count a fault."""
        self.faults.report(cause, sample)

    # -- the main thread --------------------------------------------------------------------------------------

    def choose_symbols(self, stop: threading.Event | None = None) -> Exit | None:
        """Read the exchange's listing and choose the symbols to stream; an exit code where there are none."""
        self.symbols.start()
        return self._await_symbols(stop)

    def _await_symbols(self, stop: threading.Event | None) -> Exit | None:
        is_known = self.symbols.wait(limit_s=LISTING_SOON_S, stop=stop)
        if not is_known and self.symbols.needs_listing and not (stop and stop.is_set()):
            log.info("symbols_awaited", sentence=AWAITED)
            is_known = self.symbols.wait(stop=stop)
        self.follow(self.symbols.choice)
        is_lacking = not is_known and self.symbols.needs_listing
        if (stop and stop.is_set()) or (any(self.symbols.choice.values()) and not is_lacking):
            return None
        problem, why = NONE_LISTED if is_known else UNREADABLE, None if is_known else self.outages.newest
        because = f": {why.meaning}. What to do: {why.remedy}" if why else ""
        sentence = f"Nothing can be collected: {problem}{because}."
        log.critical("no_symbols", sentence=sentence, problem=problem, cause=why and why.cause)
        return Exit.SETTINGS if is_known else Exit.OUTPUT_UNREACHABLE

    @property
    def plan(self) -> Plan:
        """What a start will do with the symbols that are chosen."""
        return Plan.of(self.settings, self._venue, self._followed)

    def start(self, stop: threading.Event | None = None) -> Exit | None:
        """Start outputs first, then streams; an exit code where a part cannot start.

        `stop` ends every wait but that for the exchange's time, which is short.
        What takes round trips to the exchange is under way side by side: listing and time, then time and connections.
        """
        log_source(self.settings.exchange, **self._network, is_testnet=self.settings.use_testnet)
        self.symbols.start()
        if self.klines and self.klines.repairer:
            self.rest.begin_clock()
        self.outputs.start_web()
        if problem := self._await_symbols(stop):
            return problem
        self.first_light.expect(self.plan.classes)
        if not (stop and stop.is_set()):
            log_plan(self.plan, now_ms())
        self.descriptors.plan(self.streams.count, self.settings.websocket_clients)
        if self.alerts:
            self.alerts.start()
        if not self.outputs.open():
            return Exit.OUTPUT_UNREACHABLE
        self._backfill()
        if not self.outputs.start(stop):
            return Exit.OUTPUT_UNREACHABLE
        if self.decoder:
            self.decoder.start()
        try:
            self.streams.supervisor.start()
        except ValueError as error:
            log.critical("streams_wrong", problem=str(error))
            return Exit.SETTINGS
        if self.klines:
            self.klines.start()  # after the streams: it waits for the exchange's time, and trades wait in its queue
        self._observe(self.health.tick)
        gc.freeze()  # what lives as long as the process need not be looked through again and again
        return None

    def tick(self) -> Exit | None:
        """Follow STREAMS and the listing, revive streams; an exit code where a part is lost that the process needs."""
        alerts = (self.alerts.tick,) if self.alerts else ()
        for look in (self.health.tick, *alerts, self.first_light.tick, self.outages.tick, self.passed.tick):
            self._observe(look)
        self._problem = self._look_after()
        return self._problem

    def _observe(self, look: Callable[[], object]) -> None:
        """Call a part that watches the collection and takes no part in it: a mistake of its own must not end that."""
        try:
            look()
        except Exception:
            self._logger.exception("observer_failed")

    def _look_after(self) -> Exit | None:
        if (choice := self.symbols.take()) is not None:
            self.follow(choice)
        if self.streams.tick():
            self._retire()
        if not self.outputs.tick():
            return Exit.OUTPUT_UNREACHABLE
        if (problem := lost_thread(self.threads())) or self.streams.supervisor.unrevivable:
            return problem or Exit.THREAD_LOST
        if given_up := self.streams.supervisor.gave_up:
            attempts = self.settings.reconnect_max_attempts
            sentence = f"Given up after {attempts} attempts more, as RECONNECT_MAX_ATTEMPTS says: {named(given_up)}."
            log.critical("streams_given_up", sentence=sentence, streams=given_up, attempts=attempts)
            self.log_status()
            return Exit.STREAM_GIVEN_UP
        return None

    def threads(self) -> list[threading.Thread]:
        """Return the threads that must live; the streams' are revived instead."""
        owners = (self.outputs, self.klines, self.decoder, self.symbols, self.alerts)
        return [thread for owner in owners if owner for thread in owner.threads()]

    @property
    def followed(self) -> Choice:
        """The symbols by market that the settings choose; replaced where it changes."""
        return self._followed

    @property
    def collected(self) -> set[tuple[str, str]]:
        """The markets and symbols that are streamed at all; replaced where it changes."""
        return self._brought

    @property
    def traded(self) -> set[tuple[str, str]]:
        """The markets and symbols of which trades are collected; not to be changed."""
        return self._traded

    def is_steady(self, market: str, kind: str) -> bool:
        """Return whether data of a kind always comes, of any listed symbol, within SILENCE_TIMEOUT. Any thread."""
        protocol = self._venue.protocol(market, endpoints(self.settings, market))
        symbols = [symbol for each, symbol in self._brought if each == market]
        one = cast(Kind, kind)
        topics = protocol.topics(one, symbols[:1], depth_of(self.settings, self._venue)) if symbols else []
        return protocol.frames(one, topics).is_steady

    def stop(self) -> Exit:
        """Stop streams first, then drain the aggregator, then flush the outputs, under one deadline."""
        begin_s, limit_s = time.monotonic(), self.settings.stop_timeout
        streams_by_s, aggregator_by_s = begin_s + limit_s * STREAMS_SHARE, begin_s + limit_s * AGGREGATOR_SHARE
        if alerts := self.alerts:
            self._observe(lambda: alerts.begin_stop(self._problem.reason if self._problem else None))
        self.rest.stop()
        self.symbols.stop()
        self.page.stop()
        self.served.stop()
        self.passed.stop()
        alive = self.streams.stop(limit_s * STREAMS_SHARE)
        alive += self.klines.stop(streams_by_s, aggregator_by_s) if self.klines else []
        alive += ["envelopes"] if self.decoder and not self.decoder.stop(aggregator_by_s) else []
        alive += self.outputs.stop(aggregator_by_s, begin_s + limit_s)
        if self.alerts:
            self.alerts.join(begin_s + limit_s)
        self.is_running = False
        self.faults.flush()
        return exit_of_stop(alive, limit_s)

    def log_status(self) -> None:
        """Log one line with the figures of all parts."""
        self.faults.flush()
        status = self.status()
        log.info("status", sentence=self._status_sentence.of(status), **status)

    def status(self) -> dict[str, Any]:
        """Return the figures of all parts as fields of a log line; any thread."""
        return {
            "symbols": {market: len(symbols) for market, symbols in self._followed.items()},
            **self.streams.stats(),
            "faults": self.faults.counts(),
            **self.outputs.stats(),
            "envelopes": self.decoder.stats() if self.decoder else None,
            **({"passed_on": self.passed.count} if self.passed.count else {}),
            **({"alerts": self.alerts.stats()} if self.alerts else {}),
            **(self.klines.stats() if self.klines else {}),
        }

    def _messages(self) -> dict[str, int]:
        return {stream.name: stream.messages for stream in self.streams.supervisor.status()}

    def _klines_closed(self) -> int:
        return self.klines.aggregator.stats()["klines"] if self.klines else 0

    def live_status(self) -> dict[str, Any]:
        """Return `status` and each stream's own figures, for the table on a terminal."""
        streams = self.streams.supervisor.status()
        return {**self.status(), "each_stream": [dataclasses.asdict(stream) for stream in streams]}

    def follow(self, choice: Choice) -> None:
        """Stream the chosen symbols from now on, as far as this shard owns them."""
        owns = self.streams.shard.owns
        self._followed = {market: tuple(filter(owns, symbols)) for market, symbols in choice.items()}
        self.streams.reconcile(self._wanted())
        self._retire()

    def _retire(self) -> None:
        """Drop the klines and stored records of symbols that neither the settings nor an entry brings any more."""
        traded, self._traded = self._traded, self.streams.collected()
        if klines := self.klines:
            for market, went, came in _changes(traded, self._traded):
                klines.drop_symbols(market, went, came)
        brought, self._brought = self._brought, self.streams.collected(None)
        for market, went, came in _changes(brought, self._brought):
            self.outputs.manager.change_stored_symbols(market, went, came)

    def _wanted(self) -> Iterator[DesiredStream]:
        """Yield the streams of the settings: markets x kinds x symbols."""
        settings, trade_keys = self.settings, self._venue.trade_keys
        combine = functools.partial(RedundantTrades, keys=trade_keys) if trade_keys else None
        for market, symbols in self._followed.items():
            for kind in kinds_of(settings, self._venue.markets[market]):
                redundant = self._redundant(market, symbols) if kind == "trades" else frozenset()
                pipeline = self.pipelines.of(market, kind, is_planned=True)
                yield DesiredStream(kind, market, self._subscribe[kind], pipeline, symbols, redundant, combine)

    def _redundant(self, market: str, symbols: tuple[str, ...]) -> frozenset[str]:
        """Return which of some symbols come over two connections: REDUNDANT_SYMBOLS are names as SYMBOLS are."""
        chosen = (self.settings.redundant_symbols or ()) if self.settings.has_redundancy else ()
        return frozenset(symbols if "ALL" in chosen else {*symbols} & {*self._entries.resolve(market, chosen)})

    def _backfill(self) -> None:
        """Backfill klines since the end of what an earlier run published."""
        if self.klines is None:
            return
        redis, collected = self.outputs.manager.redis, self.streams.collected()
        store = self.outputs.manager.read_earlier_store()
        if redis:
            markets = {*self.settings.markets, *(market for market, _ in collected)}
            self.klines.resume(redis.load_checkpoint(markets, store), collected)
        elif store:
            self.klines.resume(published_without_redis(store, now_ms()), collected)

    # -- building the parts -----------------------------------------------------------------------------------

    def _build_outputs(self) -> OutputService:
        owns = Shard.parse(self.settings.shard).owns if self.settings.shard_name else None
        options = output_options(
            self.settings,
            owns=owns,
            symbols=lambda market: self._followed.get(market, ()),
            status=self.live_status,
            pair_of=lambda market, symbol: self.symbols.pair_of(market, symbol),
            descriptors=lambda: self.descriptors.for_clients,
            contract_sizes=self._contract_size,
            pass_on=self.passed.want,
            has_store=True,
            web=self.page.parts(
                {**health_routes(self.health), **metrics_routes(self, self), **self.served.routes()},
                self.served.awaited,
            ),
        )
        self.served.dialect = options.consumers.websocket.dialect
        return OutputService(options, events=self.events)

    def _dial(self) -> Dial:
        return self.streams.dial  # made after those that ask

    def _put_passed(self, market: str) -> Callable[[bytes], object]:
        """Return what hands payloads of streams that are passed on to the exchange's own protocol, as it is served."""
        bridge = self.outputs.raw_bridge
        assert bridge is not None  # only its clients want any
        put = bridge.sink(passed_on(market), "topics")
        return lambda payload: put((payload,))

    def _lose_passed(self, market: str, topics: Sequence[str]) -> None:
        if bridge := self.outputs.raw_bridge:
            bridge.lose(passed_on(market), topics)

    def _contract_size(self, market: str, symbol: str) -> Decimal | None:
        return self.symbols.contract_size(market, symbol)  # made after those that ask

    def _build_alerts(self) -> None:
        if (alerts := build_alerts(self.settings, self)) is not None:
            self.alerts = alerts
            self.events.add(alerts)

    def _build_streams(self, streams: list[dict[str, Any]]) -> StreamService:
        publisher = self.outputs.manager.redis
        options = stream_options(self.settings, self._venue)
        # What a round of reads brought goes to Redis at once, on the reader's thread; the other threads wait meanwhile.
        listeners: list[ReadRoundListener] = [publisher] if publisher else []
        reads = self.klines.aggregator.reads if self.klines else ReadRound()
        if publisher:
            publisher.reads = reads
        return StreamService(
            streams,
            options,
            self._build_feed,
            self._entries.request_of,
            self._target_of,
            reader=Reader(listeners, reads=reads),
            collector=self,
            events=self.events,
            outages=self.outages,
            descriptors=DescriptorBudget(lambda: self.descriptors.for_streams),
        )

    def _build_feed(self, market: str, dial: Dial) -> Feed:
        return self._make_feed(
            self._venue.protocol(market, endpoints(self.settings, market)),
            feed_options(self.settings),
            dial=dial,
            report=self.faults.report,
            events=NamedEvents(self.events),
            observe=self.rest.clock.observe,
            trade_keys=self._venue.trade_keys,
            relisted=lambda: self.symbols.reread(),  # made after this
        )

    def _target_of(self, request: StreamRequest) -> Target:
        """Return where a request's payloads go: to the pipeline of its market where the callback is a `handle_*`."""
        market, callback = self._entries.market_of(request), request.callback
        if isinstance(callback, PayloadCallback):
            return Target(market, self.pipelines.of(market, callback.kind), is_channel=True)
        return Target(market, callback, is_channel=isinstance(callback, Pipeline | RedundantTrades))

    def _build_klines(self) -> KlineService:
        settings, report, clock = self.settings, self.faults.report, self.rest.clock
        taken = KlineFanout(self.outputs, self.alerts) if self.alerts else self.outputs
        decode, outputs = self.figures.of_klines(
            ClockSampler(self._decoder_of, clock.observe), taken, clock.now_ms, settings.kline_intervals
        )
        service = KlineService(
            kline_options(settings, self._venue),
            decode,
            outputs,
            self.rest,
            report=report,
            contract_sizes=self._contract_size,
            events=self.events,
            audit_results=self.outputs.record_audit,
        )
        if takers := self.outputs.open_kline_takers(service.aggregator.hurry):
            wanted, offer, is_asked = takers
            every_s = settings.websocket_open_klines_interval
            service.aggregator.share_open_klines(wanted, offer, every_s, is_asked)
        return service

    def _decoder_of(self, market: str) -> MarketDecoder:
        """Return how the trades of a market are decoded, and how the time of their message is found."""
        protocol = self._venue.protocol(market, endpoints(self.settings, market))
        decode = self._venue.decoder(market, trade_rules(self.settings), self.faults.report)
        return MarketDecoder(decode, protocol.frames("trades", ()).sent)

    def _build_decoder(self) -> RecordDecoder | None:
        """Build the decoder of payloads to records, where any are sent or stored."""
        types = {*self.settings.envelope_types, *self.settings.stored_types}
        read, report, send = self._venue.reader, self.faults.report, self.outputs.send_records
        return RecordDecoder(lambda market, kind: read(market, kind, report, types), send) if types else None

    def _build_pipeline(self, market: str, kind: str, is_planned: bool) -> Pipeline:
        """Join what takes payloads of a market and kind: raw channel first, the aggregator last."""
        is_raw = not is_planned or kind in self.settings.raw_streams
        takers = self.outputs.takers(market, kind, is_raw=is_raw)
        marker_takers: list[TakeMarker] = []
        if decode := self.decoder.sink(market, kind) if self.decoder else None:
            takers.append(one_by_one(decode))
            marker_takers += [decode] if kind == "ticker" else []
        if kind == "trades" and self.klines and self._venue.markets[market].klines:
            takers.append(self.klines.queue_for(market))
            marker_takers.append(self.klines.mark)
        return Pipeline(market, kind, [each for each in takers if each], marker_takers)


def _changes(before: set[tuple[str, str]], now: set[tuple[str, str]]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield market, symbols that went and symbols that came; nothing at the start, where there were none before."""
    for market in sorted({market for market, _ in before ^ now}) if before else ():
        went, came = (
            sorted(symbol for each, symbol in some if each == market) for some in (before - now, now - before)
        )
        yield market, went, came


def lost_thread(threads: list[threading.Thread]) -> Exit | None:
    """Return an exit code where a thread has ended: a process that lived on without it would only look alive."""
    if dead := [thread.name for thread in threads if thread.ident is not None and not thread.is_alive()]:
        log.critical("threads_lost", threads=dead)
    return Exit.THREAD_LOST if dead else None
