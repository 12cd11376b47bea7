"""Public streams of a client: one connection per category and kind, which further symbols join and leave.

Any thread may call; callbacks run on the stream's thread.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from exchanges.bybit.client.connection import ConnectionManager
from exchanges.bybit.client.dispatch import Callback, Dispatch, MergedTickers
from exchanges.bybit.client.errors import RequestError
from exchanges.bybit.client.stream_threads import LiveSymbols, StreamThreads, dialer
from exchanges.bybit.protocol import BybitProtocol
from exchanges.contract import Endpoints
from model.events import EventSink
from model.records import Kind
from streams import FeedOptions, MarketFeed

log = structlog.get_logger()

Held = list[tuple[str, Callback]]


@dataclass(eq=False)
class Public:
    """One public connection."""

    name: str
    key: tuple[str, Kind, int]
    symbols: LiveSymbols = field(default_factory=LiveSymbols)
    dispatch: Dispatch = field(default_factory=Dispatch)


@dataclass(frozen=True)
class Membership:
    """The topics and callbacks of one subscribe call on a connection."""

    stream: Public
    names: tuple[str, ...]
    held: Held


class PublicStreams:
    """The public connections of one client."""

    def __init__(self, threads: StreamThreads, connection: ConnectionManager, events: EventSink) -> None:
        self._threads, self._connection, self._events = threads, connection, events
        self._lock = threading.Lock()
        self._streams: list[Public] = []
        self._feeds: dict[str, MarketFeed] = {}
        self._count = 0

    def join(
        self, category: str, kind: Kind, names: Sequence[str], callback: Callback, *, depth: int, merge: bool
    ) -> Membership:
        """Subscribe `callback` to these symbols; raises RequestError for a topic that Bybit does not have."""
        with self._lock:
            try:
                feed = self._feed(category)
                topics = feed.topics(kind, names, depth)
            except ValueError as error:
                raise RequestError(str(error)) from None
            stream = self._stream_without(names, (category, kind, depth))
            held: Held = [(topic, MergedTickers(callback) if merge else callback) for topic in topics]
            for topic, taker in held:
                stream.dispatch.add(topic, taker)
            is_new = not stream.symbols
            stream.symbols.replace([*stream.symbols, *names])
            if is_new:
                self._threads.add(
                    stream.name, lambda: feed.run(kind, stream.symbols, stream.dispatch.deliver, depth=depth)
                )
        return Membership(stream, tuple(names), held)

    def leave(self, membership: Membership) -> None:
        """Undo a `join`; the last one on a connection closes it."""
        stream = membership.stream
        with self._lock:
            for topic, taker in membership.held:
                stream.dispatch.remove(topic, taker)
            left = [symbol for symbol in stream.symbols if symbol not in membership.names]
            if left:
                stream.symbols.replace(left)
            elif stream in self._streams:
                self._streams.remove(stream)
                self._threads.remove(stream.name)

    def _stream_without(self, names: Sequence[str], key: tuple[str, Kind, int]) -> Public:
        """A connection of that key without these symbols: a topic begins with a snapshot once per connection."""
        for stream in self._streams:
            if stream.key == key and not set(names) & set(stream.symbols):
                return stream
        category, kind, depth = key
        self._count += 1
        stream = Public(f"client_{kind}_{category}_{depth}_{self._count}", key)
        self._streams.append(stream)
        return stream

    def _feed(self, category: str) -> MarketFeed:
        if category not in self._feeds:
            url, dial = self._connection.public_url(category), dialer(self._connection.proxies).open
            protocol = BybitProtocol(category, Endpoints(stream=url))
            self._feeds[category] = MarketFeed(protocol, FeedOptions(), dial=dial, report=_report, events=self._events)
        return self._feeds[category]


def _report(cause: str, sample: bytes) -> None:
    log.warning("stream_fault", cause=cause, sample=sample[:200].decode("utf-8", "replace"))
