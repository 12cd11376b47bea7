"""The collector: what to stream, and how the rooms are joined.

`python main.py` runs it; a script of your own may import STREAMS, append to it and call `run()`. The main thread
starts the others, watches them, and stops them in order. No payload passes through here.
"""

import dataclasses
import functools
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import structlog

from aggregation.audit_cli import Defaults, run_audit
from aggregation.kline import Kline
from aggregation.service import KlineOptions, KlineService, compared_fields
from aggregation.table import Trades
from callbacks.envelopes import EnvelopeTap
from callbacks.liquidations import handle_liquidations
from callbacks.merge import MergedTrades
from callbacks.orderbook import handle_orderbook, handle_spot_orderbook
from callbacks.payload import PayloadCallback
from callbacks.status import StatusTeller
from callbacks.taps import together
from callbacks.ticker import TickerCallback, handle_spot_ticker, handle_ticker
from callbacks.trades import TradesCallback, handle_spot_trades, handle_trades
from conf.coins import CoinsFile
from conf.commands import AUDIT, RELAY, wants_dry_run
from conf.exits import Exit
from conf.faults import FaultLog
from conf.logs import configure_logging
from conf.settings import Settings, load_settings
from conf.signals import stop_on_signals
from consumers.channels import raw_channel, status_channel
from consumers.embedded import EmbeddedServer, start_embedded
from consumers.envelope import Envelope
from consumers.manager import ConsumerManager, ConsumerSettingsError
from consumers.options import consumer_options, recorder_options
from consumers.recorder import RawRecorder
from consumers.relay import Relay
from consumers.wss.tap import RawTap
from exchanges.contract import Dial, Feed, HistoryError, Kind, Marker
from exchanges.following import Choice, changes_of
from exchanges.hearing import hearing
from exchanges.venues import VENUES
from streams import Connects, Reader, StreamOptions, StreamService, Want, current
from streams.shard import Shard

SYMBOLS_WAIT_S = 60.0  # for all that the exchange lists: a run without symbols would look like a quiet market
NAMES_WAIT_S = 2.0  # for a list of coins to be checked; where that takes longer, the exchange refuses what it lacks
TICK_S = 0.25  # how often the list is read again and the threads are looked at
KLINES_PER_ENVELOPE = 100  # a message of 30 kB; a boundary of the whole market is many, none of them huge
STREAMS_SHARE, AGGREGATOR_SHARE = 0.4, 0.6  # of the stop deadline: when they must be done; the outputs have the rest
REQUIRED_OUTPUTS = {"websocket", "file", "parquet"}  # a port or folder not there now is a mistake; Redis may come back

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

    Blocks until the connection ends; meant as the "func" of a STREAMS entry. `market` is linear, inverse or
    spot; None is CHANNEL_TYPE.
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


# -- which function and which callback serve a kind -----------------------------------------------------------

SUBSCRIBE: dict[Kind, Callable[..., None]] = {
    "trades": subscribe_trades,
    "orderbook": subscribe_orderbook,
    "ticker": subscribe_ticker,
    "liquidations": subscribe_liquidations,
    "topics": subscribe_topics,
}
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


# -- the collector --------------------------------------------------------------------------------------------


