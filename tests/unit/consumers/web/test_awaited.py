"""consumers.web.awaited: open klines for requests, made only while somebody asks, and the moment klines are stored."""

import asyncio
import threading
from typing import cast

import pytest

from consumers.web.awaited import AwaitedKlines
from model.ports import CandleStore
from model.records import Kline
from tests.support.klines import kline

MINUTE = 60_000


class Store:
    """The part of a CandleStore that is asked."""

    def __init__(self) -> None:
        self.starts: set[int] = set()
        self.asked = 0

    def klines(self, market, symbol, step_ms, start_ms=0, end_ms=None, limit=None):
        self.asked += 1
        return [start for start in self.starts if start_ms <= start < end_ms]


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def minute(number: int, symbol: str = "BTCUSDT") -> Kline:
    return kline(symbol=symbol, interval=MINUTE, timestamp=number * MINUTE)


def offered(awaited, *klines):
    """Offer from another thread, as the aggregator does."""
    thread = threading.Thread(target=awaited.offer_open, args=("linear", klines))
    thread.start()
    thread.join()


async def asked(awaited, number, symbol="BTCUSDT"):
    return await awaited.open_kline("linear", symbol, MINUTE, number * MINUTE)


def test_an_open_kline_is_waited_for_and_then_known_for_a_moment():
    """Its symbol alone is viewed; what was offered before it was asked for is not there."""

    async def main():
        clock = Clock()
        awaited, hurried = AwaitedKlines(lambda: None, clock=clock), []
        awaited.hurry = lambda: hurried.append(awaited.is_asked)
        offered(awaited, minute(7))
        first = asyncio.ensure_future(asked(awaited, 7))
        await asyncio.sleep(0)
        assert (awaited.viewed, awaited.is_asked, hurried) == ({"linear": {"BTCUSDT"}}, True, [True])
        offered(awaited, minute(7), minute(7, "ETHUSDT"))
        assert await first == minute(7)
        assert not awaited.is_asked
        assert await asked(awaited, 7) == minute(7)
        assert len(hurried) == 1
        clock.now_s += 5
        again = asyncio.ensure_future(asked(awaited, 7))  # what is known is old
        await asyncio.sleep(0)
        assert awaited.is_asked
        offered(awaited, minute(7))
        await again

    asyncio.run(main())


def test_at_a_boundary_the_next_one_is_waited_for():
    async def main():
        awaited = AwaitedKlines(lambda: None)
        first = asyncio.ensure_future(asked(awaited, 7))
        await asyncio.sleep(0)
        offered(awaited, minute(7))
        await first
        second = asyncio.ensure_future(asked(awaited, 8))
        await asyncio.sleep(0)
        offered(awaited, minute(7))
        offered(awaited, minute(8))
        assert await second == minute(8)

    asyncio.run(main())


def test_without_one_nobody_waits_for_long_and_then_nothing_is_made():
    async def main():
        clock = Clock()
        awaited = AwaitedKlines(lambda: None, wait_s=0.05, lease_s=10, clock=clock)
        assert await asked(awaited, 7) is None
        clock.now_s += 11
        offered(awaited)
        await asyncio.sleep(0)
        assert (awaited.viewed, awaited.is_asked) == ({}, False)

    asyncio.run(main())


@pytest.mark.parametrize("is_reported", [True, False])
def test_a_closed_one_is_there_when_it_is_stored(is_reported):
    """At once where the store reports its commits; those that wait for the same look once."""

    async def main():
        store = Store()
        awaited = AwaitedKlines(lambda: cast(CandleStore, store), wait_s=5)
        waiting = [asyncio.ensure_future(awaited.closed("linear", "BTCUSDT", MINUTE, MINUTE)) for _ in range(5)]
        while not store.asked:
            await asyncio.sleep(0.001)
        store.starts.add(MINUTE)
        if is_reported:
            threading.Thread(target=awaited.stored).start()
        assert await asyncio.gather(*waiting) == [True] * 5
        assert store.asked <= 3

    asyncio.run(main())


def test_one_that_does_not_come_is_given_up():
    async def main():
        awaited = AwaitedKlines(lambda: None, wait_s=0.05)
        assert not await awaited.closed("linear", "BTCUSDT", MINUTE, MINUTE)

    asyncio.run(main())
