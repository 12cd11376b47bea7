"""The exchange's streams that clients of its own protocol want and that are not collected: passed on to all of them.

On connections and threads of their own, `stream-passed <market> <number>`: in no plan, figure or verdict; they share
the budget of connects alone, as those of pages do (app/page/feeds.py). `want` is for any thread, all else is main's.
"""

import functools
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import structlog

from app.options import endpoints, feed_options
from conf.settings import Settings
from exchanges.contract import Venue
from model.dialect import Topic
from model.events import NO_EVENTS
from model.ports import Callback, Dial, Feed
from model.records import StreamLimits
from streams import MarketFeed, Supervisor
from streams.plan import LiveSymbols

KEPT_S = 30.0  # what nobody wants any more is streamed on: clients that come and go must not use up the connects

KEPT_MOST = 2_000  # topics; with more, those that nobody wants go at once

log = structlog.get_logger()


@dataclass(eq=False)
class PassedStream:
    """One connection, and the topics that it carries: at least one while its entry is there."""

    market: str
    url: str
    feed: Feed
    callback: Callback
    entry: dict[str, Any]
    lose: Callable[[Sequence[str]], object]
    topics: LiveSymbols = field(default_factory=LiveSymbols)
    has_data = False

    def run(self) -> None:
        """Stream the topics until the connection ends; on a thread of its own. What it loses is reported."""
        self.has_data = False
        if not self.topics:
            return
        try:
            self.feed.run("topics", self.topics, self._take)
        except ConnectionError:
            if self.has_data:
                self.lose(tuple(self.topics))
            raise

    def _take(self, payload: bytes) -> None:
        self.has_data = True
        self.callback(payload)


class PassedStreams:
    """The connections of all that is passed on."""

    def __init__(
        self,
        settings: Settings,
        venue: Venue,
        dial: Callable[[], Dial],
        put: Callable[[str], Callback],
        lose: Callable[[str, Sequence[str]], object],
        make_feed: Callable[..., Feed] = MarketFeed,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`dial()`: what opens connections; `put(market)`: what takes the payloads of a market.

        `lose(market, topics)`: called where a connection has ended, and some of their payloads may be missing.
        """
        self._settings, self._venue, self._dial, self._put, self._lose = settings, venue, dial, put, lose
        self._make_feed, self._clock = make_feed, clock
        self._wanted: frozenset[Topic] = frozenset()
        self._wanted_s: dict[Topic, float] = {}  # what is streamed, and when it was wanted last
        self._feeds: dict[str, Feed] = {}
        self._streams: list[PassedStream] = []
        self._entries: list[dict[str, Any]] = []
        self._supervisor: Supervisor | None = None
        self._numbers = count(1)

    @property
    def count(self) -> int:
        """How many topics are streamed now; any thread."""
        return len(self._wanted_s)

    def want(self, topics: Collection[Topic]) -> None:
        """Stream these topics from the next look on, and no others; any thread."""
        self._wanted = frozenset(topics)

    def tick(self) -> None:
        """Follow what is wanted; start, revive and end connections."""
        now_s, wanted = self._clock(), self._wanted
        came = wanted - self._wanted_s.keys()
        self._wanted_s |= dict.fromkeys(wanted, now_s)
        kept_s = KEPT_S if len(self._wanted_s) <= KEPT_MOST else 0.0
        if gone := {topic for topic, wanted_s in self._wanted_s.items() if now_s > wanted_s + kept_s}:
            self._leave(gone)
        self._carry(sorted(came))
        if self._supervisor is None and self._entries:
            self._supervisor = Supervisor(self._entries, reconnect_delay_s=self._settings.reconnect_delay)
        if self._supervisor is not None:
            self._supervisor.tick()

    def stop(self) -> None:
        """End every connection; does not wait."""
        if self._supervisor is not None:
            self._supervisor.stop(0.0)

    def _leave(self, gone: Collection[Topic]) -> None:
        """Stream these no more; a connection without topics ends."""
        for topic in gone:
            del self._wanted_s[topic]
        for stream in list(self._streams):
            kept = [topic for topic in stream.topics if (stream.market, topic) not in gone]
            if not kept:
                self._streams.remove(stream)
                self._entries.remove(stream.entry)
            elif len(kept) < len(stream.topics):
                stream.topics.replace(kept)

    def _carry(self, topics: Collection[Topic]) -> None:
        """Give each topic to a connection of its market and URL that has room, or to a new one."""
        new: dict[PassedStream, list[str]] = {}
        for market, topic in topics:
            feed = self._feed_of(market)
            try:
                url = feed.endpoint("topics", feed.topics("topics", [topic]))
            except ValueError as error:  # the dialect lets through what has the form of a name
                log.warning("stream_not_passed_on", market=market, topic=topic, error=str(error))
                continue
            alike = [each for each in (*self._streams, *new) if (each.market, each.url) == (market, url)]
            room = (each for each in alike if has_room(feed.limits, [*each.topics, *new.get(each, ()), topic]))
            new.setdefault(next(room, None) or self._new(market, url, feed), []).append(topic)
        for stream, came in new.items():
            stream.topics.replace([*stream.topics, *came])
            if stream not in self._streams:
                self._streams.append(stream)
                self._entries.append(stream.entry)

    def _new(self, market: str, url: str, feed: Feed) -> PassedStream:
        entry: dict[str, Any] = {"name": f"passed {market} {next(self._numbers)}"}
        stream = PassedStream(market, url, feed, self._put(market), entry, functools.partial(self._lose, market))
        stream.entry |= {"func": stream.run, "args": ()}
        return stream

    def _feed_of(self, market: str) -> Feed:
        if market not in self._feeds:
            protocol = self._venue.protocol(market, endpoints(self._settings, market))
            options = replace(feed_options(self._settings), watch_trades=False, is_redundant=False)
            self._feeds[market] = self._make_feed(
                protocol, options, dial=self._dial(), report=_ignore, events=NO_EVENTS
            )
        return self._feeds[market]


def has_room(limits: StreamLimits, topics: Collection[str]) -> bool:
    """Return whether one connection may carry these topics."""
    is_few = not limits.topics or len(topics) <= limits.topics
    return is_few and (not limits.bytes or sum(map(limits.cost, topics)) <= limits.bytes)


def _ignore(_cause: str, _sample: bytes) -> None:
    """Report nothing: a Report."""
