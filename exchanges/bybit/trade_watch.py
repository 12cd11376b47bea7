"""Trades topics, watched through tickers and through other connections that bring the same.

No trade may come for hours. But where the ticker's last price is another than a while ago, or another connection
brought some, there were trades since. Runs on the threads of the streams; parses no JSON, and looks at one ticker of a
symbol every few seconds. Where neither is collected, the aggregator asks the exchange
(aggregation/recovery/silence.py).
"""

import re
import time
from collections.abc import Callable, Collection, Container, Iterable, Sequence
from dataclasses import dataclass

import structlog

from exchanges.bybit.books import TopicWatch
from exchanges.bybit.events import StreamNews
from exchanges.bybit.topics import fast_prefix, symbol_of
from model.ports import Observe, ignore_time

log = structlog.get_logger()

Resubscribe = Callable[[str, int], bool]
"""Leave a topic that may have been silent since then (host's clock, ms), and ask for it anew; False where not now."""

LOOK_S = 5.0  # between two looks at the price of one symbol
MARGIN_S = 5.0  # ticker and trade of one match come on different connections; no second between them was seen
PATIENCE_S = 10.0  # how long the trade that moved the price may still be on its way
PATIENCE_CAP_S = 600.0  # doubled for a topic each time: a price that moves by itself must not cost a gap every minute

_PRICE = re.compile(rb'"lastPrice"\s*:\s*"([^"]+)"')
_TIME = re.compile(rb'"ts"\s*:\s*(\d{1,15})\b')


class LastPrices:
    """The prices of one market. Ticker threads write, trades threads read; all single steps.

    `moves`: when a symbol's price was another than it was later (monotonic seconds), so that there was a trade since.
    """

    def __init__(
        self,
        market: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        observe: Observe = ignore_time,
    ) -> None:
        self._observe = observe
        self.moves: dict[bytes, float] = {}
        self._clock, self._wall_ms = clock, wall_ms
        self._prefix = fast_prefix(market, "ticker")
        self._known: dict[bytes, tuple[bytes, float]] = {}
        self._due_s: dict[bytes, float] = {}

    def see(self, payloads: Sequence[bytes]) -> None:
        """Take tickers that went to the callback; on the path of all."""
        begin, due_s, now_s = len(self._prefix), self._due_s, self._clock()
        for payload in payloads:
            symbol = payload[begin : payload.find(b'"', begin)]
            if now_s >= due_s.get(symbol, 0.0):
                self._look(symbol, payload, now_s)

    def _look(self, symbol: bytes, payload: bytes, now_s: float) -> None:
        found, sent = _PRICE.search(payload), _TIME.search(payload)
        if not found or not sent or not payload.startswith(self._prefix):
            return
        self._due_s[symbol] = now_s + LOOK_S
        self._observe(int(sent[1]), symbol.decode(errors="replace"))
        lag_s = max(0.0, (self._wall_ms() - int(sent[1])) / 1000)  # it may have been held up: it speaks of then
        price, (known, from_s) = found[1], self._known.get(symbol, (b"", 0.0))
        self._known[symbol] = price, now_s - lag_s
        if known and known != price:
            self.moves[symbol] = from_s


class PricedWatch(TopicWatch):
    """A watch over tickers that looks at their prices, too, where `prices` is set."""

    prices: LastPrices | None = None

    def see(self, payloads: Sequence[bytes]) -> None:
        """Look at the topics, and at the prices."""
        super().see(payloads)
        if self.prices:
            self.prices.see(payloads)


@dataclass
class _Topic:
    """One trades topic. Times are monotonic, `_ms` the host's clock."""

    name: str
    count: int = 0
    heard_s: float = 0.0
    since_ms: int = 0  # the tick before it was heard last: a hole begins later
    twin_count: int = 0  # what other connections had brought of it when it was heard last
    accused_s: float | None = None  # when a move was seen first that no trade explains
    patience_s: float = PATIENCE_S


class TradeWatch:
    """The trades topics of one connection; takes the place of a books.TopicWatch. On the stream's thread.

    `twins` are the watches of all connections of the market, this one too: what another one brings, and this one does
    not, it misses. Without `prices` nothing is known by the ticker.
    """

    def __init__(
        self,
        market: str,
        topics: Iterable[str],
        prices: LastPrices | None,
        news: StreamNews,
        *,
        twins: "Collection[TradeWatch]" = (),
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._prefix = fast_prefix(market, "trades")
        self._prices, self._news, self._twins, self._wall_ms = prices, news, twins, wall_ms
        self._topics: dict[bytes, _Topic] = {}
        self._counts: dict[bytes, int] = {}
        self._last_look_ms = wall_ms()
        self.resubscribe: Resubscribe = lambda _topic, _since_ms: False
        self.follow(topics)

    def follow(self, topics: Iterable[str]) -> None:
        """Watch these from now on; those watched already go on."""
        wanted = {symbol_of(name).encode(): name for name in topics}
        for key in self._topics.keys() - wanted.keys():
            del self._topics[key], self._counts[key]
        for key, name in wanted.items():
            self._topics.setdefault(key, _Topic(name))
            self._counts.setdefault(key, 0)

    def heard_s(self, name: str) -> float:
        """When a topic brought something, to the tick (monotonic); 0 where it is not known."""
        topic = self._topics.get(symbol_of(name).encode())
        return topic.heard_s if topic else 0.0

    def see(self, payloads: Sequence[bytes]) -> None:
        """Count payloads that went to the callback by their topic; on the path of all."""
        begin, counts = len(self._prefix), self._counts
        for payload in payloads:
            topic = payload[begin : payload.find(b'"', begin)]
            if topic in counts:
                counts[topic] += 1

    def tick(self, now_s: float, active: Container[str]) -> None:
        """Ask again for what was silent while its price moved, or while another connection brought it."""
        look_ms, self._last_look_ms = self._last_look_ms, self._wall_ms()
        for key, topic in self._topics.items():
            if topic.name not in active or self._counts[key] != topic.count or not topic.heard_s:
                topic.count, topic.heard_s, topic.since_ms = self._counts[key], now_s, look_ms
                topic.accused_s, topic.twin_count = None, self._count_of_twins(key)
            elif topic.accused_s is None:
                topic.accused_s = now_s if self._is_accused(key, topic) else None
            elif now_s > topic.accused_s + topic.patience_s:
                self._silent(topic, now_s)

    def _is_accused(self, key: bytes, topic: _Topic) -> bool:
        moved_s = self._prices.moves.get(key, 0.0) if self._prices else 0.0
        return topic.heard_s < moved_s - MARGIN_S or self._count_of_twins(key) > topic.twin_count

    def _count_of_twins(self, key: bytes) -> int:
        """Of connections that come and go: it may fall, which accuses nobody."""
        return sum(twin._counts.get(key, 0) for twin in list(self._twins) if twin is not self)

    def _silent(self, topic: _Topic, now_s: float) -> None:
        if not self.resubscribe(topic.name, topic.since_ms):
            return  # at the next tick, then
        silent_s = round(now_s - topic.heard_s, 1)
        log.warning("topic_silent", topic=topic.name, silent_s=silent_s)
        self._news.tell("stale", [topic.name], topic=topic.name, silent_s=silent_s)
        topic.patience_s = min(PATIENCE_CAP_S, topic.patience_s * 2)
        topic.heard_s = 0.0  # begins anew
