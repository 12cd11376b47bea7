"""One connection of the publisher, on a link that records what it is asked for."""

import pytest

from consumers.redis.backlog import KlineBacklog
from consumers.redis.checkpoint.store import CheckpointOptions, KlineCheckpoint
from consumers.redis.connection import LinkClosedError
from consumers.redis.kline_queue import KlineSender
from consumers.redis.raw_queue import RawQueue
from consumers.redis.session import IN_FLIGHT_LIMIT, READ_EVERY, PublisherState, Session
from model.pacing import Backoff, ThrottledLogger
from model.wake import WakeSignal
from tests.support.klines import klines


class Link:
    """A RedisLink whose server takes what it has room for, and answers when it is told to."""

    def __init__(self) -> None:
        self.unsent = memoryview(b"")
        self.written: list[bytes] = []
        self.replies = b""
        self.reads = 0

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def flush(self) -> None: ...

    def read(self) -> bytes:
        self.reads += 1
        data, self.replies = self.replies, b""
        return data


class Harness:
    """A session, its queues, and a clock that stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr("consumers.redis.session.time.monotonic", lambda: self.now_s)
        self.link, self.raw = Link(), RawQueue(10**6, 10**9, WakeSignal())
        self.checkpoint = KlineCheckpoint(CheckpointOptions("bybit"))
        self.klines = KlineSender(KlineBacklog(None), None, self.checkpoint)
        logger = ThrottledLogger(None)  # nothing is logged
        state = PublisherState(self.raw, self.klines, self.checkpoint, logger, Backoff(1.0, 2.0), 5.0)
        self.in_flight = state.in_flight
        self.session = Session(self.link, state)  # type: ignore[arg-type]
        self.session.exchange(with_klines=True)
        self.link.reads = 0

    def send(self, count: int = 1, *, with_klines: bool = False) -> bool:
        """Exchange with as many raw messages more; whether it is stuck."""
        self.raw.put_all("c", [b"x"] * count)
        return self.session.exchange(with_klines=with_klines)


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Harness:
    return Harness(monkeypatch)


def test_replies_are_not_read_with_every_write(harness: Harness) -> None:
    """A read each would double the cost; the checkpoint's first reply is not awaited before a kline was sent."""
    for _ in range(READ_EVERY):
        harness.now_s += 0.0002
        harness.send()
    assert harness.link.reads == 0
    harness.send()
    assert harness.link.reads == 1
    harness.link.replies = b":1\r\n" * (READ_EVERY + 1)
    harness.send()
    assert (harness.link.reads, harness.in_flight.count) == (2, 1)
    harness.now_s += 0.021
    harness.send()
    assert harness.link.reads == 3


def test_the_reply_to_a_connections_first_kline_is_looked_for_at_once(harness: Harness) -> None:
    """The checkpoint waits for it."""
    harness.klines.offer(klines())
    harness.send(with_klines=True)
    assert len(harness.link.written) == 1
    harness.now_s += 0.0011
    harness.send()
    assert harness.link.reads == 1
    harness.link.replies = b":1\r\n:1\r\n"
    harness.now_s += 0.0011
    harness.send()
    assert (harness.link.reads, harness.checkpoint.has_commands) == (2, True)
    harness.now_s += 0.0011
    harness.send()
    assert harness.link.reads == 2


def test_a_session_is_stuck_while_redis_takes_or_answers_nothing(harness: Harness) -> None:
    """What comes meanwhile waits in the queue."""
    assert harness.send() is False
    harness.link.unsent = memoryview(b"rest")
    assert harness.send() is True
    harness.link.unsent = memoryview(b"")
    assert harness.send(IN_FLIGHT_LIMIT) is True
    written = len(harness.link.written)
    assert harness.send() is True
    assert len(harness.link.written) == written
    harness.now_s += 5.1
    with pytest.raises(LinkClosedError, match="no reply in time"):
        harness.send()


def test_klines_that_wait_for_a_pause_are_in_the_backlog(harness: Harness) -> None:
    """Else they would be new at the end of each round of reads, and wake the thread a thousand times a second."""
    harness.klines.pause(harness.now_s + 2)
    harness.klines.offer(klines())
    assert harness.klines.due_in_s(harness.now_s) == 2
    harness.send(with_klines=True)
    assert (len(harness.klines), len(harness.klines.new), harness.klines.due_in_s(harness.now_s + 0.5)) == (1, 0, 1.5)
    harness.now_s += 2
    harness.send(with_klines=True)
    assert (len(harness.klines), harness.klines.due_in_s(harness.now_s)) == (0, float("inf"))


def test_klines_do_not_put_off_the_next_look_at_replies(harness: Harness) -> None:
    """However many are written one after another."""
    harness.checkpoint.awaits_first_reply = False
    for _ in range(5):
        harness.now_s += 0.011
        harness.klines.offer(klines())
        harness.send(with_klines=True)
    assert harness.link.reads > 0
