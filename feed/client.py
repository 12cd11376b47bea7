"""Feed: what a program reads a collector by. docs/FEED.md says what comes from where.

Opens nothing before it is asked for something.
"""

import difflib
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

from .api import Api
from .events import Events
from .live import LiveKlines, ReadPast
from .records import FeedError, Interval, Kline, Moment, UnknownSymbolError, UnreachableError, milliseconds
from .sources import NoSource, RedisSource, SocketSource, Source
from .symbol import Book, SymbolReader, Trades
from .table import Table
from .tickers import Tickers

if TYPE_CHECKING:
    from .frame import KlineFrame

DEFAULT = "redis://localhost:6379"
HTTP_PORT = 9500
EXCHANGE, MARKET = "bybit", "linear"  # where no collector can be asked
BY_HOST = "by the host of the address"
REDIS = ("redis", "rediss", "unix")
TICKERS_OFF = (
    "set ENABLE_TICKER_STREAM=true and ENABLED_CONSUMERS=redis,websocket, and read by Feed('ws://...'); or with "
    "REDIS_MAIN_KEY, Feed(main_key=...). Bybit's come by Redis without either."
)


class Feed:
    """A collector, read by Redis, by its WebSocket output, or over HTTP alone.

    `address`: redis://host:6379, ws://host:9500/ or http://host:9500; user and key may stand in it. `http`: where
    history, order books and trades come from, None: nowhere; by default port 9500 of the same host. `exchange` and
    `market` are the collector's own unless given.
    """

    def __init__(
        self,
        address: str = DEFAULT,
        *,
        http: str | None = BY_HOST,
        user: str = "",
        key: str = "",
        exchange: str | None = None,
        market: str | None = None,
        main_key: str | None = None,
        timeout_s: float = 20.0,
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme not in (*REDIS, "ws", "wss", "http", "https"):
            raise FeedError(f"{address!r} is no address: redis://host:6379, ws://host:9500/ or http://host:9500.")
        self._address, self._scheme = address, parts.scheme
        if parts.scheme not in REDIS:
            user, key = user or unquote(parts.username or ""), key or unquote(parts.password or "")
        if http == BY_HOST:
            http = _http_of(address)
        self._api = Api(http, user, key, timeout_s) if http else None
        self._headers = Api("http://x", user, key).headers
        self._exchange, self._market, self._main_key = exchange, market, main_key
        self._readers: dict[tuple[str, str | None], SymbolReader] = {}
        self._events: Events | None = None
        self._opened: weakref.WeakSet[Any] = weakref.WeakSet()  # of what is not used any more nothing is kept

    # -- klines ----------------------------------------------------------------------------------------

    def klines(
        self,
        symbol: str | Sequence[str],
        interval: str = "1m",
        *,
        last: int | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        market: str | None = None,
        exact: bool = False,
    ) -> "KlineFrame":
        """Return closed klines, the newest 500 unless said otherwise: a DataFrame where pandas is there, else a Table.

        `start` <= timestamp < `end`. `exact`: decimals instead of floats. What the collector does not have of the
        newest 500 is read from the exchange (`source` exchange, no trade count).
        """
        table = self.table(symbol, interval, last=last, start=start, end=end, market=market, exact=exact)
        try:
            import pandas  # noqa: F401 - only whether it is there
        except ImportError:
            return table  # type: ignore[return-value]  # it has the same to_... methods
        return table.to_pandas()

    def table(
        self,
        symbol: str | Sequence[str],
        interval: str = "1m",
        *,
        last: int | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        market: str | None = None,
        exact: bool = False,
    ) -> Table:
        """Return the same klines as a plain table of columns."""
        wanted, found, notes = Interval(interval), list[Kline](), ""
        start_ms, end_ms = milliseconds(start), milliseconds(end)
        if last is None and start_ms is None:
            last = 500
        for each in _names(symbol):
            klines, note = self._http("History").klines(
                each, wanted, market=market or self._market, start_ms=start_ms, end_ms=end_ms, last=last
            )
            found += klines
            notes = notes or note
        return Table.of(found, wanted.name, exact=exact, note=notes)

    def live(
        self,
        symbol: str | Sequence[str],
        interval: str = "1m",
        *,
        last: int = 0,
        start: Moment | None = None,
        market: str | None = None,
        exact: bool = False,
    ) -> LiveKlines:
        """Return an iterator of klines: the `last` ones, or those since `start`, and then each as it closes.

        For `for` and `async for`. No hole and no double, over outages of anything between: LiveKlines.
        """
        wanted, names = Interval(interval), _names(symbol)
        where = self._market_of(market) or MARKET
        self._check(names, where, wanted)
        topics = [f"{where}:kline.{wanted.name}.{name}" for name in names]
        source = self._source([f"stream:{self.exchange}_klines"], topics)
        read = self._read_past(where, wanted) if self._api else None
        start_ms = milliseconds(start)
        live = LiveKlines(source, read, names, wanted, where, start_ms=start_ms, last=last, exact=exact)
        self._opened.add(live)
        return live

    # -- order books, trades, tickers --------------------------------------------------------------------

    def book(self, symbol: str, *, market: str | None = None) -> Book:
        """Return the order book of a symbol, which follows the market from now on: `best`, `bids`, `asks`, `unsure`."""
        reader = self._reader(symbol, market)
        reader.wait_for_book()
        return Book(reader)

    def trades(self, symbol: str, seconds: float = 60, *, market: str | None = None) -> Trades:
        """Return the trades of a symbol of the last seconds, as far as they came since this was called first."""
        reader = self._reader(symbol, market)
        reader.wait_for_trades()
        return Trades(reader, seconds)

    def tickers(self, *, market: str | None = None) -> Tickers:
        """Return the newest ticker by symbol, which follows the market; fields as the exchange names them."""
        where = self._market_of(market) or MARKET
        channels = [self._main_key] if self._main_key else [f"stream:{self.exchange}_ticker"]
        source = self._source(channels, [f"{where}:ticker.*"])
        if not source.is_pushed:
            raise FeedError(f"Tickers do not come over HTTP: {TICKERS_OFF}")
        tickers = Tickers(source, where)
        tickers.start(TICKERS_OFF)
        self._opened.add(tickers)
        return tickers

    # -- the collector -----------------------------------------------------------------------------------

    @property
    def exchange(self) -> str:
        """The exchange that is collected."""
        return self._exchange or (self._about() or {}).get("exchange") or EXCHANGE

    def status(self) -> dict[str, Any]:
        """Return whether the collector is ready, and why not; what it collects; and its newest events."""
        api = self._http("The status")
        answer = {**api.ready(), "collects": api.about()}
        try:
            events: Any = api.journal(last=20)[0]
        except FeedError as error:  # nothing is kept
            events = str(error)
        return {**answer, "events": events}

    def on(self, event: str, take: Callable[[dict[str, Any]], object]) -> None:
        """Have `take` called, on a thread, for each event of a name from now on: gap, repaired, ...; "*" for all."""
        if self._events is None:
            is_redis = self._scheme in REDIS
            source = RedisSource(self._address, [f"stream:{self.exchange}_status"]) if is_redis else NoSource()
            self._events = Events(source, self._api)
            self._opened.add(self._events)
        self._events.add(event, take)

    def wait(self) -> None:
        """Wait for ever, while functions of `on` are called."""
        threading.Event().wait()

    def close(self) -> None:
        """End everything that was begun."""
        for each in (*self._opened, *self._readers.values()):
            each.close()
        self._readers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- parts -------------------------------------------------------------------------------------------

    def _http(self, what: str) -> Api:
        if self._api is None:
            raise FeedError(f"{what} comes over HTTP, which is switched off here: Feed(..., http='http://host:9500').")
        return self._api

    def _about(self) -> dict[str, Any] | None:
        """What is collected; None where nobody can be asked now."""
        try:
            return self._api.about() if self._api else None
        except UnreachableError:
            return None

    def _market_of(self, market: str | None) -> str | None:
        if market or self._market:
            return market or self._market
        return next(iter((self._about() or {}).get("markets", ())), None)

    def _check(self, names: Sequence[str], market: str, interval: Interval) -> None:
        """Raise where the collector, if it can be asked, makes no such klines."""
        about = self._about()
        if about is None or not about["markets"]:
            return
        spec = about["markets"].get(market)
        if spec is None:
            raise FeedError(f"{market} is not collected, but {', '.join(about['markets'])}.")
        if not spec["klines"]:
            raise FeedError(f"No klines of {market} are made: ENABLE_KLINES_STREAM=true.")
        if interval.name not in spec["intervals"]:
            made = ", ".join(spec["intervals"])
            raise FeedError(f"No klines of {interval.name} are made, but of {made}: KLINE_INTERVALS.")
        for name in set(names).difference(spec["symbols"]):
            near = difflib.get_close_matches(name.upper(), spec["symbols"]) or spec["symbols"][:5]
            raise UnknownSymbolError(f"{name} is not collected in {market}.", near)

    def _source(self, channels: Sequence[str], topics: Sequence[str]) -> Source:
        if self._scheme in REDIS:
            return RedisSource(self._address, channels)
        return SocketSource(self._address, topics, self._headers) if self._scheme in ("ws", "wss") else NoSource()

    def _read_past(self, market: str, interval: Interval) -> ReadPast:
        api = self._http("History")

        def read(symbol: str, start_ms: int | None, last: int | None, is_filled: bool) -> tuple[Sequence[Kline], str]:
            return api.klines(symbol, interval, market=market, start_ms=start_ms, last=last, is_filled=is_filled)

        return read

    def _reader(self, symbol: str, market: str | None) -> SymbolReader:
        where = market or self._market
        known = self._readers.get((symbol, where))
        if known is None or known.is_closed:
            known = SymbolReader(self._http("An order book"), symbol, where)
            self._readers[symbol, where] = known
        return known


def _names(symbol: str | Sequence[str]) -> list[str]:
    return [symbol] if isinstance(symbol, str) else list(dict.fromkeys(symbol))


def _http_of(address: str) -> str:
    """The collector's port, on the host of an address."""
    parts = urlsplit(address)
    if parts.scheme in REDIS:
        host = parts.hostname or "localhost"
        return f"http://{'127.0.0.1' if host == 'localhost' else f'[{host}]' if ':' in host else host}:{HTTP_PORT}"
    return f"{parts.scheme.replace('ws', 'http')}://{parts.netloc.rpartition('@')[2]}"
