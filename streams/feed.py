"""Bybit's public streams: one connection per call of `run`, with its topics, watches and events.

Runs on the stream thread that calls `run`. Opens nothing itself (`dial` does), parses no market data.
"""

import functools
import threading
from collections.abc import Callable, Sequence

import structlog

from exchanges.bybit.protocol import PING, check_market, endpoint_of, limits_of, plan_batches, topics_of
from exchanges.contract import FeedOptions
from model.events import NO_EVENTS, EventSink
from model.pacing import LogThrottle
from model.ports import Callback, Dial, Observe, Report, ignore_time
from model.records import Kind
from streams.events import StreamEvents
from streams.session import Session, SessionKind
from streams.subscription import Quarantine, Subscription
from streams.watch import USUAL, LastPrices, SequenceWatch, TradeWatch, TradeWatchOptions

STEADY_KINDS = ("orderbook", "ticker")  # trades and liquidations of a quiet symbol may be silent for hours
TICKS_PER_TIMEOUT = 4  # deadlines are kept to a quarter of the shortest one
RECONCILE_S = 0.5  # how often a stream looks whether its symbols changed: 0.1 % of a core for 50 idle ones

log = structlog.get_logger()


class BybitFeed:
    """One market (linear, inverse, spot, option); a model.ports.Feed. `run` may be called by many threads at once."""

    def __init__(
        self,
        market: str,
        options: FeedOptions,
        *,
        dial: Dial,
        report: Report,
        events: EventSink = NO_EVENTS,
        observe: Observe = ignore_time,
        trade_watch: TradeWatchOptions = USUAL,
    ) -> None:
        """Nothing is opened; ValueError for a market that Bybit does not have.

        `observe` takes the exchange's time from tickers and pongs.
        """
        check_market(market)
        self.market = market
        self.url = options.url or endpoint_of(market, testnet=options.testnet)
        self.limits = limits_of(market)
        self._dial = dial
        self._report = report
        self._event_sink, self._tracebacks = events, LogThrottle()
        self._of_thread = threading.local()
        self._options, self._trade_watch, self._observe_time = options, trade_watch, observe
        self._quarantine = Quarantine(options.quarantine_s)
        self._prices: LastPrices | None = None
        if options.watch_trades and market != "option":
            self._prices = LastPrices(market, observe_time=observe, check_s=trade_watch.check_s)
        self._peers: set[TradeWatch] | None = set() if options.is_redundant else None
        self._noncontiguous: set[str] = set()  # books whose u is not always the next; shared by streams

    def run(self, kind: Kind, symbols: str | Sequence[str], callback: Callback, *, depth: int = 50) -> None:
        """Stream one kind of some symbols over one connection to `callback`, exact bytes; see model.ports.Feed.

        Option trades are subscribed by base coin (BTC), not by symbol.
        """
        desired = DesiredTopics(symbols, lambda names: self.topics(kind, names, depth))
        events = self._events(kind, desired)
        reason = "stopped"
        try:
            self._run(kind, desired, callback, events)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise
        finally:
            events.disconnected(reason)

    def topics(self, kind: Kind, symbols: str | Sequence[str], depth: int = 50) -> list[str]:
        """The topics of a request; ValueError where Bybit has none such, or they are too many for one connection."""
        return topics_of(self.market, kind, symbols, depth)

    def _run(self, kind: Kind, desired: "DesiredTopics", callback: Callback, events: StreamEvents) -> None:
        link = self._dial(self.url)
        if link is None:
            return
        topics = desired.changed() or desired.topics  # a dial may wait for minutes
        events.set_topics(topics)
        plan = functools.partial(plan_batches, self.market)
        subscription = Subscription(topics, plan, self._quarantine, self._options.subscribe_timeout_s)
        silence_s = self._options.silence_timeout_s if kind in STEADY_KINDS else None
        tick_s = self._tick_s(silence_s)
        watch = self._watch(kind, topics, events)
        about = SessionKind(self.market, kind, silence_s, self._options.pong_timeout_s)
        session = Session(
            link,
            about,
            subscription,
            callback,
            self._report,
            events,
            tracebacks=self._tracebacks,
            watch=watch,
            changed=desired.changed,
            observe_time=self._observe_time,
        )
        try:
            session.begin()
            link.read_until_closed(
                session,
                ping=PING,
                ping_interval_s=self._options.ping_interval_s,
                pong_timeout_s=self._options.pong_timeout_s,
                tick_s=min(tick_s, RECONCILE_S) if desired.is_live else tick_s,
            )
        finally:
            if self._peers is not None and isinstance(watch, TradeWatch):
                self._peers.discard(watch)
            session.ended()
            link.close()

    def _events(self, kind: Kind, desired: "DesiredTopics") -> StreamEvents:
        """The calling stream's events: kept over its connections, so that each change is emitted once."""
        events: StreamEvents | None = getattr(self._of_thread, "events", None)
        is_same = desired.is_live or (events and events.topics == tuple(desired.topics))
        if events is None or events.kind != kind or not is_same:
            events = self._of_thread.events = StreamEvents(self._event_sink, self.market, kind, desired.topics)
        return events

    def _watch(self, kind: Kind, topics: list[str], events: StreamEvents) -> SequenceWatch | TradeWatch | None:
        if kind == "trades" and (self._prices or self._peers is not None):
            peers = () if self._peers is None else self._peers
            trades = TradeWatch(self.market, topics, self._prices, events, peers=peers, options=self._trade_watch)
            if self._peers is not None:
                self._peers.add(trades)
            return trades
        if not self._options.watch_topics or kind not in STEADY_KINDS:
            return None
        return SequenceWatch(
            self.market,
            kind,
            topics,
            silence_s=self._options.silence_timeout_s,
            noncontiguous=self._noncontiguous,
            report=self._report,
            events=events,
            prices=self._prices if kind == "ticker" else None,
        )

    def _tick_s(self, silence_s: float | None) -> float:
        options = self._options
        timeouts = [options.ping_interval_s, options.pong_timeout_s, options.subscribe_timeout_s, options.quarantine_s]
        return min(timeouts + ([silence_s] if silence_s else [])) / TICKS_PER_TIMEOUT


class DesiredTopics:
    """The topics of one request. Symbols with a `version` may change while it runs; `is_live` is true where they may.

    Raises ValueError at the beginning for what Bybit does not have; later that is logged, and what was good stays.
    """

    def __init__(self, symbols: str | Sequence[str], topics_of: Callable[[str | Sequence[str]], list[str]]) -> None:
        self._symbols, self._topics_of = symbols, topics_of
        self._version = self._current()
        self.topics = topics_of(symbols)

    @property
    def is_live(self) -> bool:
        """Whether the symbols may change."""
        return self._version is not None

    def changed(self) -> list[str] | None:
        """The topics that are desired now, None where nothing changed since the last call."""
        version = self._current()
        if version == self._version:
            return None
        self._version = version
        try:
            self.topics = self._topics_of(self._symbols)
        except ValueError as error:
            log.error("symbols_not_followed", problem=str(error))
            return None
        return self.topics

    def _current(self) -> int | None:
        version: int | None = getattr(self._symbols, "version", None)
        return version
