"""consumers.web.klines: the way of klines from a thread to an event loop."""

import asyncio
import threading

import pytest

from consumers.web import klines as module
from consumers.web.klines import KlineFeed
from tests.support.klines import kline


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(module, "GATHER_S", 0.0)


def run(feed, *put):
    """Start a feed in a loop, have a thread put into it, return what arrives: closed and open batches."""

    async def main():
        closed, opened, came = [], [], asyncio.Event()
        feed.on_closed = lambda *batch: (closed.append(batch), came.set())
        feed.on_open = lambda *batch: (opened.append(batch), came.set())
        feed.start()
        thread = threading.Thread(target=lambda: [each() for each in put])
        thread.start()
        await asyncio.wait_for(came.wait(), 10)
        thread.join()
        await asyncio.sleep(0.05)
        feed.stop()
        return closed, opened

    return asyncio.run(main())


def test_closed_batches_arrive_in_their_order_whether_anybody_looks_or_not():
    """As they were put, those too that came before the server had its port."""
    feed, batches = KlineFeed(), [[kline(volume=n)] for n in range(3)]
    feed.put("linear", batches[0])
    closed, opened = run(feed, lambda: feed.put("linear", batches[1]), lambda: feed.put("spot", batches[2]))
    assert closed == [("linear", batches[0]), ("linear", batches[1]), ("spot", batches[2])]
    assert opened == []


def test_open_klines_are_taken_only_while_somebody_looks_and_the_newest_replaces():
    """One state of each market waits."""
    feed = KlineFeed()
    feed.offer_open("linear", [kline(volume=1)])
    feed.viewed = {"linear": frozenset({"BTCUSDT"})}
    feed.offer_open("linear", [kline(volume=2)])
    feed.offer_open("linear", [kline(volume=3)])
    _, opened = run(feed)
    assert opened == [("linear", (kline(volume=3),))]


def test_after_the_stop_nothing_is_handed_over():
    """A loop that has ended is not woken."""
    feed = KlineFeed()
    run(feed, lambda: feed.put("linear", [kline()]))
    feed.put("linear", [kline()])
