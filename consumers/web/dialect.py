"""The web server's side of a dialect (model/dialect.py): raw payloads for it, where it publishes, and its clients.

`sink` functions run on stream threads for every payload: they append and return. All else is the event loop's, which
takes everything out many at a time. Bounded; the topics of dropped payloads are counted and named, so that no book with
a hole is sent. Depends on no exchange.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat

from consumers.web.client import Client
from consumers.web.fanout import Fanout
from consumers.web.frames import Answer, Message
from model.dialect import Dialect, RawPayload, Topic
from model.records import Kline

RAW_LIMIT = 50_000  # payloads; at 10,000 a second five seconds of an event loop that does not come round
RAW_BYTES = 64 * 1024 * 1024  # of payloads, where they are large
OPEN_LIMIT = 100_000  # open candles that wait: newest per market, symbol and interval
GATHER_S, GATHER_IDLE_S = 0.003, 0.05  # payloads of so long are taken together; longer while there is no subscriber
STATEFUL = frozenset({"orderbook", "ticker", "topics"})  # these are kept up to date even without subscribers


class RawFeedBridge:
    """One queue of payloads, and the newest open klines. Takes nothing before `start`, nor after `stop`."""

    def __init__(self, limit: int = RAW_LIMIT, limit_bytes: int = RAW_BYTES) -> None:
        self._limit, self._limit_bytes = limit, limit_bytes
        self._queue: deque[RawPayload] = deque()
        self._bytes = 0  # threads may lose an update to each other; right again whenever everything was taken out
        self._lost: dict[Topic, None] = {}
        self._open: dict[tuple[str, str, int], Kline] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dialect: Dialect | None = None
        self._is_due = True  # before start there is no loop to wake
        self.has_subscribers = False
        self.taken = self.dropped = 0  # payloads since the start; any thread, a moment old

    # -- any thread ------------------------------------------------------------------------------------

    def sink(self, market: str, kind: str) -> Callable[[Sequence[bytes]], object]:
        """Return a function that takes the payloads of one kind, in their order: never blocks, never raises."""
        is_stateful = kind in STATEFUL
        queue, limit, limit_bytes = self._queue, self._limit, self._limit_bytes

        def take(payloads: Sequence[bytes]) -> None:
            if self._loop is None or not (is_stateful or self.has_subscribers):
                return
            queue.extend(zip(repeat(market), payloads))
            size = sum(map(len, payloads))  # first: nothing comes between reading and writing a sum
            self._bytes += size
            while len(queue) > limit or (self._bytes > limit_bytes and len(queue) > 1):
                self._drop()
            if not self._is_due:
                self._wake()

        return take

    def offer_open(self, market: str, klines: Iterable[Kline]) -> None:
        """Take the present state of candles that are still open; only the newest of each is kept."""
        if self._loop is None or not self.has_subscribers:
            return
        for kline in klines:
            self._open[market, kline.symbol, kline.interval] = kline
            if len(self._open) > OPEN_LIMIT:
                self._open.clear()

    def lose(self, market: str, topics: Iterable[str]) -> None:
        """Record that messages of these topics are missing from here on."""
        if self._loop is None:
            return
        self._lost |= dict.fromkeys((market, topic) for topic in topics)
        if not self._is_due:
            self._wake()

    @property
    def waiting(self) -> int:
        """The payloads that wait now."""
        return len(self._queue)

    # -- the event loop's thread -----------------------------------------------------------------------

    def start(self, dialect: Dialect) -> None:
        """Hand payloads to `dialect` from now on, in the running loop."""
        self._dialect = dialect
        self._loop = asyncio.get_running_loop()
        self._is_due = False

    def stop(self) -> None:
        """Drop what waits, and take nothing any more."""
        self._loop = None
        self._is_due = True
        self._queue.clear()
        self._open.clear()

    def take_open(self) -> list[tuple[str, Kline]]:
        """Take out the open klines that came since the last call, each with its market."""
        taken: list[tuple[str, Kline]] = []
        with contextlib.suppress(KeyError):
            while True:
                (market, _, _), kline = self._open.popitem()
                taken.append((market, kline))
        return taken

    def _gather(self) -> None:
        if self._loop is not None:
            self._loop.call_later(GATHER_S if self.has_subscribers else GATHER_IDLE_S, self._take)

    def _take(self) -> None:
        self._is_due = False  # before looking: what comes while we look wakes us again
        payloads: list[RawPayload] = []
        self._bytes = 0
        with contextlib.suppress(IndexError):  # a thread that drops the oldest was quicker
            payloads.extend(self._queue.popleft() for _ in range(len(self._queue)))
        self.taken += len(payloads)
        lost: list[Topic] = []
        with contextlib.suppress(KeyError):
            while True:
                lost.append(self._lost.popitem()[0])
        if self._dialect and (payloads or lost):
            self._dialect.take_raw(payloads, lost)

    def _drop(self) -> None:
        with contextlib.suppress(IndexError):
            market, payload = self._queue.popleft()
            size = len(payload)  # first, as above
            self._bytes -= size
            self.dropped += 1
            if self._dialect:
                self._lost[market, self._dialect.topic_of(payload)] = None

    def _wake(self) -> None:
        self._is_due = True
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._gather)


class DialectFanout(Fanout):
    """The clients of a dialect, grouped by equal sets of topics: its TopicPublisher. `close` closes a connection."""

    def __init__(self, close: Callable[[Client], object] = lambda _client: None) -> None:
        super().__init__()
        self._close = close

    def is_wanted(self, market: str, topic: str) -> bool:
        return bool(self.wanting(f"{market}:{topic}"))

    def publish(self, market: str, topic: str, payload: bytes, conflate: object = None) -> None:
        groups = self.wanting(f"{market}:{topic}")
        if groups:  # encoded once, and not at all without subscribers
            message = Message(payload, conflate)
            for group in groups:
                self.put(group, message)

    def interrupt(self, market: str, topic: str) -> None:
        for client in [client for group in self.wanting(f"{market}:{topic}") for client in group.clients]:
            self.leave(client)
            self._close(client)


class TopicSet(frozenset[str]):
    """A set of topics as a filter."""

    def matches(self, key: str) -> bool:
        """Return whether a topic, market first, is in the set."""
        return key in self


class DialectPeer:
    """One client, as its session uses it: a DialectClient."""

    def __init__(self, client: Client, fanout: Fanout) -> None:
        self._client = client
        self._fanout = fanout
        self.connection_id = str(client.connection.id)
        request = client.connection.request
        self.query = request.path.partition("?")[2] if request else ""

    @property
    def is_open(self) -> bool:
        return self._client.is_open

    def send(self, payload: bytes) -> None:
        self._client.send(Message(payload))

    def answer(self, text: str) -> None:
        self._client.send(Answer(text.encode()))

    def subscribe(self, market: str, topics: Iterable[str]) -> None:
        self._fanout.move(self._client, TopicSet(f"{market}:{topic}" for topic in topics))
