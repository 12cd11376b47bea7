"""Bybit's public streams: pybit's WebSocket without its socket loop.

pybit 5.17 gives endpoints, topic names and message formats. Its loop is not used: it merges books and tickers, and
a callback error or a refused topic ends it for ever. What is private in pybit and leaned on here is held by
tests/unit/exchanges/bybit/test_pybit_contract.py. Runs on the stream thread that calls `run`.
"""

import functools
import threading
from collections.abc import Callable, Sequence

import structlog
from pybit import _websocket_stream as pybit_stream
from pybit.unified_trading import WebSocket

from exchanges.bybit.books import TopicWatch
from exchanges.bybit.events import StreamNews, Tell, tell_nobody
from exchanges.bybit.session import Session, SessionKind
from exchanges.bybit.subscription import Quarantine, Subscription
from exchanges.bybit.topics import check_characters, check_market, check_request, limits_of, plan_batches
from exchanges.bybit.trade_watch import LastPrices, PricedWatch, TradeWatch
from model.ports import Dial, Observe, Report, ignore_time
from model.records import Kind

PING_INTERVAL_S = 20.0  # what Bybit recommends (docs: ws/connect)
PONG_TIMEOUT_S = 10.0
SUBSCRIBE_TIMEOUT_S = 10.0
SILENCE_TIMEOUT_S = 60.0  # books and tickers of any listed symbol speak more often than this
QUARANTINE_S = 300.0  # a refused topic may be listed meanwhile
SPEAKING_KINDS = ("orderbook", "ticker")  # trades and liquidations of a quiet symbol may be silent for hours
TICKS_PER_TIMEOUT = 4  # deadlines are kept to a quarter of the shortest one
FOLLOW_S = 0.5  # how often a stream looks whether other symbols are wanted: 0.1 % of a core for 50 idle ones

log = structlog.get_logger()


