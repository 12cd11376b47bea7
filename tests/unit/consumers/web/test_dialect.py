"""consumers.web.dialect: raw payloads on their way from stream threads to the event loop."""

import asyncio
import timeit
from typing import cast

from consumers.web.dialect import RawFeedBridge
from model.dialect import Dialect

PAYLOAD = b'{"topic":"publicTrade.BTCUSDT","type":"snapshot"}'
PER_CALL_LIMIT_S = 5e-6  # a tenth of it is usual; the machine may be busy


class FakeDialect:
    """Keeps what it is handed, as (payloads, lost topics); a payload's topic is its text."""

    def __init__(self):
        self.taken = []

    def take_raw(self, payloads, lost):
        self.taken.append((list(payloads), set(lost)))

    def topic_of(self, payload):
        return payload.decode()


async def taken_by(dialect, count):
    """Wait until the dialect has been handed so many batches."""
    while len(dialect.taken) < count:
        await asyncio.sleep(0.001)


def test_nothing_is_kept_before_start():
    """Payloads that come while the port is not bound yet are nobody's."""
    bridge = RawFeedBridge()
    bridge.sink("linear", "orderbook")([PAYLOAD])
    bridge.offer_open("linear", [])
    assert (bridge.waiting, bridge.dropped) == (0, 0)


def test_without_subscribers_a_payload_costs_next_to_nothing():
    """A stream thread has better things to do."""
    sink = RawFeedBridge().sink("linear", "trades")
    assert min(timeit.repeat(lambda: sink([PAYLOAD]), number=10_000, repeat=5)) / 10_000 < PER_CALL_LIMIT_S


def test_payloads_over_the_bound_are_dropped_counted_and_named():
    """The oldest go, and the dialect is handed their topics."""
    dialect = FakeDialect()

    async def run() -> None:
        bridge = RawFeedBridge(limit=2)
        bridge.start(cast(Dialect, dialect))
        sink = bridge.sink("linear", "orderbook")
        for number in range(5):
            sink([b"S%d" % number])
        await taken_by(dialect, 1)
        assert (bridge.dropped, bridge.taken) == (3, 2)
        bridge.stop()
        sink([PAYLOAD])
        assert bridge.waiting == 0

    asyncio.run(run())
    (payloads, lost) = dialect.taken[0]
    assert payloads == [("linear", b"S3"), ("linear", b"S4")]
    assert lost == {("linear", f"S{number}") for number in range(3)}


def test_payloads_over_the_bound_of_bytes_are_dropped():
    """What was taken out makes room again."""
    dialect = FakeDialect()

    async def run():
        bridge = RawFeedBridge(limit_bytes=100)
        bridge.start(cast(Dialect, dialect))
        take = bridge.sink("linear", "orderbook")
        for batch in (1, 2):
            take([b'{"topic":"orderbook.1.A"' + b" " * 20] * 5)
            await taken_by(dialect, batch)
        return bridge.dropped

    assert asyncio.run(run()) == 6
    assert [(len(payloads), len(lost)) for payloads, lost in dialect.taken] == [(2, 1), (2, 1)]


def test_trades_are_taken_only_while_there_are_subscribers():
    """Books and tickers always are: a new subscriber begins with them whole."""
    dialect = FakeDialect()

    async def run() -> None:
        bridge = RawFeedBridge()
        bridge.start(cast(Dialect, dialect))
        bridge.sink("linear", "trades")([b"1"])
        bridge.sink("linear", "ticker")([b"2"])
        bridge.has_subscribers = True
        bridge.sink("linear", "trades")([b"3"])
        while bridge.taken < 2:
            await asyncio.sleep(0.001)

    asyncio.run(run())
    assert [payload for payloads, _ in dialect.taken for payload in payloads] == [("linear", b"2"), ("linear", b"3")]
