"""The streams of one market: one connection per call of `run`, with its topics, watches and events.

Runs on the stream thread that calls `run`. Opens nothing itself (`dial` does), parses no market data, and knows no
exchange: its protocol does.
"""

import functools
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from model.batches import batches, check_fits
from model.events import NO_EVENTS, STOPPED, EventSink
from model.pacing import LogThrottle
from model.ports import Callback, Dial, Observe, Report, Symbols, ignore_time
from model.protocol import KindFrames, StreamProtocol, TradeKeys
from model.records import Kind
from model.symbols import canonical
from streams.events import StreamEvents
from streams.handover import USUAL as USUAL_TIMES
from streams.handover import Handover, HandoverTimes, identities
from streams.session import Session, SessionKind
from streams.subscription import Quarantine, Subscription
from streams.succession import Noticed, Opened, Succession
from streams.watch import USUAL, LastPrices, SequenceWatch, TradeWatch, TradeWatchOptions

TICKS_PER_TIMEOUT = 4  # deadlines are kept to a quarter of the shortest one
REPLACED_AT = (0.85, 0.95)  # of its lifetime is a connection replaced, somewhere between
RECONCILE_S = 0.5  # how often a stream looks whether its symbols changed: 0.1 % of a core for 50 idle ones

log = structlog.get_logger()


@dataclass(frozen=True)
class FeedOptions:
    """How the streams of one market are run.

    `watch_topics`: books and tickers with a gap are resubscribed. `watch_trades`: so are trades that are silent while
    the price of the same feed's ticker moves; of use only where tickers are streamed. `is_redundant`: so are trades
    that only another connection of the feed brings.
    """

    ping_interval_s: float = 20.0
    pong_timeout_s: float = 10.0
    subscribe_timeout_s: float = 10.0
    silence_timeout_s: float = 60.0  # books and tickers of any listed symbol send more often than this
    quarantine_s: float = 300.0  # a refused topic may be listed meanwhile
    watch_topics: bool = True
    watch_trades: bool = False
    is_redundant: bool = False
    handover: HandoverTimes = USUAL_TIMES


