"""The collector: what to stream, and how the rooms are joined.

`python main.py` runs it; a script of your own may import STREAMS, append to it and call `run()`. The main thread
starts the others, watches them, and stops them in order. No payload passes through here.
"""

import functools
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, islice
from types import FrameType
from typing import Any

import structlog

from aggregation.aggregator import Aggregator
from aggregation.audit import Auditor
from aggregation.audit_cli import Defaults, run_audit
from aggregation.compare import FIELDS, FIELDS_WITHOUT_OPEN
from aggregation.intervals import parse_interval
from aggregation.kline import Kline
from aggregation.mailbox import CandleLike, Correction, FeedDown, FeedUp, Mailbox, Outage, Splice
from aggregation.repair import Repairer
from aggregation.resume import Resumption
from aggregation.table import Trades
from callbacks.liquidations import handle_liquidations
from callbacks.merge import MergedTrades
from callbacks.orderbook import handle_orderbook, handle_spot_orderbook
from callbacks.payload import PayloadCallback
from callbacks.status import StatusTeller
from callbacks.ticker import handle_spot_ticker, handle_ticker
from callbacks.trades import TradesCallback, handle_spot_trades, handle_trades
from conf.exits import Exit
from conf.faults import FaultLog
from conf.logs import configure_logging
from conf.settings import Settings, load_settings
from consumers.channels import raw_channel, status_channel
from consumers.embedded import EmbeddedServer, needs_embedded
from consumers.envelope import Envelope
from consumers.file import FileOptions
from consumers.manager import ConsumerManager, ConsumerOptions, ConsumerSettingsError
from consumers.published import PublishedOptions
from consumers.redis import RedisOptions
from consumers.websocket import WebSocketOptions
from exchanges.bybit.feed import BybitFeed
from exchanges.bybit.history import BybitHistory
from exchanges.bybit.trades import TradeDecoder
from exchanges.contract import Feed, History, HistoryError, Kind, Marker, Report
from exchanges.memory import ExchangeMemory
from streams import ConnectBudget, Dialer, Supervisor, current

TICK_S = 0.25  # how often the list is read again and the threads are looked at
BYBIT_CONNECTS, BYBIT_CONNECTS_PER_S = 450, 300.0  # Bybit allows 500 per 5 minutes and address; some are for others
CLOCK_WAIT_S = (
    2.0  # for the exchange's time before the first candle; an exchange that does not answer is not waited for
)
KLINES_PER_ENVELOPE = 100  # a message of 30 kB; a boundary of the whole market is many, none of them huge
STREAMS_SHARE, AGGREGATOR_SHARE = 0.4, 0.6  # of the stop deadline: when they must be done; the outputs have the rest

REQUIRED_OUTPUTS = {"websocket", "file"}  # a port or a folder that is not there now is a mistake; a Redis may come back

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


class Venue:
    """What an exchange gives: a feed and a memory per market, and its trades decoded. One per entry of VENUES."""

    def __init__(
        self,
        feed: Callable[..., Feed],
        history: Callable[..., History],
        decoder: Callable[..., Callable[[Sequence[bytes], Report], tuple[Any, ...]]],
    ) -> None:
        self.feed, self.history = feed, history
        self._decoder = decoder

    def decode(self, report: Report, **which: bool) -> Callable[[Sequence[bytes]], Trades]:
        """What makes trade payloads the aggregator's columns; `which` trades count, as the decoder names them."""
        decode = self._decoder(**which)
        return lambda payloads: Trades(*decode(payloads, report))


VENUES = {"bybit": Venue(BybitFeed, BybitHistory, TradeDecoder)}


# -- the collector --------------------------------------------------------------------------------------------


