"""The pages that are open, and what is sent to them: encoded once for all that look at the same.

The event loop's thread, but for `emit` and `stop`. Without a page nothing is done but that status events are kept, and
of klines those that were incomplete or issued again.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from consumers.web.client import Client
from consumers.web.dialect import TopicSet
from consumers.web.fanout import Fanout
from consumers.web.frames import Message
from consumers.web.klines import KlineFeed
from consumers.web.live.history import HistoryReader, Past, SeriesId
from consumers.web.live.options import Markets, PageMarket, PageOptions
from consumers.web.live.reasons import Causes
from consumers.web.live.rows import KlineMemory, series_of
from consumers.web.live.view import View
from consumers.web.live.watch import Watches
from model.clock import now_ms
from model.events import StatusEvent
from model.intervals import step_name
from model.pacing import ThrottledLogger
from model.records import Kline

PROTOCOL = 1
PAGES = 40
EVENTS = 200  # that a new page gets
SYMBOLS_OF_EVENT = 20  # that are named
TICK_S = 0.1
STRIP_TICKS = 10  # every so many ticks the strip, open candles, and what is slow
RETRY_S = 10.0  # after a history that could not be read
FOLLOW_S = 15.0  # how often the history is read anew where no klines are made here
EVERYWHERE, TRY_LATER = "*", 1013

log = structlog.get_logger()
encode = msgspec.json.encode


class PageHub:
    """All pages; a model.events.EventSink."""

    def __init__(self, options: PageOptions, klines: KlineFeed) -> None:
        """`klines` brings those of the collector, on the event loop."""
        self._options = options
        self._started_ms = now_ms()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fanout = Fanout()
        self._sessions: dict[PageSession, View | None] = {}
        self._views: dict[SeriesId, View] = {}
        self._memory = KlineMemory()
        self._causes = Causes(self._started_ms)
        self._events: deque[dict[str, Any]] = deque(maxlen=EVENTS)
        self._history = HistoryReader(options.read_candles, options.now_ms)
        self._watches = Watches(options.watch, options.tick, self._publish)
        self._markets: Markets = {}
        self._shown: Mapping[str, Any] = {}
        self._ticks = 0
        self._timer: asyncio.Handle | None = None
        self._logger = ThrottledLogger(log)
        self._unexplained: deque[str] = deque(maxlen=EVENTS)  # markets with a new cause; any thread adds
        self._klines = klines
        klines.on_closed, klines.on_open = self._take_closed, self._take_open

    def __len__(self) -> int:
        return len(self._sessions)

    # -- any thread ------------------------------------------------------------------------------------

    def emit(self, event: StatusEvent, /) -> None:
        """Take a status event."""
        at_ms = now_ms()
        if self._causes.add(at_ms, event):
            self._unexplained.append(getattr(event, "market", None) or "")
        record = {"event": event.event, "ts": at_ms, **event.as_fields()}
        symbols = record.get("symbols", ())
        if len(symbols) > SYMBOLS_OF_EVENT:
            record |= {"symbols": symbols[:SYMBOLS_OF_EVENT], "symbols_total": len(symbols)}
        self._events.append(record)
        if self._sessions and (loop := self._loop) is not None:
            _call(loop, lambda: self._publish(EVERYWHERE, {"type": "event", "event": record}))

    def stop(self) -> None:
        """End the reading of history; does not wait. Who opened the feeds of symbols ends them."""
        self._history.stop()

    # -- the event loop's thread -----------------------------------------------------------------------

    def session(self, client: Client) -> "PageSession":
        """Begin to serve a page: a SessionFactory."""
        self._loop = asyncio.get_running_loop()
        session = PageSession(self, client)
        if len(self._sessions) >= PAGES:
            reason = f"{PAGES} pages are open already: close one of them"
            session.closing = asyncio.ensure_future(client.connection.close(TRY_LATER, reason))
            return session
        self._follow_markets()  # before this page is one of those that are told of changes
        self._sessions[session] = None
        self._fanout.move(client, TopicSet((EVERYWHERE,)))
        client.send(Message(encode(self._hello())))
        client.send(Message(encode(self._strip())))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        return session

    def left(self, session: "PageSession") -> None:
        """Forget a page whose connection has ended."""
        if session not in self._sessions:
            return
        self._fanout.leave(session.client)
        view = self._sessions.pop(session)
        self._leave(view)

    def symbols(self) -> Mapping[str, Any]:
        """Return the message of all markets and symbols."""
        return {"type": "symbols", "markets": self._shown, "view": self._first_view()}

    def look_at(self, session: "PageSession", market: str, symbol: str, interval_name: str) -> None:
        """Show a page another view; ValueError with a sentence where there is none such."""
        if session not in self._sessions:
            return
        spec = self._market(market, symbol)
        interval = next((each for each in spec.intervals if each.name == interval_name), None)
        if interval is None:
            names = ", ".join(each.name for each in spec.intervals)
            raise ValueError(f"{market} has no interval {interval_name[:20]!r}, but {names or 'none'}")
        series = market, symbol, interval.name
        watch = self._watches.join(market, symbol)  # what it raises leaves all as it was
        before = self._sessions[session]
        view = self._views.get(series)
        if view is None:
            remembered = self._memory.of((market, symbol, interval.step_ms))
            view = self._views[series] = View(series, interval, self._causes, remembered)
            self._read(view)
        view.pages += 1
        self._sessions[session] = view
        self._leave(before)
        self._follow_views()
        client, pair = session.client, f"{market}:{symbol}"
        self._fanout.move(client, TopicSet((EVERYWHERE, pair, f"{pair}:{interval.name}")))
        about = {"market": market, "symbol": symbol, "interval": interval.name}
        for message in (encode({"type": "view", **about}), *watch.first(spec.has_book, spec.has_tape), view.candles()):
            client.send(Message(message))

    # -- views -----------------------------------------------------------------------------------------

    def _market(self, market: str, symbol: str) -> PageMarket:
        self._follow_markets()
        spec = self._markets.get(market)
        if spec is None:
            raise ValueError(f"{market[:20]!r} is not collected, but {', '.join(self._markets) or 'nothing'}")
        if symbol not in spec.symbols:
            raise ValueError(f"{symbol[:40]!r} is not collected in {market}")
        return spec

    def _leave(self, view: View | None) -> None:
        if view is None:
            return
        view.pages -= 1
        self._watches.leave(*view.series[:2])
        if not view.pages and self._views.get(view.series) is view:
            del self._views[view.series]
            self._history.cancel(view.series)
        self._follow_views()

    def _follow_views(self) -> None:
        wanted: dict[str, set[str]] = {}
        for market, symbol, _ in self._views:
            if self._makes_klines(market):
                wanted.setdefault(market, set()).add(symbol)
        self._klines.viewed = {market: frozenset(symbols) for market, symbols in wanted.items()}

    def _makes_klines(self, market: str) -> bool:
        spec = self._markets.get(market)  # None: nothing of it is collected any more
        return spec is not None and spec.klines

    def _read(self, view: View) -> None:
        loop = asyncio.get_running_loop()
        view.retry_s = float("inf")
        self._history.request(view.series, view.interval, lambda past: _call(loop, lambda: self._take_past(view, past)))

    def _take_past(self, view: View, past: Past) -> None:
        if self._views.get(view.series) is not view:
            return
        is_followed = self._makes_klines(view.series[0])
        due_s = asyncio.get_running_loop().time()
        view.retry_s = due_s + RETRY_S if not past.is_final else float("inf") if is_followed else due_s + FOLLOW_S
        view.take_past(past)
        self._publish_raw(":".join(view.series), view.candles())

    # -- what comes ------------------------------------------------------------------------------------

    def _take_closed(self, market: str, klines: Sequence[Kline]) -> None:
        """Take closed klines as they are published."""
        self._memory.add(market, klines)
        if symbols := self._klines.viewed.get(market):
            for kline in klines:
                if kline.symbol in symbols and (view := self._view_of(market, kline)):
                    self._publish_raw(":".join(view.series), view.closed(kline))

    def _take_open(self, market: str, klines: Sequence[Kline]) -> None:
        """Take the present state of the klines that are open."""
        for kline in klines:
            if view := self._view_of(market, kline):
                conflate = ("open", view.series, kline.timestamp)
                self._publish_raw(":".join(view.series), view.opened(kline), conflate)

    def _view_of(self, market: str, kline: Kline) -> View | None:
        _, symbol, step_ms = series_of(market, kline)
        return self._views.get((market, symbol, step_name(step_ms)))

    def _explain(self) -> None:
        markets: set[str] = set()
        while self._unexplained:
            markets.add(self._unexplained.popleft())
        for view in self._views.values():
            if view.series[0] in markets:
                for message in view.explain():
                    self._publish_raw(":".join(view.series), message)

    # -- the timer -------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Send what has gathered; goes on while a page is open, or a symbol is still watched."""
        loop = asyncio.get_running_loop()
        self._ticks += 1
        for work in (self._watches.step, self._explain, *([self._second] if self._ticks % STRIP_TICKS == 0 else [])):
            try:
                work()
            except Exception:  # the timer's outermost: the other work goes on
                self._logger.exception("page_failed")
        is_needed = self._sessions or self._watches
        self._timer = loop.call_later(TICK_S, self._tick) if is_needed else None

    def _second(self) -> None:
        if not self._sessions:
            return
        self._follow_markets()
        now_s = asyncio.get_running_loop().time()
        for view in list(self._views.values()):
            if now_s >= view.retry_s:
                self._read(view)
        self._publish(EVERYWHERE, self._strip(), "strip")

    def _strip(self) -> Mapping[str, Any]:
        at_ms = now_ms()
        uptime_s = (at_ms - self._started_ms) // 1000
        memory = self._memory
        klines = {"closed": memory.closed, "incomplete": memory.incomplete, "revised": memory.revised}
        about = {"type": "strip", "now_ms": at_ms, "uptime_s": uptime_s, "pages": len(self._sessions)}
        return {**about, "klines": klines if self._options.has_klines else None, **self._options.strip()}

    # -- messages --------------------------------------------------------------------------------------

    def _hello(self) -> Mapping[str, Any]:
        options = self._options
        return {
            "type": "hello",
            "protocol": PROTOCOL,
            "exchange": options.exchange,
            "version": options.version,
            "now_ms": now_ms(),
            "started_ms": self._started_ms,
            "markets": self._shown,
            "view": self._first_view(),
            "events": list(self._events),
            **options.facts,
        }

    def _first_view(self) -> Mapping[str, str] | None:
        for market, spec in self._markets.items():
            if spec.symbols and spec.intervals:
                symbol = next((each for each in spec.symbols if each.startswith(("BTC", "XBT"))), spec.symbols[0])
                interval = next((each for each in spec.intervals if each.name == "1m"), spec.intervals[0])
                return {"market": market, "symbol": symbol, "interval": interval.name}
        return None

    def _follow_markets(self) -> None:
        """Take the markets as they are now, and tell all pages where that is news."""
        markets = self._options.markets()
        if markets is self._markets:
            return
        self._markets = markets
        self._shown = {
            name: {
                "symbols": list(spec.symbols),
                "intervals": [interval.name for interval in spec.intervals],
                "kinds": list(spec.kinds),
                "book": spec.has_book,
                "tape": spec.has_tape,
                "klines": spec.klines,
            }
            for name, spec in markets.items()
        }
        self._publish(EVERYWHERE, self.symbols())

    def _publish(self, topic: str, content: Mapping[str, Any], conflate: object = None) -> None:
        if groups := self._fanout.wanting(topic):
            message = Message(encode(content), conflate)
            for group in groups:
                self._fanout.put(group, message)

    def _publish_raw(self, topic: str, payload: bytes | None, conflate: object = None) -> None:
        if payload is not None and (groups := self._fanout.wanting(topic)):
            message = Message(payload, conflate)
            for group in groups:
                self._fanout.put(group, message)