class BybitFeed(WebSocket):  # type: ignore[misc]  # pybit has no types
    """One market (linear, inverse, spot, option). `run` may be called by many threads at once."""

    def __init__(
        self,
        market: str,
        *,
        dial: Dial,
        report: Report,
        tell: Tell = tell_nobody,
        url: str | None = None,
        testnet: bool = False,
        ping_interval_s: float = PING_INTERVAL_S,
        pong_timeout_s: float = PONG_TIMEOUT_S,
        subscribe_timeout_s: float = SUBSCRIBE_TIMEOUT_S,
        silence_timeout_s: float = SILENCE_TIMEOUT_S,
        quarantine_s: float = QUARANTINE_S,
        watch_topics: bool = True,
        watch_trades: bool = False,
        observe: Observe = ignore_time,
        has_twins: bool = False,
    ) -> None:
        """Nothing is opened; ValueError for a market that Bybit has not.

        `url` is a whole public endpoint and replaces the exchange's own.
        `watch_topics`: books and tickers with a hole are subscribed anew, and told of by `tell`. `watch_trades`: so are
        trades that are silent while the price of the same feed's ticker moves; of use only where tickers are streamed.
        `observe` takes the exchange's time from tickers that are looked at, and from pongs that have one.
        `has_twins`: so are trades that only another connection of this feed brings.
        """
        check_market(market)
        super().__init__(market, testnet=testnet)
        self.market = market
        self.url = url or self.endpoint
        self.limits = limits_of(market)
        self._dial = dial
        self._report = report
        self._tell = tell
        self._of_thread = threading.local()
        self._ping_interval_s = ping_interval_s
        self._pong_timeout_s = pong_timeout_s
        self._subscribe_timeout_s = subscribe_timeout_s
        self._silence_timeout_s = silence_timeout_s
        self._quarantine = Quarantine(quarantine_s)
        self._watch_topics = watch_topics
        self._prices = LastPrices(market, observe=observe) if watch_trades and market != "option" else None
        self._observe = observe
        self._twins: set[TradeWatch] | None = set() if has_twins else None
        self._loose: set[str] = set()  # books whose u is not always the next; streams share it, each has its topics

    def run(
        self, kind: Kind, symbols: str | Sequence[str], callback: Callable[[bytes], object], *, depth: int = 50
    ) -> None:
        """Stream one kind of some symbols over one connection to `callback`, exact bytes; see model.ports.Feed.

        Option trades are asked by base coin (BTC), not by symbol.
        """
        wanted = WantedTopics(symbols, lambda names: self.topics(kind, names, depth))
        news = self._news(kind, wanted)
        reason = "stopped"
        try:
            self._run(kind, wanted, callback, news)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise
        finally:
            news.disconnected(reason)

    def _run(self, kind: Kind, wanted: "WantedTopics", callback: Callable[[bytes], object], news: StreamNews) -> None:
        link = self._dial(self.url)
        if link is None:
            return
        topics = wanted.changed() or wanted.topics  # a dial may wait for minutes
        news.follow(topics)
        plan = functools.partial(plan_batches, self.market)
        subscription = Subscription(topics, plan, self._quarantine, self._subscribe_timeout_s)
        silence_s = self._silence_timeout_s if kind in SPEAKING_KINDS else None
        watch = self._watch(kind, topics, news)
        about = SessionKind(self.market, kind, silence_s, self._pong_timeout_s)
        session = Session(link, about, subscription, callback, self._report, news, watch, wanted.changed, self._observe)
        try:
            session.begin()
            link.pump(
                session,
                ping=self.custom_ping_message,
                ping_interval_s=self._ping_interval_s,
                pong_timeout_s=self._pong_timeout_s,
                tick_s=min(self._tick_s(silence_s), FOLLOW_S) if wanted.is_live else self._tick_s(silence_s),
            )
        finally:
            if self._twins is not None and isinstance(watch, TradeWatch):
                self._twins.discard(watch)
            session.ended()
            link.close()

    def _news(self, kind: Kind, wanted: "WantedTopics") -> StreamNews:
        """The calling stream's: what it told last is remembered over its connections."""
        news: StreamNews | None = getattr(self._of_thread, "news", None)
        is_same = wanted.is_live or (news and news.topics == tuple(wanted.topics))
        if news is None or news.about != (self.market, kind) or not is_same:
            news = self._of_thread.news = StreamNews(self._tell, self.market, kind, wanted.topics)
        return news

    def _watch(self, kind: Kind, topics: list[str], news: StreamNews) -> TopicWatch | TradeWatch | None:
        if kind == "trades" and (self._prices or self._twins is not None):
            watched = TradeWatch(
                self.market, topics, self._prices, news, twins=() if self._twins is None else self._twins
            )
            if self._twins is not None:
                self._twins.add(watched)
            return watched
        if not self._watch_topics or kind not in SPEAKING_KINDS:
            return None
        watch = PricedWatch(
            self.market,
            kind,
            topics,
            silence_s=self._silence_timeout_s,
            loose=self._loose,
            report=self._report,
            news=news,
        )
        watch.prices = self._prices if kind == "ticker" else None
        return watch

    def topics(self, kind: Kind, symbols: str | Sequence[str], depth: int = 50) -> list[str]:
        """The topics of a request by pybit's names; ValueError where Bybit has none such, or they are too many."""
        checked = check_request(self.market, kind, symbols, depth)
        found: list[str] = []
        if kind == "topics":
            found = checked
        elif kind == "trades":
            self.trade_stream(checked, found.append)
        elif kind == "orderbook":
            self.orderbook_stream(depth, checked, found.append)
        elif kind == "ticker":
            self.ticker_stream(checked, found.append)
        else:
            self.all_liquidation_stream(checked, found.append)
        check_characters(found)
        return found

    def subscribe(self, topic: str, callback: Callable[[str], object], symbol: Sequence[str] = ()) -> None:
        """Override: pybit's `*_stream` methods end here; the topics go to `callback` and nothing is sent."""
        for name in symbol:
            callback(topic.format(symbol=name))

    def _connect(self, url: str) -> None:
        """Override: only work out the endpoint, the way pybit does, and open nothing."""
        subdomain = pybit_stream.SUBDOMAIN_TESTNET if self.testnet else pybit_stream.SUBDOMAIN_MAINNET
        self.endpoint = url.format(SUBDOMAIN=subdomain, DOMAIN=pybit_stream.DOMAIN_MAIN, TLD=pybit_stream.TLD_MAIN)

    def _tick_s(self, silence_s: float | None) -> float:
        timeouts = [self._ping_interval_s, self._pong_timeout_s, self._subscribe_timeout_s, self._quarantine.retry_s]
        return min(timeouts + ([silence_s] if silence_s else [])) / TICKS_PER_TIMEOUT


class WantedTopics:
    """The topics of one request. Symbols with a `version` may change while it runs; `is_live` says whether they may.

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
        """The topics that are wanted now, None where nothing changed since this was last asked."""
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