class Collector:
    """All rooms, joined for one run. Raises ValueError with every mistake at once; starts nothing before `start`."""

    def __init__(self, settings: Settings, streams: list[dict[str, Any]]) -> None:
        self._settings = settings
        self._streams = streams
        self._venue = VENUES[settings.exchange]
        self.faults = FaultLog()
        self.consumers = ConsumerManager(settings.enabled_consumers, consumer_options(settings))
        self._tell = self._build_teller()
        self.memory = self._build_memory()
        self.aggregator = self._build_aggregator() if settings.enable_klines_stream else None
        self.repairer = self._build_repairer() if self.aggregator and settings.repairs_klines else None
        self.auditor = self._build_auditor() if self.repairer and settings.audit_sample else None
        dialer = Dialer(ConnectBudget(BYBIT_CONNECTS, BYBIT_CONNECTS_PER_S))
        self._feeds = {market: self._build_feed(market, dialer) for market in settings.markets}
        self._dialer = dialer
        self._embedded: EmbeddedServer | None = None
        self.resumption: Resumption | None = None
        self._bind_callbacks()
        self._merged: list[MergedTrades] = []
        self._own_entries = list(self._entries())
        self._streams += self._own_entries
        self.supervisor = Supervisor(
            self._streams,
            reconnect_delay_s=settings.reconnect_delay,
            reconnect_max_attempts=settings.reconnect_max_attempts,
            tell=self._tell,
        )

    def stream(self, kind: Kind, symbols: Symbols, callback: Callback, market: str | None, depth: int | None) -> None:
        """Run one stream on the calling thread until its connection ends."""
        names = [symbols] if isinstance(symbols, str) else symbols
        wanted = self._settings.redundancy if isinstance(callback, MergedTrades) else 1
        if twice := [name for name in names if self._count_entries(kind, name, callback) > wanted]:
            log.warning("streamed_twice", kind=kind, symbols=twice, remedy="one entry per symbol and callback")
        feed = self._feed(market or self._settings.channel_type)
        feed.run(kind, symbols, callback, depth=depth or self._settings.orderbook_depth)

    def _feed(self, market: str) -> Feed:
        """The feed of a market; made on first use for one that only the user streams."""
        if market not in self._feeds:
            self._feeds[market] = self._build_feed(market, self._dialer)
        return self._feeds[market]

    def start(self) -> Exit | None:
        """Start outputs first, streams last; an exit code where that cannot be."""
        try:
            self._start_embedded()
        except RuntimeError as error:
            log.critical("embedded_server_failed", error=str(error))
            return Exit.OUTPUT_UNREACHABLE
        self._resume()
        unreachable = self.consumers.start()
        if unreachable:
            log.critical("outputs_unreachable", outputs=unreachable)
        if REQUIRED_OUTPUTS & unreachable.keys():
            return Exit.OUTPUT_UNREACHABLE
        if self.repairer:
            self.repairer.start()
            self.memory.wait_for_clock(CLOCK_WAIT_S)
        if self.aggregator:
            self.aggregator.start()
        if self.auditor:
            self.auditor.start()
        try:
            self.supervisor.start()
        except ValueError as error:
            log.critical("streams_wrong", problem=str(error))
            return Exit.SETTINGS
        gc.freeze()  # what lives as long as the process need not be looked through again and again
        return None

    def tick(self) -> Exit | None:
        """Follow STREAMS, revive what died; an exit code where a thread cannot be kept alive."""
        self.supervisor.tick()
        if self.aggregator and not self.aggregator.is_alive():
            log.critical("aggregator_lost")
            return Exit.THREAD_LOST
        return Exit.THREAD_LOST if self.supervisor.unrevivable else None

    def stop(self) -> Exit:
        """Streams first, then the aggregator drained, then outputs flushed, under one deadline."""
        begin_s, limit_s = time.monotonic(), self._settings.stop_timeout
        self.memory.stop()
        alive = self.supervisor.stop(limit_s * STREAMS_SHARE)
        if self.repairer and not self.repairer.stop(begin_s + limit_s * STREAMS_SHARE):
            log.info("repair_left_asking")  # a question on its way has nothing to lose
        if self.auditor and not self.auditor.stop(begin_s + limit_s * STREAMS_SHARE):
            log.info("audit_left_asking")
        if self.aggregator and not self.aggregator.stop(begin_s + limit_s * AGGREGATOR_SHARE):
            alive.append("aggregator")
        alive += self.consumers.stop(begin_s + limit_s)
        self._unbind_callbacks()
        self._streams[:] = [entry for entry in self._streams if entry not in self._own_entries]
        if self._embedded:
            self._embedded.stop()
        self.faults.flush()
        if alive:
            log.error("stop_deadline_passed", threads=alive, limit_s=limit_s)
        return Exit.STOP_DEADLINE if alive else Exit.ASKED

    def log_status(self) -> None:
        """One line that says how everything does."""
        streams = self.supervisor.status()
        self.faults.flush()
        log.info(
            "status",
            streams=len(streams),
            live=sum(stream.state == "live" for stream in streams),
            messages=sum(stream.messages for stream in streams),
            connects=sum(stream.connects for stream in streams),
            faults=self.faults.counts(),
            merged=sum(pair.merged for pair in self._merged),
            partly_seen=sum(pair.partly_seen for pair in self._merged),
            consumers={name: vars_of(stats) for name, stats in self.consumers.stats().items()},
            klines=self.aggregator.stats() if self.aggregator else None,
            repair=self.repairer.stats() if self.repairer else None,
            clock_offset_ms=self.memory.clock.offset_ms,
            audit=self.auditor.stats() if self.auditor else None,
        )

    # -- joining the rooms ------------------------------------------------------------------------------------

    def _build_feed(self, market: str, dialer: Dialer) -> Feed:
        settings = self._settings
        return self._venue.feed(
            market,
            dial=dialer.open,
            report=self.faults.report,
            tell=lambda event, **fields: self._tell(event, stream=current().name, **fields),
            url=settings.public_ws_url(market),
            testnet=settings.use_testnet,
            ping_interval_s=settings.ping_interval,
            silence_timeout_s=settings.silence_timeout,
            watch_topics=settings.orderbook_check,
        )

    def _build_teller(self) -> StatusTeller:
        """What tells downstream of changes; without redis it tells nobody."""
        exchange, publisher = self._settings.exchange, self.consumers.redis
        if publisher is None:
            return StatusTeller(exchange, lambda _payload: None)
        teller = StatusTeller(exchange, functools.partial(publisher.publish_raw, status_channel(exchange).encode()))
        publisher.tell_changes(teller)
        return teller

    def _build_aggregator(self) -> Aggregator:
        settings = self._settings
        return Aggregator(
            settings.markets,
            [parse_interval(text) for text in settings.kline_intervals],
            self._venue.decode(
                self.faults.report,
                count_block_trades=settings.count_block_trades,
                count_rpi_trades=settings.count_rpi_trades,
            ),
            self._publish_klines,
            prev_close_opens=settings.kline_open == "prev_close",
            event_clock=settings.aggregation_clock == "event",
            grace_ms=settings.kline_close_grace_ms if settings.aggregator_waiter_mode_enabled else 0,
            report=self.faults.report,
            on_outage=self._heal,
            now_ms=self.memory.clock.now_ms,
            tell=self._tell,
        )

    def _build_memory(self) -> ExchangeMemory:
        settings, stop = self._settings, threading.Event()
        where = {"url": settings.bybit_rest_url, "testnet": settings.use_testnet, "stop": stop}
        histories = {market: self._venue.history(market, **where) for market in settings.markets}
        return ExchangeMemory(histories, stop, self.faults.report)

    def _build_repairer(self) -> Repairer:
        memory = self.memory
        return Repairer(
            memory.candles,
            memory.recent_trades,
            memory.candle_steps_ms,
            self._give_back,
            memory.clock.now_ms,
            self._look,
        )

    def _look(self) -> None:
        """What the repair thread asks besides."""
        self.memory.look_at_clock()
        if self.resumption:
            self.resumption.step()

    def _resume(self) -> None:
        """Where an earlier run published klines, go on from there."""
        settings, publisher = self._settings, self.consumers.redis
        if publisher is None or self.aggregator is None:
            return
        known = publisher.load_published(settings.markets)
        if known and self.repairer:
            self.resumption = Resumption(
                known,
                [parse_interval(text) for text in settings.kline_intervals],
                settings.symbols,
                self.memory.candles,
                self.memory.candle_steps_ms,
                self._send_klines,
                self.memory.clock.now_ms,
            )

    def _build_auditor(self) -> Auditor:
        settings = self._settings
        return Auditor(
            self.memory.candles,
            self.memory.candle_steps_ms,
            self.memory.clock.now_ms,
            sample=settings.audit_sample,
            correct=self._correct if settings.audit_correct else None,
            fields=compared_fields(settings),
        )

    def _correct(self, market: str, kline: Kline, candle: CandleLike) -> None:
        self._give_back(market, Correction(kline, candle))

    def _give_back(self, market: str, found: Correction | Splice) -> None:
        assert self.aggregator is not None
        self.aggregator.mailboxes[market].mark(found)

    def _heal(self, market: str, outage: Outage) -> None:
        if self.repairer:
            self.repairer.heal(market, outage)

    def _publish_klines(self, market: str, klines: list[Kline]) -> None:
        if self.repairer:
            self.repairer.offer(market, klines)
        if self.auditor:
            self.auditor.offer(market, klines)
        self._send_klines(market, self.resumption.admit(market, klines) if self.resumption else klines)

    def _send_klines(self, market: str, klines: Sequence[Kline]) -> None:
        for batch in batches(klines, KLINES_PER_ENVELOPE):
            self.consumers.publish(Envelope(self._settings.exchange, market, "klines", batch))

    def _bind_callbacks(self) -> None:
        for callback in (*MAIN_CALLBACKS.values(), *SPOT_CALLBACKS.values()):
            callback.bind(self._raw_publisher(callback))
            if isinstance(callback, TradesCallback) and self.aggregator:
                mailbox = self.aggregator.mailboxes.get(callback.market or self._settings.channel_type)
                if mailbox is not None:
                    callback.bind_aggregator(mailbox.put, functools.partial(self._mark, mailbox))

    def _mark(self, mailbox: Mailbox, marker: Marker) -> None:
        """A marker of the host's time, in the exchange's."""
        mark = FeedUp if marker.kind == "up" else FeedDown
        mailbox.mark(mark(marker.symbols, marker.at_ms + self.memory.clock.offset_ms))

    def _raw_publisher(self, callback: PayloadCallback) -> Callback | None:
        if self.consumers.redis is None or callback.kind not in self._settings.raw_streams:
            return None
        channel = raw_channel(self._settings.exchange, callback.kind, callback.market)
        return functools.partial(self.consumers.redis.publish_raw, channel.encode())

    @staticmethod
    def _unbind_callbacks() -> None:
        for callback in (*MAIN_CALLBACKS.values(), *SPOT_CALLBACKS.values()):
            callback.unbind()

    def _entries(self) -> Iterator[dict[str, Any]]:
        """The entries the settings ask for: markets x kinds, so many symbols to a connection."""
        settings = self._settings
        kinds = list(settings.raw_streams)
        if self.aggregator and "trades" not in kinds:
            kinds.append("trades")
        for market in settings.markets:
            callbacks = MAIN_CALLBACKS if market == settings.channel_type else SPOT_CALLBACKS
            for kind in kinds:
                if kind in callbacks and not (market == "spot" and kind == "liquidations"):
                    yield from self._pooled(kind, market, callbacks[kind])

    def _pooled(self, kind: Kind, market: str, callback: PayloadCallback) -> Iterator[dict[str, Any]]:
        symbols = [symbol for symbol in self._settings.symbols if not self._count_entries(kind, symbol, callback)]
        doubled = [symbol for symbol in symbols if kind == "trades" and self._is_redundant(symbol)]
        once = [symbol for symbol in symbols if symbol not in doubled]
        names = (f"{kind.capitalize()}_{market}_{number}" for number in count(1))
        for pool in batches(doubled, self._settings.socket_pool_size):
            assert isinstance(callback, TradesCallback)
            name, merged = next(names), MergedTrades(callback)
            self._merged.append(merged)
            yield {"name": name, "func": SUBSCRIBE[kind], "args": (list(pool), merged, market)}
            yield {"name": f"{name}b", "func": SUBSCRIBE[kind], "args": (list(pool), merged, market)}
        for pool in batches(once, self._settings.socket_pool_size):
            yield {"name": next(names), "func": SUBSCRIBE[kind], "args": (list(pool), callback, market)}

    def _is_redundant(self, symbol: str) -> bool:
        """Whether two connections bring the trades of a symbol."""
        chosen = self._settings.redundant_symbols or ()
        return self._settings.redundancy > 1 and (symbol in chosen or "ALL" in chosen)

    def _count_entries(self, kind: Kind, symbol: str, callback: Callback) -> int:
        """How many entries of STREAMS bring a symbol to a callback at the usual depth: more than one doubles it."""
        count = 0
        for entry in filter(lambda entry: isinstance(entry, dict), list(self._streams)):
            args = tuple(entry.get("args", ()))
            if entry.get("func") is SUBSCRIBE[kind] and callback in args[1:2] and not (args[3:] or entry.get("kwargs")):
                count += symbol in ([args[0]] if isinstance(args[0], str) else args[0])
        return count

    def _start_embedded(self) -> None:
        settings = self._settings
        if self.consumers.redis is None or settings.redis_embedded == "never":
            return
        if needs_embedded(settings.redis_host, settings.redis_port):
            password = settings.redis_password.get_secret_value() if settings.redis_password else ""
            server = EmbeddedServer(
                settings.redis_host, settings.redis_port, password, settings.redis_user or "", settings.redis_db + 1
            )
            if server.start():
                self._embedded = server


