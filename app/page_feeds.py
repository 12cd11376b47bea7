"""The order books and trades that pages look at: subscribed for them alone, on threads of their own.

They are in no plan, no figure and no verdict, and share only the budget of connects. Every method is for any thread;
`stream-page ...` threads read. Ends are asked for, never waited for.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from app.options import endpoints, feed_options
from conf.settings import Settings
from consumers.web.live.options import Book, Trade
from exchanges.books import BookReader, Print, TapeReader, shown_depth
from exchanges.contract import Venue
from model.events import NO_EVENTS
from model.ports import Dial, Feed
from model.records import Kind
from streams import MarketFeed, Supervisor

LEVELS = 15
PAYLOADS = 500  # of trades that wait for the next look, ten times a second; older ones are left out
TRADES = 100  # that a new page gets
LOST = "The connection for this page is lost, and comes back by itself; what is shown is old."


class LiveSymbol:
    """One symbol; a consumers.web.live.options.SymbolFeed."""

    def __init__(self, feed: Feed, symbol: str, book: BookReader | None, tape: TapeReader | None, depth: int) -> None:
        """`book` and `tape` None: the market has none."""
        self._feed, self._symbol, self._depth = feed, symbol, depth
        self._book, self._tape = book, tape
        self._lock = threading.Lock()
        self._has_changed = False
        self._were_live: set[str] = set()
        self._payloads: deque[bytes] = deque(maxlen=PAYLOADS)
        self._came = self._taken = 0
        self._recent: deque[Print] = deque(maxlen=TRADES)
        self.entries: list[dict[str, Any]] = []
        self.state_of: Callable[[str], str] = lambda _name: "starting"
        self.close: Callable[[], object] = lambda: None

    def names(self) -> dict[Kind, str]:
        """The names of its streams."""
        of = f"page {self._feed.market} {self._symbol}"
        kinds: list[tuple[Kind, object]] = [("orderbook", self._book), ("trades", self._tape)]
        return {kind: f"{of} {kind}" for kind, reader in kinds if reader is not None}

    # -- its streams' threads --------------------------------------------------------------------------

    def stream(self, kind: Kind) -> None:
        """Stream one kind until the connection ends."""
        if kind == "orderbook" and self._book is not None:
            with self._lock:
                self._book.forget()
            self._feed.run(kind, [self._symbol], self._take_book, depth=self._depth)
        else:
            self._feed.run(kind, [self._symbol], self._take_trades)

    def _take_book(self, payload: bytes) -> None:
        assert self._book is not None
        with self._lock:
            self._has_changed |= self._book.take(payload)

    def _take_trades(self, payload: bytes) -> None:
        self._payloads.append(payload)
        self._came += 1

    # -- for pages -------------------------------------------------------------------------------------

    def states(self) -> tuple[str, str, str]:
        """See SymbolFeed."""
        names = self.names()
        book, tape = (self._state(names.get(kind, "")) for kind in ("orderbook", "trades"))
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

    def _state(self, name: str) -> str:
        """The state of the stream of this name; of a book that is not known yet it is no more than connected."""
        if not name:
            return "none"
        is_book = name.endswith("orderbook")
        if self.state_of(name) == "live" and (not is_book or (self._book and self._book.is_known)):
            self._were_live.add(name)
            return "live"
        return "lost" if name in self._were_live else "connecting"


class PageFeeds:
    """The streams of all symbols that pages look at."""

    def __init__(self, settings: Settings, venue: Venue, dial: Callable[[], Dial]) -> None:
        """`dial()`: what opens connections, within the process's budget."""
        self._settings, self._venue, self._dial = settings, venue, dial
        options = feed_options(settings)
        self._options = replace(options, watch_topics=True, watch_trades=False, is_redundant=False)
        self._entries: list[dict[str, Any]] = []
        self._supervisor: Supervisor | None = None
        self._states: dict[str, str] = {}
        self._lock = threading.Lock()
        self._is_stopped = False

    def open(self, market: str, symbol: str) -> LiveSymbol:
        """Subscribe the book and the trades of a symbol."""
        spec, venue = self._venue.markets[market], self._venue
        protocol = venue.protocol(market, endpoints(self._settings, market))
        feed = MarketFeed(
            protocol,
            self._options,
            dial=self._dial(),
            report=lambda _cause, _sample: None,
            events=NO_EVENTS,
            trade_keys=venue.trade_keys,
        )
        depth = shown_depth(spec.depths, LEVELS) if spec.depths else 0
        book = tape = None
        if "orderbook" in spec.kinds:
            frames = protocol.frames("orderbook", protocol.topics("orderbook", [symbol], depth))
            book = BookReader(frames, venue.book_sides)
        if read := venue.reader(market, "trades", lambda _cause, _sample: None, ("trades",)):
            tape = TapeReader(read, venue.record_names.get("trades", {}))
        live = LiveSymbol(feed, symbol, book, tape, depth)
        live.entries = [{"name": name, "func": live.stream, "args": (kind,)} for kind, name in live.names().items()]
        live.state_of = lambda name: self._states.get(name, "starting")
        live.close = lambda: self._close(live)
        with self._lock:
            if self._supervisor is None:
                self._supervisor = Supervisor(self._entries, reconnect_delay_s=self._settings.reconnect_delay)
            self._entries += live.entries
        self.tick()
        return live

    def tick(self) -> None:
        """Start, revive and end streams, and look at their states."""
        with self._lock:
            if self._supervisor is not None and not self._is_stopped:
                self._supervisor.tick()
                self._states = {status.name: status.state for status in self._supervisor.status()}

    def stop(self) -> None:
        """End every stream."""
        with self._lock:
            self._is_stopped = True
            if self._supervisor is not None:
                self._supervisor.stop(0.0)

    def _close(self, live: LiveSymbol) -> None:
        with self._lock:
            self._entries[:] = [entry for entry in self._entries if entry not in live.entries]
        self.tick()
