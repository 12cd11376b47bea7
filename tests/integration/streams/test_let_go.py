"""What a lost connection leaves in memory: nothing, without waiting for the garbage collector."""

import gc

import pytest

from exchanges.contract import Kind
from streams.connection import Connection
from tests.integration.streams.conftest import House, Sink
from tests.integration.streams.exchange import ScriptedExchange

LOSSES = 4


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