class Request(msgspec.Struct):
    """A page's message."""

    op: str = ""
    market: str = ""
    symbol: str = ""
    interval: str = ""


class PageSession:
    """One page: a consumers.web.http.Session."""

    closing: "asyncio.Task[None] | None" = None

    def __init__(self, hub: PageHub, client: Client) -> None:
        self._hub, self.client = hub, client

    def received(self, message: str | bytes, /) -> None:
        """Do what a message asks for; one that is not understood is answered with an error."""
        try:
            request = msgspec.json.decode(message, type=Request)
        except (msgspec.DecodeError, ValueError, RecursionError):
            self._send({"type": "error", "op": "", "text": "not understood"})
            return
        try:
            if request.op == "view":
                self._hub.look_at(self, request.market, request.symbol, request.interval)
            elif request.op == "symbols":
                self._send(self._hub.symbols())
            elif request.op == "ping":
                self._send({"type": "pong"})
            else:
                raise ValueError(f"unknown op {request.op[:20]!r}; there are view, symbols and ping")  # noqa: TRY301
        except ValueError as error:
            self._send({"type": "error", "op": request.op[:20], "text": str(error)})

    def closed(self) -> None:
        """Forget this page."""
        self._hub.left(self)

    def _send(self, content: Mapping[str, Any]) -> None:
        self.client.send(Message(encode(content)))


def _call(loop: asyncio.AbstractEventLoop, work: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(work)
