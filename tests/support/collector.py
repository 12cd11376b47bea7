"""A collector that connects to nothing, and the calling thread as one of its streams'."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

from structlog.testing import capture_logs

import main
from app.collector import Collector
from conf.settings import Settings
from exchanges.contract import Venue
from exchanges.universe.follower import SymbolFollower
from model.context import StreamContext, current, set_current
from model.ports import Feed
from streams.feed import MarketFeed


def idle(*_: Any, **__: Any) -> None:
    """Stream nothing until the calling stream is stopped."""
    current().stop.wait()


def stream_nothing(*_: Any, **__: Any) -> None:
    """End at once."""


def feed_of(run: Callable[..., object] = idle) -> type[MarketFeed]:
    """Return a feed that calls `run(market, kind, symbols, callback, depth=...)` in the place of a connection."""

    class ScriptedFeed(MarketFeed):
        def run(self, *request: Any, **options: Any) -> None:
            run(self.market, *request, **options)

    return ScriptedFeed


def collector_of(
    settings: Settings,
    streams: list[dict[str, Any]] | None = None,
    venue: Venue | None = None,
    make_feed: Callable[..., Feed] | None = None,
) -> Collector:
    """Return a collector of `streams` (None: no entries of the user's), with main's subscribe functions.

    `venue` None: Bybit; `make_feed` None: its streams bring nothing.
    """
    return Collector(settings, [] if streams is None else streams, main.SUBSCRIBE, venue, make_feed or feed_of())


def follow(collector: Collector, **choice: tuple[str, ...]) -> None:
    """Have a collector follow the symbols of markets, as if they had been chosen; no stream is left running."""
    collector.symbols = cast(SymbolFollower, SimpleNamespace(take=lambda: choice, threads=list, stop=lambda: None))
    with capture_logs():
        collector.tick()


@contextmanager
def stream_of(collector: Collector) -> Iterator[None]:
    """Make the calling thread a stream's of `collector`: subscribe_* and handle_* find it there."""
    set_current(StreamContext("test", collector=collector))
    try:
        yield
    finally:
        set_current(None)


def published_by(collector: Collector) -> list[tuple[str, bytes]]:
    """Take out (channel, payload) of what waits to be published."""
    assert collector.outputs.manager.redis
    batches = collector.outputs.manager.redis.raw.take(1_000_000)
    texts = {channel: channel if isinstance(channel, str) else channel.decode() for channel, _, _ in batches}
    return [(texts[channel], payload) for channel, payloads, _ in batches for payload in payloads]