class Collector:
    """All rooms, joined for one run. Raises ValueError with every mistake at once; starts nothing before `start`."""

    def __init__(self, settings: Settings, streams: list[dict[str, Any]]) -> None:
        self._settings = settings
        self._venue = VENUES[settings.exchange]
        self.faults = FaultLog()
        owns = Shard.parse(settings.shard).owns if settings.shard != "1/1" else None
        self._followed: Choice = {}
        speaks_bybit = settings.websocket_bybit_paths != "off" and "websocket" in settings.outputs
        self.raw_tap = RawTap() if speaks_bybit else None
        options = consumer_options(
            settings, owns, self.raw_tap, lambda market: self._followed.get(market, ()), status=self.live_status
        )
        self.consumers = ConsumerManager(settings.outputs, options)
        self._tell = self._build_teller()
        self.recorder = self._build_recorder() if settings.raw_record else None
        self.memory = self._venue.memory(settings, self.faults.report)
        self.klines = self._build_klines() if settings.enable_klines_stream else None
        self._embedded: EmbeddedServer | None = None
        self.tap = self._build_tap()
        self._bind_callbacks()
        self.streams = self._build_streams(streams)
        self.symbols = self._venue.follower(settings, CoinsFile(settings.coins_file))
        self._follow(self.symbols.choice)

    def choose_symbols(self, stop: threading.Event | None = None) -> Exit | None:
        """Learn from the exchange what is to be streamed; an exit code where that is nothing."""
        self.symbols.start()
        is_known = self.symbols.wait(SYMBOLS_WAIT_S if self._settings.load_all_symbols else NAMES_WAIT_S, stop)
        self._follow(self.symbols.choice)
        if (stop and stop.is_set()) or any(self.symbols.choice.values()):
            return None
        problem = "none is listed as the settings ask for" if is_known else "what the exchange lists cannot be read"
        log.critical("no_symbols", problem=problem)
        return Exit.SETTINGS if is_known else Exit.OUTPUT_UNREACHABLE

    def start(self, stop: threading.Event | None = None) -> Exit | None:
        """Start outputs first, streams last; an exit code where that cannot be. `stop` ends the wait for symbols."""
        if problem := self.choose_symbols(stop):
            return problem
        try:
            self._embedded = start_embedded(self._settings) if self._settings.uses_redis else None
        except RuntimeError as error:
            log.critical("embedded_server_failed", error=str(error))
            return Exit.OUTPUT_UNREACHABLE
        self._resume()
        unreachable = self.consumers.start()
        if unreachable:
            log.critical("outputs_unreachable", outputs=unreachable)
        if REQUIRED_OUTPUTS & unreachable.keys():
            return Exit.OUTPUT_UNREACHABLE
        if self.recorder:
            self.recorder.start()
        if self.klines:
            self.klines.start()
        if self.tap:
            self.tap.start()
        try:
            self.streams.supervisor.start()
        except ValueError as error:
            log.critical("streams_wrong", problem=str(error))
            return Exit.SETTINGS
        gc.freeze()  # what lives as long as the process need not be looked through again and again
        return None

    def tick(self) -> Exit | None:
        """Follow STREAMS, revive what died; an exit code where a thread cannot be kept alive."""
        if (choice := self.symbols.take()) is not None:
            self._follow(choice)
        self.streams.supervisor.tick()
        if self.klines and not self.klines.is_alive():
            log.critical("aggregator_lost")
            return Exit.THREAD_LOST
        return Exit.THREAD_LOST if self.streams.supervisor.unrevivable else None

    def stop(self) -> Exit:
        """Streams first, then the aggregator drained, then outputs flushed, under one deadline."""
        begin_s, limit_s = time.monotonic(), self._settings.stop_timeout
        self.memory.stop()
        self.symbols.stop()
        alive = self.streams.stop(limit_s * STREAMS_SHARE)
        if self.klines:
            alive += self.klines.stop(begin_s + limit_s * STREAMS_SHARE, begin_s + limit_s * AGGREGATOR_SHARE)
        if self.tap and not self.tap.stop(begin_s + limit_s * AGGREGATOR_SHARE):
            alive.append("envelopes")
        if self.recorder and not self.recorder.stop(begin_s + limit_s * AGGREGATOR_SHARE):
            alive.append("recorder")
        alive += self.consumers.stop(begin_s + limit_s)
        self._unbind_callbacks()
        if self._embedded:
            self._embedded.stop()
        self.faults.flush()
        if alive:
            log.error("stop_deadline_passed", threads=alive, limit_s=limit_s)
        return Exit.STOP_DEADLINE if alive else Exit.ASKED

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
            "consumers": {name: dataclasses.asdict(stats) for name, stats in self.consumers.stats().items()},
            "envelopes": self.tap.stats() if self.tap else None,
            "recorder": self.recorder.stats() if self.recorder else None,
            **(self.klines.stats() if self.klines else {}),
        }

    def live_status(self) -> dict[str, Any]:
        """The same and each stream's own figures, for the table on a terminal."""
        streams = self.streams.supervisor.status()
        return {**self.status(), "each_stream": [dataclasses.asdict(stream) for stream in streams]}

    def _follow(self, choice: Choice) -> None:
        """Stream these symbols from now on, as far as they are this process's."""
        before, owns = self._followed, self.streams.shard.owns
        self._followed = {market: tuple(filter(owns, symbols)) for market, symbols in choice.items()}
        self.streams.follow(self._wanted())
        for market in self._settings.markets if before else ():
            came, went = changes_of(before.get(market, ()), self._followed[market])
            if self.klines and (came or went):
                self.klines.retire(market, went, came)
            for word, symbols in (("gone", went), ("came", came)):
                self._store(market, word, [{"symbol": symbol} for symbol in symbols])

    # -- joining the rooms ------------------------------------------------------------------------------------

    def _build_streams(self, streams: list[dict[str, Any]]) -> StreamService:
        settings, venue, publisher = self._settings, self._venue, self.consumers.redis
        options = StreamOptions.of(settings, Connects(venue.connects, venue.connects_per_s))
        # What a round of reading brought goes to Redis at once, on the reader's thread.
        reader = Reader(publisher.hold, publisher.send_waiting) if publisher else Reader()
        kinds = {function: kind for kind, function in SUBSCRIBE.items()}
        return StreamService(streams, options, self._build_feed, kinds, reader=reader, tell=self._tell)

    def _build_feed(self, market: str, dial: Dial) -> Feed:
        settings = self._settings
        return self._venue.feed(
            market,
            dial=dial,
            report=self.faults.report,
            tell=lambda event, **fields: self._tell(event, stream=current().name, **fields),
            url=settings.public_ws_url(market),
            testnet=settings.use_testnet,
            ping_interval_s=settings.ping_interval,
            silence_timeout_s=settings.silence_timeout,
            watch_topics=settings.orderbook_check,
            watch_trades=settings.orderbook_check and "ticker" in settings.raw_streams,
        )

    def _build_teller(self) -> StatusTeller:
        """What tells downstream of changes; without redis it tells nobody."""
        exchange, publisher = self._settings.exchange, self.consumers.redis
        if publisher is None:
            return StatusTeller(exchange, lambda _payload: None)
        teller = StatusTeller(exchange, functools.partial(publisher.publish_raw, status_channel(exchange).encode()))
        self.consumers.tell_changes(teller)
        return teller

    def _build_recorder(self) -> RawRecorder:
        recorder = RawRecorder(recorder_options(self._settings))
        recorder.tell_changes(self._tell)
        return recorder

    def _build_klines(self) -> KlineService:
        settings, report = self._settings, self.faults.report
        which = {"count_block_trades": settings.count_block_trades, "count_rpi_trades": settings.count_rpi_trades}
        decode = hearing(self._venue.decoder(**which), self.memory.clock.observe)
        service = KlineService(
            KlineOptions.of(settings),
            lambda payloads: Trades(*decode(payloads, report)),
            self._send_klines,
            self.memory,
            report=report,
            tell=self._tell,
        )
        if tap := self.raw_tap:
            service.show_open(lambda: tap.has_listeners, tap.offer_open, settings.websocket_open_klines_interval)
        return service

    def _resume(self) -> None:
        """Where an earlier run published klines, go on from there."""
        if self.consumers.redis and self.klines:
            known = self.consumers.redis.load_published(self._settings.markets)
            followed = {symbol for symbols in self._followed.values() for symbol in symbols}
            self.klines.resume(known, followed, self.consumers.redis.recent)

    def _send_klines(self, market: str, klines: Sequence[Kline]) -> None:
        for first in range(0, len(klines), KLINES_PER_ENVELOPE):
            batch = tuple(klines[first : first + KLINES_PER_ENVELOPE])
            self.consumers.publish(Envelope(self._settings.exchange, market, "klines", batch))

    def _build_tap(self) -> EnvelopeTap | None:
        """What makes envelopes of payloads, where any are sent or stored."""
        types = {*self._settings.envelope_types, *self._settings.stored_types}
        read, report = self._venue.reader, self.faults.report
        return EnvelopeTap(lambda _market, kind: read(kind, report, types), self._send_records) if types else None

    def _send_records(self, market: str, data_type: str, records: Sequence[Any]) -> None:
        if data_type in self._settings.envelope_types:
            self.consumers.publish(Envelope(self._settings.exchange, market, data_type, tuple(records)))
        else:
            self._store(market, data_type, records)

    def _store(self, market: str, data_type: str, records: Sequence[Any]) -> None:
        if records:
            self.consumers.store(Envelope(self._settings.exchange, market, data_type, tuple(records)))

    def _bind_callbacks(self) -> None:
        for callback in (*MAIN_CALLBACKS.values(), *SPOT_CALLBACKS.values()):
            market = callback.market or self._settings.channel_type
            tap = self.tap.sink(market, callback.kind) if self.tap else None
            record = self.recorder.sink(market, callback.kind) if self.recorder else None
            takers = (self._raw_publisher(callback), self._history_adder(callback), self._raw_sink(callback))
            callback.bind(together([*takers, record, tap]))
            if tap and isinstance(callback, TickerCallback):
                callback.bind_mark(tap)
            if isinstance(callback, TradesCallback) and self.klines and (put := self.klines.put_into(market)):
                callback.bind_aggregator(put, functools.partial(self._mark, market))

    def _mark(self, market: str, marker: Marker) -> None:
        assert self.klines is not None
        self.klines.mark(market, marker.kind, marker.symbols, marker.at_ms)

    def _raw_publisher(self, callback: PayloadCallback) -> Callback | None:
        if self.consumers.redis is None or callback.kind not in self._settings.raw_streams:
            return None
        channel = raw_channel(self._settings.exchange, callback.kind, callback.market)
        return functools.partial(self.consumers.redis.publish_raw, channel.encode())

    def _raw_sink(self, callback: PayloadCallback) -> Callback | None:
        """What takes payloads for the WSS paths that speak Bybit."""
        if self.raw_tap is None or callback.kind not in self._settings.raw_streams:
            return None
        return self.raw_tap.sink(callback.market or self._settings.channel_type, callback.kind)

    def _history_adder(self, callback: PayloadCallback) -> Callback | None:
        if self.consumers.history is None or callback.kind not in self._settings.history_kinds:
            return None
        channel = raw_channel(self._settings.exchange, callback.kind, callback.market)
        return functools.partial(self.consumers.history.add_raw, channel.encode())

    @staticmethod
    def _unbind_callbacks() -> None:
        for callback in (*MAIN_CALLBACKS.values(), *SPOT_CALLBACKS.values()):
            callback.unbind()

    def _wanted(self) -> Iterator[Want]:
        """What the settings ask for: markets x kinds x symbols."""
        settings = self._settings
        types = {*settings.envelope_types, *settings.stored_types}
        needed = [*settings.raw_streams, *settings.history_kinds, *settings.recorded_kinds]
        needed += ["trades"] if self.klines or "trades" in types else []
        needed += ["ticker"] if types & {"ticker", "price"} else []
        kinds = tuple(dict.fromkeys(needed))
        for market in settings.markets:
            callbacks = MAIN_CALLBACKS if market == settings.channel_type else SPOT_CALLBACKS
            for kind in kinds:
                if kind in callbacks and not (market == "spot" and kind == "liquidations"):
                    yield self._want(kind, market, callbacks[kind])

    def _want(self, kind: Kind, market: str, callback: PayloadCallback) -> Want:
        symbols, chosen = self._followed[market], self._settings.redundant_symbols or ()
        is_doubled = self._settings.redundancy > 1 and kind == "trades"
        doubled = [symbol for symbol in symbols if is_doubled and (symbol in chosen or "ALL" in chosen)]
        return Want(kind, market, SUBSCRIBE[kind], callback, symbols, frozenset(doubled), MergedTrades)


