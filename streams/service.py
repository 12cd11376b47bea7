"""The service of all streams: the plan, the threads that run it, the connections they open, and duplicates.

Has no thread of its own: main calls `reconcile`, `tick` and `stop`. Feeds are made by the function `make_feed`, one per
market, at first use.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import structlog

from model.context import RunningCollector, current
from model.events import EventSink, StatusEvent, StreamEvent
from model.ports import Dial, Feed
from model.problems import NO_OUTAGES, OutageSink
from model.protocol import Refusal
from streams.budget import ConnectBudget, DescriptorBudget
from streams.dialer import Dialer
from streams.plan import DesiredStream, StreamPlan, is_planned
from streams.plan_table import Connects, PlannedSocket, plan_text, sockets_of
from streams.reader import Reader
from streams.registry import (
    TOPICS,
    Channel,
    RequestOf,
    StreamEntry,
    StreamRequest,
    Target,
    channels_of,
    duplicates,
    read_entries,
)
from streams.shard import Shard
from streams.supervisor import Supervisor

log = structlog.get_logger()


@dataclass(frozen=True)
class StreamOptions:
    """`connects` is for all processes of this address; `shard` is i/n; `market` and `depth` are the defaults.

    `refusals`: the HTTP statuses by which the exchange refuses this address; `headers`: those of each handshake.
    """

    market: str
    depth: int
    pool_size: int
    connects: Connects
    shard: str = "1/1"
    reconnect_delay_s: float = 2.0
    reconnect_max_attempts: int = 0
    refusals: Mapping[int, Refusal] = field(default_factory=lambda: MappingProxyType({}))
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def check_entries(
    streams: Sequence[object],
    request_of: RequestOf,
    market_of: Callable[[StreamRequest], str],
    feed_of: Callable[[str], Feed],
    depth: int,
) -> None:
    """Raise ValueError with a line for every entry that is wrong, or names what the exchange does not have."""
    good, bad = read_entries(list(streams))
    wrong = [text for _, text in bad]
    try:
        sockets_of(good, request_of, market_of, feed_of, depth)
    except ValueError as error:
        wrong += str(error).splitlines()
    if wrong:
        raise ValueError("\n".join(wrong))


class NamedEvents:
    """An EventSink that names the calling thread's stream in its events."""

    def __init__(self, events: EventSink) -> None:
        self._events = events

    def emit(self, event: StatusEvent, /) -> None:
        """Pass on one event. Threads that run or read a stream."""
        self._events.emit(replace(event, stream=current().name) if isinstance(event, StreamEvent) else event)