class MarketFeed:
    """One market of an exchange; a model.ports.Feed. `run` may be called by many threads at once."""

    def __init__(
        self,
        protocol: StreamProtocol,
        options: FeedOptions,
        *,
        dial: Dial,
        report: Report,
        events: EventSink = NO_EVENTS,
        observe: Observe = ignore_time,
        trade_watch: TradeWatchOptions = USUAL,
        trade_keys: TradeKeys | None = None,
        relisted: Callable[[], object] = lambda: None,
    ) -> None:
        """Nothing is opened. `observe` takes the exchange's time from tickers and pongs.

        `relisted()`: called where the exchange says that what it lists has changed; stream threads, must not block.
        `trade_keys`: how trades are identified; None: by the bytes of their message.
        """
        self._trade_keys, self._relisted = trade_keys, relisted
        self.protocol = protocol
        self.market, self.limits = protocol.market, protocol.limits
        self._dial = dial
        self._report = report
        self._event_sink, self._tracebacks = events, LogThrottle()
        self._of_thread = threading.local()
        self._options, self._trade_watch, self._observe_time = options, trade_watch, observe
        self._quarantine = Quarantine(options.quarantine_s)
        self._prices: LastPrices | None = None
        tickers = protocol.frames("ticker", ())
        if options.watch_trades and tickers.price is not None:
            self._prices = LastPrices(tickers, observe_time=observe, check_s=trade_watch.check_s)
        self._peers: set[TradeWatch] | None = set() if options.is_redundant else None
        self._noncontiguous: set[str] = set()  # books whose ids are not always the next; shared by streams

    def run(self, kind: Kind, symbols: Symbols, callback: Callback, *, depth: int = 50) -> None:
        """Stream one kind of some symbols over one connection to `callback`, exact bytes; see model.ports.Feed."""
        desired = DesiredTopics(symbols, lambda names: self.topics(kind, names, depth))
        events = self._events(kind, desired)
        if self.is_market_wide(kind) and kind != "topics":
            events.symbols = lambda: sorted(desired.names)
        reason = STOPPED
        try:
            self._run(kind, desired, callback, events)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise
        finally:
            events.disconnected(reason)

    def topics(self, kind: Kind, symbols: Symbols, depth: int = 50) -> list[str]:
        """The topics of a request; ValueError where the exchange has none such, or they do not fit one connection."""
        topics = self.protocol.topics(kind, symbols, depth)
        check_fits(topics, self.limits)
        self.protocol.endpoint(kind, topics)
        return topics

    def endpoint(self, kind: Kind, topics: Sequence[str] = ()) -> str:
        """The URL that carries topics of a kind; ValueError where several would have to."""
        return self.protocol.endpoint(kind, topics)

    def is_market_wide(self, kind: Kind) -> bool:
        """Whether a topic of a kind is of all symbols."""
        return self.protocol.frames(kind, ()).is_market_wide

    def quarantined(self) -> dict[str, int]:
        """How many topics are in quarantine now, by kind. Any thread."""
        now_s = time.monotonic()
        topics = [topic for topic in list(self._quarantine.until_s) if self._quarantine.holds(topic, now_s)]
        kinds = (self.protocol.read_topic(topic) for topic in topics)
        return Counter(of[0] if of else "topics" for of in kinds)

    def _run(self, kind: Kind, desired: "DesiredTopics", callback: Callback, events: StreamEvents) -> None:
        def handover() -> Handover:
            frames = self.protocol.frames(kind, desired.topics)
            may_cut = kind == "ticker" or (kind == "orderbook" and not (frames.sequence and not frames.snapshot))
            identify = identities(kind, frames, self._trade_keys)
            return Handover(callback, frames, identify, may_cut=may_cut, times=self._options.handover)

        def open_connection(take: Callback, noticed: Noticed) -> Opened | None:
            return self._opened(kind, desired, take, events, noticed)

        Succession(open_connection, callback, handover, self._options.handover, market=self.market, kind=kind).run()

    def _opened(
        self, kind: Kind, desired: "DesiredTopics", callback: Callback, events: StreamEvents, noticed: Noticed
    ) -> Opened | None:
        """A connection of a stream with its session; None where the stream was stopped."""
        link = self._dial(self.protocol.resolve(self.endpoint(kind, desired.topics)))
        if link is None:
            return None
        changed = desired.follow()  # from now on: a dial may wait for minutes
        topics = desired.topics
        events.set_topics(topics)
        options, frames = self._options, self.protocol.frames(kind, topics)
        plan = functools.partial(batches, limits=self.limits)
        subscription = Subscription(topics, plan, self._quarantine, options.subscribe_timeout_s)
        silence_s = options.silence_timeout_s if frames.is_steady else None
        watch = self._watch(kind, frames, topics, events)
        is_narrowed = frames.is_market_wide and kind != "topics"  # a topic that the user names is taken whole
        is_wanted = (lambda payload: self.protocol.is_wanted(payload, desired.names)) if is_narrowed else None
        session = Session(
            link,
            self.protocol,
            SessionKind(kind, frames, silence_s, options.pong_timeout_s, is_wanted),
            subscription,
            callback,
            self._report,
            events,
            tracebacks=self._tracebacks,
            watch=watch,
            changed=changed,
            observe_time=self._observe_time,
            noticed=noticed,
            relisted=self._relisted,
            replace_at_s=self._replace_at_s(),
        )
        read = functools.partial(
            link.read_until_closed,
            session,
            ping_interval_s=min(options.ping_interval_s, self.protocol.keep_alive.most_s),
            pong_timeout_s=options.pong_timeout_s,
            tick_s=self._tick_s(silence_s, desired),
            inflate=self.protocol.inflate,
            infix=frames.infix,
        )

        def close() -> None:
            if self._peers is not None and isinstance(watch, TradeWatch):
                self._peers.discard(watch)
            session.ended()
            link.close()

        return Opened(link, session, read, close)

    def _replace_at_s(self) -> float:
        """When a connection that is opened now is to be replaced: not all at once that were opened together."""
        lifetime_s = self.protocol.lifetime_s
        return math.inf if lifetime_s is None else time.monotonic() + lifetime_s * random.uniform(*REPLACED_AT)  # noqa: S311 - no cryptography

    def _events(self, kind: Kind, desired: "DesiredTopics") -> StreamEvents:
        """The calling stream's events: kept over its connections, so that each change is emitted once."""
        events: StreamEvents | None = getattr(self._of_thread, "events", None)
        is_same = desired.is_live or (events and events.topics == tuple(desired.topics))
        if events is None or events.kind != kind or not is_same:
            events = self._of_thread.events = StreamEvents(
                self._event_sink, self.market, kind, desired.topics, self.protocol.symbol_of
            )
        return events

    def _watch(
        self, kind: Kind, frames: KindFrames, topics: list[str], events: StreamEvents
    ) -> SequenceWatch | TradeWatch | None:
        if kind == "trades" and (self._prices or self._peers is not None):
            peers = () if self._peers is None else self._peers
            trades = TradeWatch(
                self.protocol, frames, topics, self._prices, events, peers=peers, options=self._trade_watch
            )
            if self._peers is not None:
                self._peers.add(trades)
            return trades
        if not self._options.watch_topics or kind not in ("orderbook", "ticker"):
            return None
        return SequenceWatch(
            self.protocol,
            frames,
            topics,
            silence_s=self._options.silence_timeout_s,
            noncontiguous=self._noncontiguous,
            report=self._report,
            events=events,
            prices=self._prices if kind == "ticker" else None,
        )

    def _tick_s(self, silence_s: float | None, desired: "DesiredTopics") -> float:
        options = self._options
        timeouts = [options.ping_interval_s, options.pong_timeout_s, options.subscribe_timeout_s, options.quarantine_s]
        tick_s = min(timeouts + ([silence_s] if silence_s else [])) / TICKS_PER_TIMEOUT
        return min(tick_s, RECONCILE_S) if desired.is_live or self.limits.messages_per_s else tick_s