_collector: Collector | None = None


def _stream(kind: Kind, symbols: Symbols, callback: Callback, market: str | None, depth: int | None = None) -> None:
    if _collector is None:
        raise RuntimeError(f"subscribe_{kind} needs a running collector: put it in a STREAMS entry and call run()")
    _collector.streams.run(SUBSCRIBE[kind], symbols, callback, market, depth)


# -- running --------------------------------------------------------------------------------------------------


def run(settings: Settings | None = None) -> int:
    """Collect until asked to stop by SIGTERM or SIGINT; returns the exit code (conf.exits).

    `settings` None: from the environment and .env. Signals are heard only where this is the main thread.
    """
    global _collector
    try:
        settings = settings or load_settings()
        configure_logging(settings.log_level, settings.log_format, settings.log_file)
        _collector = collector = Collector(settings, STREAMS)
    except (ValueError, OSError) as error:
        return _refuse(error)
    for warning in settings.warnings:
        log.warning("setting_odd", **warning._asdict())
    with stop_on_signals() as stop:
        problem = collector.start(stop) or watch(collector, stop, settings.status_interval)
        code = problem or collector.stop()
        if problem:
            collector.stop()
    _collector = None
    log.info("ended", code=int(code), reason=code.reason)
    return int(code)


def watch(collector: Collector, stop: threading.Event, status_interval_s: float) -> Exit | None:
    """Tick until `stop` is set (None) or a thread is lost for good (its exit code)."""
    status_due_s = time.monotonic() + status_interval_s
    while not stop.wait(TICK_S):
        if problem := collector.tick():
            return problem
        if time.monotonic() >= status_due_s:
            collector.log_status()
            status_due_s += status_interval_s
    return None


