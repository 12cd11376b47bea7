"""A misbehaving server in Redis's place cannot hold the collector up or fill its memory, and costs no kline."""

import socket
import threading
import time

import pytest
from redis.exceptions import RedisError

from consumers.redis.checkpoint.load import load_confirmed
from consumers.redis.connection import BoundedParser, HandshakeParser, RedisLink
from consumers.redis.options import RedisStreamsOptions
from consumers.redis.streams import RedisStreamsWriter
from consumers.relay import Relay
from tests.integration.consumers.redis.test_standalone import KLINES, listen  # noqa: F401 - a fixture among them
from tests.integration.consumers.redis_front import MISDEEDS, Front, Misdeed, drip, flood, http
from tests.support.klines import klines
from tests.support.waiting import wait_until

LIMIT_S, PATIENCE_S = 0.3, 8.0


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines short enough for a test."""
    monkeypatch.setattr(BoundedParser, "limit_s", LIMIT_S)
    monkeypatch.setattr(HandshakeParser, "limit_s", LIMIT_S)


@pytest.mark.parametrize("misdeed", [drip, flood, http])
def test_a_handshake_is_bounded(valkey, misdeed: Misdeed) -> None:
    """In time and in bytes."""
    with Front(valkey.port, misdeed) as front:
        begin_s = time.monotonic()
        with pytest.raises((OSError, RedisError)):
            RedisLink(f"redis://:pw@127.0.0.1:{front.port}/1").open()
        assert time.monotonic() - begin_s < PATIENCE_S


@pytest.mark.parametrize("after", [b"", b"HGETALL"])
@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_a_start_is_not_held_up(valkey, misdeed: Misdeed, after: bytes) -> None:
    """What was published last is read from the store alone then."""
    with Front(valkey.port, misdeed, after) as front:
        begin_s = time.monotonic()
        url = f"redis://127.0.0.1:{front.port}/0"
        assert load_confirmed(url, "bybit-streamer", ["linear", "spot"], {}, 1_767_717_000_000) == {}
        assert time.monotonic() - begin_s < PATIENCE_S
        assert front.misdeeds


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_publishing_outlives_a_redis_that_misbehaves(valkey, publisher, listen, misdeed: Misdeed) -> None:  # noqa: F811
    """The connection is given up, and the klines come in order over the next that is sound."""
    listener = listen(valkey.port, KLINES)
    with Front(valkey.port, misdeed, b"PUBLISH") as front:
        one = publisher(f"redis://127.0.0.1:{front.port}/0", reply_deadline_s=LIMIT_S)
        for number in range(5):
            one.offer(klines(number))
        wait_until(lambda: front.misdeeds >= 2)
        front.misdeed = None
        wait_until(lambda: len(listener.pump()) >= 5)
        assert listener.numbers() == list(range(5))


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_the_history_outlives_a_redis_that_misbehaves(valkey, misdeed: Misdeed) -> None:
    """The same for Redis Streams; a stop is not held up either."""
    with Front(valkey.port, misdeed, b"XADD") as front, valkey.client() as client:
        options = RedisStreamsOptions(f"redis://127.0.0.1:{front.port}/0", reply_deadline_s=LIMIT_S, backoff_cap_s=0.2)
        one = RedisStreamsWriter(options)
        one.start()
        try:
            for number in range(5):
                one.offer(klines(number))
            wait_until(lambda: front.misdeeds >= 2)
            front.misdeed = None
            wait_until(lambda: client.xlen(KLINES) == 5)
        finally:
            one.begin_stop(time.monotonic() + 2)
            assert one.join(time.monotonic() + 4)


def test_a_name_that_is_looked_up_for_ever_does_not_hold_a_start_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can end the system's resolver early."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: over.wait(20) and [])
    begin_s = time.monotonic()
    assert load_confirmed("redis://far.invalid", "x", ["linear"], {}, 1_767_717_000_000, LIMIT_S) == {}
    assert time.monotonic() - begin_s < PATIENCE_S
    over.set()
    wait_until(lambda: "checkpoint-load" not in {thread.name for thread in threading.enumerate()})


def test_what_redis_gave_before_it_stopped_answering_counts(valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """One market is read, the next drips: the first one's klines are not published again from the beginning."""
    monkeypatch.setattr(BoundedParser, "limit_s", PATIENCE_S)
    now_ms = 1_767_717_000_000
    with valkey.client() as client:
        client.hset("x:last-published:linear", "BTCUSDT:60000", f"{now_ms - 60_000},0,1")
    with Front(valkey.port, drip, b"x:last-published:spot") as front:
        found = load_confirmed(f"redis://127.0.0.1:{front.port}/0", "x", ["linear", "spot"], {}, now_ms, 1.5)
        assert front.misdeeds == 1
    assert found == {("linear", "BTCUSDT", 60_000): (now_ms - 60_000, 0, True)}
    wait_until(lambda: "checkpoint-load" not in {thread.name for thread in threading.enumerate()})


def test_a_relay_is_stopped_in_the_middle_of_a_message(valkey) -> None:
    """One that does not end; with the same bound of time a message has anywhere."""
    with Front(valkey.port, drip, b"SUBSCRIBE") as front:
        relay = Relay(f"redis://127.0.0.1:{front.port}/0", ["bybit"], [], lambda _envelope: None)
        BoundedParser.limit_s = 60.0  # the fixture puts it back
        relay.start()
        wait_until(lambda: front.misdeeds)
        assert relay.stop(time.monotonic() + PATIENCE_S)
