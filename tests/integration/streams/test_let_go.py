"""What a lost connection leaves in memory: nothing, without waiting for the garbage collector."""

import gc
import tracemalloc

import pytest

from exchanges.contract import Kind
from streams.connection import Connection
from tests.integration.streams.conftest import House, Sink
from tests.integration.streams.exchange import ScriptedExchange

LOSSES = 4
MANY = 8
LARGE_BYTES = 64 * 1024


def connections() -> int:
    return sum(type(each) is Connection for each in gc.get_objects())


@pytest.mark.parametrize("kind", ["trades", "orderbook"])
def test_lost_connections_are_freed_at_once(house: House, exchange: ScriptedExchange, kind: Kind) -> None:
    """A read buffer each: where reconnects come quickly, a ring of references would hold dozens of megabytes."""
    feed = house.feed(silence_timeout_s=30.0, pong_timeout_s=5.0, watch_trades=True)
    house.start(("T", feed.run, (kind, "BTCUSDT", Sink())))
    house.wait(lambda: house.state() == "live")
    gc.collect()
    gc.disable()
    try:
        before = connections()
        for number in range(LOSSES):
            exchange.cut()
            house.wait(lambda number=number: len(exchange.subscribed) == number + 2 and house.state() == "live")
        house.wait(lambda: connections() <= before)
    finally:
        gc.enable()


@pytest.mark.parametrize("house", ["reader"], indirect=True)
def test_a_connection_that_shares_the_reader_shares_its_buffer(house: House, exchange: ScriptedExchange) -> None:
    """A thousand of them are no quarter of a gigabyte."""
    run = house.feed(ping_interval_s=20.0, pong_timeout_s=10.0).run
    tracemalloc.start()
    try:
        house.start(*[(f"T{number}", run, ("trades", "BTCUSDT", Sink())) for number in range(MANY)])
        house.wait(lambda: all(house.state(f"T{number}") == "live" for number in range(MANY)), 20)
        large = [trace.size for trace in tracemalloc.take_snapshot().traces if trace.size >= LARGE_BYTES]
    finally:
        tracemalloc.stop()
    assert len(large) < MANY
