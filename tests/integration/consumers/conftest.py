"""Redis publishers that are always ended."""

import time
from collections.abc import Callable, Iterator

import pytest

from consumers.redis.options import RedisOptions
from consumers.redis.standalone import RedisPublisher
from model.events import NO_EVENTS, EventSink


@pytest.fixture
def publisher() -> Iterator[Callable[..., RedisPublisher]]:
    """Start a publisher with the given options; ends it whatever happens. Comes back quickly, for the test's sake."""
    started: list[RedisPublisher] = []

    def start(url: str, events: EventSink = NO_EVENTS, **options: object) -> RedisPublisher:
        one = RedisPublisher(RedisOptions(url, **({"backoff_cap_s": 0.2} | options)), events)  # type: ignore[arg-type]
        started.append(one)
        one.start()
        return one

    yield start
    for one in started:
        one.begin_stop(time.monotonic() + 2)
        one.join(time.monotonic() + 4)
