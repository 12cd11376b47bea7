"""A collector that is built and not started, and the calling thread as one of its streams'."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import main
from app.collector import Collector
from conf.settings import Settings
from model.context import StreamContext, set_current


def collector_of(settings: Settings, streams: list[dict[str, Any]] | None = None) -> Collector:
    """Return a collector of `streams` (None: no entries of the user's), with main's subscribe functions."""
    return Collector(settings, [] if streams is None else streams, main.SUBSCRIBE)


@contextmanager
def stream_of(collector: Collector) -> Iterator[None]:
    """Make the calling thread a stream's of `collector`: subscribe_* and handle_* find it there."""
    set_current(StreamContext("test", collector=collector))
    try:
        yield
    finally:
        set_current(None)