def consumer_options(settings: Settings) -> ConsumerOptions:
    """The settings of the outputs, in the outputs' own records."""
    return ConsumerOptions(
        redis=RedisOptions(
            url=settings.redis_url,
            main_key=settings.redis_main_key,
            spill_path=settings.redis_backlog_path / f"{settings.exchange}_{settings.channel_type}.jsonl",
            raw_limit=settings.raw_queue_size,
            published=PublishedOptions(
                settings.storage_main_key,
                settings.redis_backlog_path / f"{settings.exchange}_{settings.channel_type}.published.json",
            ),
        ),
        file=FileOptions(
            base_path=settings.file_consumer_base_path, retention_hours=settings.file_consumer_retention_hours
        ),
        websocket=WebSocketOptions(
            host=settings.websocket_host,
            port=settings.websocket_port,
            path=settings.websocket_path,
            user=settings.wss_auth_user or "",
            key=settings.wss_auth_key.get_secret_value() if settings.wss_auth_key else "",
            tls_cert=settings.websocket_tls_cert,
            tls_key=settings.websocket_tls_key,
        ),
    )


def compared_fields(settings: Settings) -> Sequence[str]:
    """What of a kline can equal the exchange's candle."""
    return FIELDS if settings.kline_open == "prev_close" else FIELDS_WITHOUT_OPEN