class DesiredTopics:
    """The topics of one request. Symbols with a `version` may change while it runs; `is_live` is true where they may.

    `names` are the symbols. Raises ValueError at the beginning for what the exchange does not have; later that is
    logged, and what was good stays.
    """

    def __init__(self, symbols: Symbols, topics_of: Callable[[Symbols], list[str]]) -> None:
        self._symbols, self._topics_of = symbols, topics_of
        self._version = self._current()
        self.topics = topics_of(symbols)
        self.names = self._names()

    @property
    def is_live(self) -> bool:
        """Whether the symbols may change."""
        return self._version is not None

    def follow(self) -> Callable[[], list[str] | None]:
        """Return what returns the topics that are desired now, None where nothing changed since this, or its last call.

        Each connection has one of its own.
        """
        self._refresh()
        seen = self.topics

        def changed() -> list[str] | None:
            nonlocal seen
            self._refresh()
            if self.topics is seen:
                return None
            seen = self.topics
            return seen

        return changed

    def _refresh(self) -> None:
        version = self._current()
        if version == self._version:
            return
        self._version = version
        try:
            topics = self._topics_of(self._symbols)
        except ValueError as error:
            log.error("symbols_not_followed", problem=str(error))
            return
        self.names, self.topics = self._names(), topics

    def _names(self) -> frozenset[str]:
        return frozenset(map(canonical, (self._symbols,) if isinstance(self._symbols, str) else self._symbols))

    def _current(self) -> int | None:
        version: int | None = getattr(self._symbols, "version", None)
        return version
