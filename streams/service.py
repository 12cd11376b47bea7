"""Everything that streams, as one: the plan, the threads that run it, the connections they open, what is whose.

Has no thread of its own: main calls `follow`, `tick` and `stop`. Feeds are made by a function that is handed in, one
per market, at first use.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from streams.budget import ConnectBudget
from streams.dialer import Dialer
from streams.plan import StreamPlan, Want, count_entries, is_planned
from streams.reader import Reader
from streams.registry import read_entries
from streams.report import Connects, FeedLike, plan_text, sockets_of
from streams.shard import Shard
from streams.supervisor import Supervisor

log = structlog.get_logger()


class Feed(FeedLike, Protocol):
    """One market of an exchange; `run` blocks while a connection lives."""

    def run(self, kind: Any, symbols: Any, callback: Any, *, depth: int = 50) -> None: ...


@dataclass(frozen=True)
class StreamOptions:
    """`connects` is for all processes of this address together; `shard` is i/n. `market` and `depth` are the usual."""

    market: str
    depth: int
    pool_size: int
    connects: Connects
    shard: str = "1/1"
    reconnect_delay_s: float = 2.0
    reconnect_max_attempts: int = 0

    @classmethod
    def of(cls, settings: Any, connects: Connects) -> "StreamOptions":
        """From a conf.settings.Settings, which this room does not import."""
        return cls(
            settings.channel_type,
            settings.orderbook_depth,
            settings.socket_pool_size,
            connects,
            settings.shard,
            settings.reconnect_delay,
            settings.reconnect_max_attempts,
        )


def check_entries(
    streams: Sequence[object], kinds: Mapping[Any, str], feed_of: Callable[[str | None], FeedLike], depth: int
) -> None:
    """Raise ValueError with a line for every entry that is wrong, or asks for what the exchange does not have."""
    good, bad = read_entries(list(streams))
    wrong = [text for _, text in bad]
    try:
        sockets_of(good, kinds, feed_of, depth)
    except ValueError as error:
        wrong += str(error).splitlines()
    if wrong:
        raise ValueError("\n".join(wrong))


class StreamService:
    """The STREAMS list, running. Main's thread, but for `run` (the streams' own) and `status` (any)."""

    def __init__(
        self,
        streams: list[dict[str, Any]],
        options: StreamOptions,
        make_feed: Callable[[str, Callable[[str], Any]], Feed],
        kinds: Mapping[Any, str],
        *,
        reader: Reader,
        tell: Callable[..., object],
    ) -> None:
        """`make_feed(market, dial)`; `kinds` says which kind a function of an entry streams. Raises ValueError."""
        self.shard = Shard.parse(options.shard)
        self.plan = StreamPlan(streams, options.pool_size)
        self._streams, self._options, self._make_feed, self._kinds = streams, options, make_feed, kinds
        self._connects = Connects(max(1, options.connects.most // self.shard.count), options.connects.per_s)
        self._dialer = Dialer(ConnectBudget(self._connects.most, self._connects.per_s), reader=reader)
        self._reader = reader
        self._feeds: dict[str, Feed] = {}
        self._lock = threading.Lock()
        self.supervisor = Supervisor(
            streams,
            reconnect_delay_s=options.reconnect_delay_s,
            reconnect_max_attempts=options.reconnect_max_attempts,
            tell=tell,
            owns=lambda entry: is_planned(entry.source) or self.shard.owns(entry.name),
        )

    def feed(self, market: str | None = None) -> Feed:
        """The feed of a market, the usual one for None."""
        name = market or self._options.market
        with self._lock:
            if name not in self._feeds:
                self._feeds[name] = self._make_feed(name, self._dialer.open)
            return self._feeds[name]

    def run(
        self, func: Any, symbols: str | Sequence[str], callback: Any, market: str | None, depth: int | None
    ) -> None:
        """Run one stream on the calling thread until its connection ends."""
        names = [symbols] if isinstance(symbols, str) else symbols
        kind, wanted = self._kinds[func], 2 if callback in self.plan.merged else 1
        entries = list(self._streams)
        if twice := [name for name in names if count_entries(entries, func, name, callback) > wanted]:
            log.warning("streamed_twice", kind=kind, symbols=twice, remedy="one entry per symbol and callback")
        self.feed(market).run(kind, symbols, callback, depth=depth or self._options.depth)

    def follow(self, wants: Iterable[Want]) -> None:
        """Stream what is wanted now, over connections that carry it."""
        self.plan.follow(self._bounded(want) for want in wants)

    def text(self) -> str:
        """What would be streamed, for a person; ValueError where the exchange would not have it."""
        sockets, own = sockets_of(self.supervisor.check(), self._kinds, self.feed, self._options.depth)
        return plan_text(sockets, own, self._connects)

    def stop(self, limit_s: float) -> list[str]:
        """End every stream within `limit_s` seconds; the names of those still alive. The list is the user's again."""
        alive = self.supervisor.stop(limit_s)
        self._reader.stop()
        self.plan.clear()
        return alive

    def stats(self) -> dict[str, int]:
        """Figures since the start, as fields of a log line."""
        streams, merged = self.supervisor.status(), self.plan.merged
        return {
            "streams": len(streams),
            "live": sum(stream.state == "live" for stream in streams),
            "messages": sum(stream.messages for stream in streams),
            "connects": sum(stream.connects for stream in streams),
            "merged": sum(pair.merged for pair in merged),
            "partly_seen": sum(pair.partly_seen for pair in merged),
        }

    def _bounded(self, want: Want) -> Want:
        feed = self.feed(want.market)
        beside = len(feed.topics(want.kind, "X", self._options.depth)[0]) - 1 + feed.limits.characters_per_topic
        return want.within(lambda symbol: len(symbol) + beside, feed.limits.characters)