class StreamService:
    """Runs a STREAMS list. Main thread, except `run` (the streams' own) and `stats` (any)."""

    def __init__(
        self,
        streams: list[dict[str, Any]],
        options: StreamOptions,
        make_feed: Callable[[str, Dial], Feed],
        request_of: RequestOf,
        target_of: Callable[[StreamRequest], Target],
        *,
        reader: Reader,
        collector: RunningCollector | None = None,
        events: EventSink,
        outages: OutageSink = NO_OUTAGES,
        descriptors: DescriptorBudget | None = None,
    ) -> None:
        """`make_feed(market, dial)`; `request_of` reads an entry's call as a request. Raises ValueError.

        `target_of(request)` returns what takes its payloads, or raises ValueError: any thread.
        """
        self.shard = Shard.parse(options.shard)
        self.plan = StreamPlan(streams, options.pool_size)
        self._streams, self._options, self._make_feed = streams, options, make_feed
        self._request_of, self._target_of = request_of, target_of
        self._desired: list[DesiredStream] = []
        self._users: dict[int, object] = {}  # entries of the user's own at the last tick, by id
        self._connects = Connects(max(1, options.connects.most // self.shard.count), options.connects.per_s)
        self._dialer = Dialer(
            ConnectBudget(self._connects.most, self._connects.per_s),
            reader=reader,
            descriptors=descriptors,
            refusals=options.refusals,
            headers=options.headers,
        )
        self._reader = reader
        self._feeds: dict[str, Feed] = {}
        self._lock = threading.Lock()
        self.supervisor = Supervisor(
            streams,
            reconnect_delay_s=options.reconnect_delay_s,
            reconnect_max_attempts=options.reconnect_max_attempts,
            collector=collector,
            events=events,
            outages=outages,
            owns=self._owns,
            refusal=self._refusal,
            streamed=self._streamed,
        )

    @property
    def dial(self) -> Dial:
        """What opens connections, within the budget of all."""
        return self._dialer.open

    def feed(self, market: str | None = None) -> Feed:
        """The feed of a market, the usual one for None."""
        name = market or self._options.market
        with self._lock:
            if name not in self._feeds:
                self._feeds[name] = self._make_feed(name, self._dialer.open)
            return self._feeds[name]

    def run(self, request: StreamRequest) -> None:
        """Run one stream on the calling thread until its connection ends."""
        target = self._target_of(request)
        self._warn_of_duplicates(set(channels_of(request, target, self._options.depth)))
        context = current()
        before, context.market = context.market, target.market
        context.streamed = target.market, request.kind
        try:
            self.feed(target.market).run(
                request.kind, request.symbols, target.take, depth=request.depth or self._options.depth
            )
        finally:
            context.market = before

    def reconcile(self, desired: Iterable[DesiredStream]) -> None:
        """Reconcile the plan with what is desired now, without what an entry of the user's streams already."""
        self._desired = list(desired)
        users = {
            channel for channel, _ in self._channels(each for each in self._entries() if not is_planned(each.source))
        }
        self.plan.reconcile(self._narrowed(stream, users) for stream in self._desired)

    def tick(self) -> bool:
        """Reconcile with the list: what a removed entry of the user's streamed is the plan's again.

        True where entries of the user's were added or removed.
        """
        users: dict[int, object] = {id(entry): entry for entry in list(self._streams) if not is_planned(entry)}
        has_changed = self._users.keys() != users.keys()
        if self._users.keys() - users.keys():
            self.reconcile(self._desired)
        self._users = users
        self.supervisor.tick()
        return has_changed

    def collected(self, wanted: str | None = "trades") -> set[tuple[str, str]]:
        """The markets and symbols that this process streams to channels: of one kind, or None for any with symbols."""
        owned = self._channels(filter(self._owns, self._entries()))
        found = ((market, symbol, kind) for (market, kind, _, symbol), _source in owned if kind != TOPICS)
        return {(market, symbol) for market, symbol, kind in found if wanted in (None, kind)}

    def text(self) -> str:
        """The plan as text; ValueError for what the exchange would refuse."""
        return plan_text(*self._sockets(self.supervisor.check()), self._connects)

    def stop(self, limit_s: float) -> list[str]:
        """End every stream within `limit_s` seconds; the names of those still alive. The list is the user's again."""
        alive = self.supervisor.stop(limit_s)
        self._reader.stop()
        self.plan.clear()
        return alive

    @property
    def count(self) -> int:
        """How many connections are desired."""
        return len(self._streams)

    def quarantined(self) -> dict[tuple[str, ...], int]:
        """How many topics the exchange refuses now, by market and kind. Any thread."""
        with self._lock:
            feeds = list(self._feeds.items())
        return {(market, kind): count for market, feed in feeds for kind, count in feed.quarantined().items()}

    def stats(self) -> dict[str, int]:
        """Counters since the start, as fields of a log line. Any thread."""
        streams, combined = self.supervisor.status(), self.plan.combined
        return {
            "streams": len(streams),
            "live": sum(stream.state == "live" for stream in streams),
            "given_up": sum(stream.state == "gave_up" for stream in streams),
            "messages": sum(stream.messages for stream in streams),
            "connects": sum(stream.connects for stream in streams),
            "merged": sum(pair.merged for pair in combined),
            "partly_seen": sum(pair.partly_seen for pair in combined),
        }

    def _sockets(self, entries: Iterable[StreamEntry]) -> tuple[list[PlannedSocket], list[str]]:
        return sockets_of(
            entries, self._request_of, lambda r: self._target_of(r).market, self.feed, self._options.depth
        )

    def _refusal(self, entry: StreamEntry) -> str | None:
        """Why an entry of the user's cannot be run; None where it can."""
        try:
            self._sockets(() if is_planned(entry.source) else (entry,))
        except ValueError as error:
            return str(error)
        return None

    def _streamed(self, entry: StreamEntry) -> tuple[str, str] | None:
        """The market and kind that an entry streams; None for a function of the user's, which shows when it runs."""
        request = self._request_of(entry.func, entry.args, entry.kwargs)
        return (self._target_of(request).market, request.kind) if request else None

    def _owns(self, entry: StreamEntry) -> bool:
        return is_planned(entry.source) or self.shard.owns(entry.name)

    def _entries(self) -> list[StreamEntry]:
        return read_entries(list(self._streams))[0]

    def _channels(self, entries: Iterable[StreamEntry]) -> Iterator[tuple[Channel, object]]:
        """The channels of entries, each with its source: the entry, or what combines two of the plan's."""
        for entry in entries:
            request = self._request_of(entry.func, entry.args, entry.kwargs)
            if request is None:
                continue
            try:
                target = self._target_of(request)
                is_combined = is_planned(entry.source) and request.callback in self.plan.combined
                source = request.callback if is_combined else entry.source
                yield from ((channel, source) for channel in channels_of(request, target, self._options.depth))
            except (TypeError, ValueError):  # a wrong entry, which the supervisor reports
                continue

    def _narrowed(self, stream: DesiredStream, users: Collection[Channel]) -> DesiredStream:
        """A stream without the channels of the user's own entries, within what one connection carries."""
        depth = self._options.depth if stream.kind == "orderbook" else None
        symbols = [s for s in stream.symbols if (stream.market, stream.kind, depth, s) not in users]
        feed = self.feed(stream.market)
        if not symbols or feed.is_market_wide(stream.kind):
            return replace(stream, symbols=symbols, is_market_wide=True)
        beside = feed.limits.cost(feed.topics(stream.kind, "X", self._options.depth)[0]) - 1
        limits = feed.limits
        return replace(
            stream,
            symbols=symbols,
            cost=lambda symbol: len(symbol.encode()) + beside,
            budget=limits.bytes or stream.budget,
            most=limits.topics or stream.most,
        )

    def _warn_of_duplicates(self, channels: Collection[Channel]) -> None:
        entries = self._entries()
        sources = list(self._channels(entries))
        own = (each for each in entries if each.name == current().name)
        of_users_func = [each.source for each in own if not self._request_of(each.func, each.args, each.kwargs)]
        sources += [(channel, source) for source in of_users_func for channel in channels]
        repeated = [channel for channel in duplicates(sources) if channel in channels]
        if repeated:
            market, kind, *_ = repeated[0]
            symbols = [channel[-1] for channel in repeated]
            log.warning("duplicate_stream", market=market, kind=kind, symbols=symbols, remedy="one entry per symbol")
