"""The order books and trades that pages look at: subscribed for them alone, on connections and threads of their own.

Two of a market, for all its symbols: who turns through them costs the exchange requests, and no connects. They are in
no plan, no figure and no verdict, and share only the budget of connects. Every method is for any thread; the threads
`stream-page ...` read. Ends are asked for, never waited for.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from app.options import endpoints, feed_options
from conf.settings import Settings
from consumers.web.live.options import Book, Trade
from exchanges.books import BookReader, Print, TapeReader, shown_depth
from exchanges.contract import Venue
from model.events import EventSink, Gap, StatusEvent
from model.markets import MarketSpec
from model.ports import Dial, Feed
from model.protocol import KindFrames, StreamProtocol
from model.records import Kind
from streams import MarketFeed, Supervisor
from streams.plan import LiveSymbols

LEVELS = 15
PAYLOADS = 500  # of trades that wait for the next look, ten times a second; older ones are left out
TRADES = 100  # that a new page gets
KINDS: tuple[Kind, ...] = ("orderbook", "trades")
KEPT_S = 2.0  # after its close a symbol is still given what comes: RECONCILE_S of streams, and the exchange's answer
LOST = "The connection for this page is lost, or a message of the book, and comes back by itself; what is shown is old."


class LiveSymbol:
    """One symbol; a consumers.web.live.options.SymbolFeed."""

    def __init__(self, book: BookReader | None, tape: TapeReader | None, state_of: Callable[[Kind], str]) -> None:
        """`book` and `tape` None: the market has none. `state_of(kind)`: the state of the connection of a kind."""
        self._book, self._tape, self._state_of = book, tape, state_of
        self._lock = threading.Lock()
        self._has_changed = False
        self._were_live: set[Kind] = set()
        self._payloads: deque[bytes] = deque(maxlen=PAYLOADS)
        self._came = self._taken = 0
        self._recent: deque[Print] = deque(maxlen=TRADES)
        self.close: Callable[[], object] = lambda: None

    # -- the threads of streams ------------------------------------------------------------------------

    def put_book(self, payload: bytes) -> None:
        """Take a payload of its order book."""
        if self._book is not None:
            with self._lock:
                self._has_changed |= self._book.take(payload)

    def put_trades(self, payload: bytes) -> None:
        """Take a payload of its trades."""
        self._payloads.append(payload)
        self._came += 1

    def connecting(self, kind: Kind) -> None:
        """Forget the book: what changed since is not known."""
        if kind == "orderbook" and self._book is not None:
            with self._lock:
                self._book.forget()

    # -- for pages -------------------------------------------------------------------------------------

    def states(self) -> tuple[str, str, str]:
        """See SymbolFeed."""
        is_known = self._book is not None and self._book.is_known
        book = "none" if self._book is None else self._state("orderbook", is_there=is_known)
        tape = "none" if self._tape is None else self._state("trades", is_there=True)
        return book, tape, LOST if "lost" in (book, tape) else ""

    def book(self, levels: int, *, changed: bool) -> Book | None:
        """See SymbolFeed."""
        with self._lock:
            if self._book is None or not self._book.is_known or not (self._has_changed or not changed):
                return None
            self._has_changed = False
            bids, asks = self._book.top(levels)
            return Book(self._book.sent_ms, bids, asks)

    def take_trades(self, most: int) -> tuple[list[Trade], int]:
        """See SymbolFeed."""
        payloads: list[bytes] = []
        while self._payloads:
            payloads.append(self._payloads.popleft())
        if not payloads or self._tape is None:
            return [], 0
        came = self._came
        lost, self._taken = came - self._taken - len(payloads), came
        trades = self._tape(payloads)
        self._recent.extend(trades)
        return list(trades[-most:]), max(lost, 0) + max(len(trades) - most, 0)

    def recent_trades(self) -> list[Trade]:
        """See SymbolFeed."""
        return list(self._recent)

    def _state(self, kind: Kind, *, is_there: bool) -> str:
        if self._state_of(kind) == "live" and is_there:
            self._were_live.add(kind)
            return "live"
        return "lost" if kind in self._were_live else "connecting"


class MarketStreams:
    """The two streams of one market, and the symbols that they carry: at least one."""

    def __init__(self, spec: MarketSpec, protocol: StreamProtocol, make_feed: Callable[[EventSink], Feed]) -> None:
        """`make_feed(events)`: what streams, and emits to `events` what happens to it."""
        self._spec, self._protocol, self._feed = spec, protocol, make_feed(self)
        self._depth = shown_depth(spec.depths, LEVELS) if spec.depths else 0
        self._symbols = LiveSymbols()
        self._lives: dict[str, LiveSymbol] = {}
        self._closed: dict[str, tuple[float, LiveSymbol]] = {}  # of late, and when: subscribed still, maybe
        self._by_key: dict[Kind, dict[bytes, LiveSymbol]] = {}  # replaced, for streams read it meanwhile
        self.names: dict[Kind, str] = {kind: f"page {spec.name} {kind}" for kind in KINDS if kind in spec.kinds}
        self.entries = [{"name": name, "func": self.stream, "args": (kind,)} for kind, name in self.names.items()]

    def __len__(self) -> int:
        return len(self._lives)

    def frames(self, symbol: str) -> KindFrames:
        """How the books of a symbol look."""
        return self._protocol.frames("orderbook", self._topics("orderbook", symbol))

    def closed(self, symbol: str) -> LiveSymbol | None:
        """Return a symbol that was closed a moment ago, to be carried again; None where there is none.

        The stream may not have noticed: then it subscribes nothing anew, and no other whole book comes.
        """
        found = self._closed.get(symbol)
        return found[1] if found and time.monotonic() - found[0] < KEPT_S else None

    def put(self, symbol: str, live: LiveSymbol | None) -> None:
        """Carry a symbol from now on; None: no more. ValueError, and nothing changes, where it has no such topics."""
        now_s = time.monotonic()
        others = {name: each for name, each in self._lives.items() if name != symbol}
        lives = others if live is None else {**others, symbol: live}
        closed = {name: each for name, each in self._closed.items() if name != symbol and now_s - each[0] < KEPT_S}
        if live is None and symbol in self._lives:
            closed[symbol] = now_s, self._lives[symbol]
        self._by_key = {
            kind: {
                self._protocol.key_of(kind, topic): each
                for name, each in [*((name, each) for name, (_, each) in closed.items()), *lives.items()]
                for topic in self._topics(kind, name)
            }
            for kind in self.names
        }
        self._lives, self._closed = lives, closed
        if lives:
            self._symbols.replace(lives)

    def emit(self, event: StatusEvent, /) -> None:
        """Forget books in which messages are missing, until the whole ones come that are asked for then: an EventSink.

        Any thread.
        """
        if isinstance(event, Gap) and event.kind == "orderbook":
            for live in (self._lives.get(symbol) for symbol in event.symbols or ()):
                if live is not None:
                    live.connecting("orderbook")

    def stream(self, kind: Kind) -> None:
        """Stream one kind until the connection ends; on a thread of its own."""
        lives = list(self._lives)
        if not lives:
            return
        for live in [*self._lives.values(), *(closed for _, closed in self._closed.values())]:
            live.connecting(kind)
        frames = self._protocol.frames(kind, self._topics(kind, lives[0]))
        put = LiveSymbol.put_book if kind == "orderbook" else LiveSymbol.put_trades

        def deliver(payload: bytes) -> None:
            if live := self._by_key[kind].get(frames.key_in(payload)):
                put(live, payload)

        self._feed.run(kind, self._symbols, deliver, depth=self._depth)

    def _topics(self, kind: Kind, symbol: str) -> list[str]:
        return self._protocol.topics(kind, [symbol], self._depth)


class PageFeeds:
    """The streams of all symbols that pages look at."""

    def __init__(self, settings: Settings, venue: Venue, dial: Callable[[], Dial]) -> None:
        """`dial()`: what opens connections, within the process's budget."""
        self._settings, self._venue, self._dial = settings, venue, dial
        options = feed_options(settings)
        self._options = replace(options, watch_topics=True, watch_trades=False, is_redundant=False)
        self._markets: dict[str, MarketStreams] = {}
        self._entries: list[dict[str, Any]] = []
        self._supervisor: Supervisor | None = None
        self._states: dict[str, str] = {}
        self._lock = threading.Lock()
        self._is_stopped = False

    def open(self, market: str, symbol: str) -> LiveSymbol:
        """Subscribe the book and the trades of a symbol."""
        with self._lock:
            streams = self._markets.get(market) or self._streams_of(market)
            live = streams.closed(symbol) or self._live_of(streams, market, symbol)
            streams.put(symbol, live)
            if market not in self._markets:
                self._markets[market] = streams
                self._entries += streams.entries
        self.tick()
        return live

    def tick(self) -> None:
        """Start, revive and end streams, and look at their states."""
        with self._lock:
            if self._supervisor is None and self._entries:
                self._supervisor = Supervisor(self._entries, reconnect_delay_s=self._settings.reconnect_delay)
            if self._supervisor is not None and not self._is_stopped:
                self._supervisor.tick()
                self._states = {status.name: status.state for status in self._supervisor.status()}

    def stop(self) -> None:
        """End every stream."""
        with self._lock:
            self._is_stopped = True
            if self._supervisor is not None:
                self._supervisor.stop(0.0)

    def _live_of(self, streams: MarketStreams, market: str, symbol: str) -> LiveSymbol:
        venue = self._venue
        has_book = "orderbook" in venue.markets[market].kinds
        book = BookReader(streams.frames(symbol), venue.book_sides) if has_book else None
        read = venue.reader(market, "trades", _ignore, ("trades",))
        tape = TapeReader(read, venue.record_names.get("trades", {})) if read else None
        live = LiveSymbol(book, tape, lambda kind: self._states.get(streams.names.get(kind, ""), "starting"))
        live.close = lambda: self._close(market, symbol)
        return live

    def _streams_of(self, market: str) -> MarketStreams:
        protocol = self._venue.protocol(market, endpoints(self._settings, market))

        def feed(events: EventSink) -> Feed:
            return MarketFeed(
                protocol,
                self._options,
                dial=self._dial(),
                report=_ignore,
                events=events,
                trade_keys=self._venue.trade_keys,
            )

        return MarketStreams(self._venue.markets[market], protocol, feed)

    def _close(self, market: str, symbol: str) -> None:
        with self._lock:
            streams = self._markets.get(market)
            if streams is not None:
                streams.put(symbol, None)
                if not len(streams):
                    del self._markets[market]
                    self._entries[:] = [entry for entry in self._entries if entry not in streams.entries]
        self.tick()


def _ignore(_cause: str, _sample: bytes) -> None:
    """Report nothing: a Report."""