def batches(items: Sequence[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """`items` in tuples of at most `size`."""
    iterator = iter(items)
    while batch := tuple(islice(iterator, size)):
        yield batch


def vars_of(record: Any) -> dict[str, Any]:
    """A stats record as fields of a log line."""
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


_collector: Collector | None = None


def _stream(kind: Kind, symbols: Symbols, callback: Callback, market: str | None, depth: int | None = None) -> None:
    if _collector is None:
        raise RuntimeError(f"subscribe_{kind} needs a running collector: put it in a STREAMS entry and call run()")
    _collector.stream(kind, symbols, callback, market, depth)


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
        problem = collector.start() or watch(collector, stop, settings.status_interval)
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


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event set by the first SIGTERM or SIGINT; the second ends the process at once, as if we did not listen."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def asked(number: int, _frame: FrameType | None) -> None:
        stop.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        log.info("stopping", signal=signal.Signals(number).name)

    before = {each: signal.signal(each, asked) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


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
    return run_audit(arguments, Defaults(settings.channel_type, path, compared_fields(settings)), history, HistoryError)


def _refuse(error: Exception) -> int:
    """Say on stderr, for a person, what is wrong with the settings."""
    lines = error.errors if isinstance(error, ConsumerSettingsError) else str(error).splitlines()
    sys.stderr.write("The settings are wrong:\n" + "".join(f"  {line}\n" for line in lines))
    return int(Exit.SETTINGS)


if __name__ == "__main__":
    sys.modules["main"] = sys.modules[__name__]  # whoever imports main finds this STREAMS, not a second one
    sys.exit(audit(sys.argv[2:]) if sys.argv[1:2] == ["audit"] else run())