def dry_run(settings: Settings | None = None) -> int:
    """Print what would be streamed and end; returns the exit code that a start would end with, 0 where it would run."""
    try:
        settings = settings or load_settings()
        configure_logging(settings.log_level, settings.log_format, settings.log_file)
        collector = Collector(settings, STREAMS)
    except (ValueError, OSError) as error:
        return _refuse(error)
    with stop_on_signals() as stop:
        code = int(collector.choose_symbols(stop) or Exit.ASKED)
    try:
        sys.stdout.write("" if code else collector.streams.text())
    except ValueError as error:
        code = _refuse(error)
    collector.stop()
    return code


def relay(settings: Settings | None = None) -> int:
    """Run the outputs but those in Redis, on what collectors publish there, until asked to stop; the exit code."""
    try:
        settings = settings or load_settings()
        configure_logging(settings.log_level, settings.log_format, settings.log_file)
        outputs = ConsumerManager(settings.relayed_outputs, consumer_options(settings))
    except (ValueError, OSError) as error:
        return _refuse(error)
    source = Relay(settings.redis_url, settings.exchange, settings.redis_main_key, outputs.publish)
    with stop_on_signals() as stop:
        unreachable = outputs.start()
        if REQUIRED_OUTPUTS & unreachable.keys():
            log.critical("outputs_unreachable", outputs=unreachable)
            return int(Exit.OUTPUT_UNREACHABLE)
        source.start()
        while not stop.wait(settings.status_interval):
            counts = {name: dataclasses.asdict(stats) for name, stats in outputs.stats().items()}
            log.info("status", relay=source.stats(), consumers=counts)
    begin_s, limit_s = time.monotonic(), settings.stop_timeout
    is_over = source.stop(begin_s + limit_s * STREAMS_SHARE)
    alive = outputs.stop(begin_s + limit_s)  # however it ends with the source: what they hold is to be written
    return int(Exit.ASKED if is_over and not alive else Exit.STOP_DEADLINE)


