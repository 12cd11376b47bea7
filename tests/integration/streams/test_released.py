"""A lost connection: what it leaves in memory (nothing, without a garbage collector), and since when it was lost."""

import gc
import time
import tracemalloc

import pytest

from model.records import FeedMarker, Kind
from streams.connection import Connection
from tests.integration.streams.conftest import Harness
from tests.support.callbacks import Recorded
from tests.support.scripted_exchange import ScriptedExchange

LOSSES = 4
TRADE = b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[]}'
MANY = 8
LARGE_BYTES = 64 * 1024


def connections() -> int:
    return sum(type(each) is Connection for each in gc.get_objects())


def wait_for_subscription(harness: Harness, exchange: ScriptedExchange, number: int) -> None:
    harness.wait(lambda: len(exchange.subscribed) == number and harness.state() == "live")


@pytest.mark.parametrize("kind", ["trades", "orderbook"])
def test_lost_connections_are_freed_at_once(harness: Harness, exchange: ScriptedExchange, kind: Kind) -> None:
    """A read buffer each: where reconnects come quickly, a ring of references would hold dozens of megabytes."""
    feed = harness.feed(silence_timeout_s=30.0, pong_timeout_s=5.0, watch_trades=True)
    harness.start(("T", feed.run, (kind, "BTCUSDT", Recorded())))
    harness.wait(lambda: harness.state() == "live")
    gc.collect()
    gc.disable()
    try:
        before = connections()
        for number in range(LOSSES):
            exchange.cut()
            wait_for_subscription(harness, exchange, number + 2)
        harness.wait(lambda: connections() <= before)
    finally:
        gc.enable()


@pytest.mark.parametrize("harness", ["reader"], indirect=True)
def test_a_connection_that_shares_the_reader_shares_its_buffer(harness: Harness, exchange: ScriptedExchange) -> None:
    """A thousand of them are no quarter of a gigabyte."""
    run = harness.feed(ping_interval_s=20.0, pong_timeout_s=10.0).run
    tracemalloc.start()
    try:
        harness.start(*[(f"T{number}", run, ("trades", "BTCUSDT", Recorded())) for number in range(MANY)])
        harness.wait(lambda: all(harness.state(f"T{number}") == "live" for number in range(MANY)), 20)
        large = [trace.size for trace in tracemalloc.take_snapshot().traces if trace.size >= LARGE_BYTES]
    finally:
        tracemalloc.stop()
    assert len(large) < MANY


def test_a_close_frame_is_no_sign_of_life(harness: Harness, exchange: ScriptedExchange) -> None:
    """An exchange that was stuck and closes politely has not sent what happened meanwhile: down as of the last data."""
    sink = Recorded()
    feed = harness.feed(ping_interval_s=20.0, pong_timeout_s=10.0)
    harness.start(("T", feed.run, ("trades", "BTCUSDT", sink)))
    harness.wait(lambda: harness.state() == "live")
    exchange.send(TRADE)
    harness.wait(lambda: sink.payloads == [TRADE])
    last_ms = time.time_ns() // 1_000_000
    time.sleep(0.5)
    exchange.close(1000)
    harness.wait(lambda: ("down", ("BTCUSDT",)) in sink.marks)
    (down,) = [mark for mark in sink.seen if isinstance(mark, FeedMarker) and mark.kind == "down"]
    assert down.at_ms <= last_ms