def audit(arguments: Sequence[str], settings: Settings | None = None) -> int:
    """Compare past klines with the exchange's own candles, as `main.py audit --help` says; returns the exit code."""
    try:
        settings = settings or load_settings()
    except ValueError as error:
        return _refuse(error)
    history = functools.partial(
        VENUES[settings.exchange].history, url=settings.bybit_rest_url, testnet=settings.use_testnet
    )
    path = settings.file_consumer_base_path / settings.exchange
    fields = compared_fields(prev_close_opens=settings.kline_open == "prev_close")
    return run_audit(arguments, Defaults(settings.channel_type, path, fields), history, HistoryError)


def _refuse(error: Exception) -> int:
    """Say on stderr, for a person, what is wrong with the settings."""
    lines = error.errors if isinstance(error, ConsumerSettingsError) else str(error).splitlines()
    sys.stderr.write("The settings are wrong:\n" + "".join(f"  {line}\n" for line in lines))
    return int(Exit.SETTINGS)


if __name__ == "__main__":
    sys.modules["main"] = sys.modules[__name__]  # whoever imports main finds this STREAMS, not a second one
    if sys.argv[1:2] == [AUDIT]:
        sys.exit(audit(sys.argv[2:]))
    if sys.argv[1:2] == [RELAY]:
        sys.exit(relay())
    sys.exit(dry_run() if wants_dry_run(sys.argv[1:]) else run())
