"""Raw payloads on their way from stream threads to the event loop."""

import asyncio
import timeit

import pytest

from consumers.web.bridge import RawTap, topic_of

PAYLOAD = b'{"topic":"publicTrade.BTCUSDT","type":"snapshot"}'
PER_CALL_LIMIT_S = 5e-6  # a tenth of it is usual; the machine may be busy


def test_nothing_is_kept_before_start():
    """Payloads that come while the port is not bound yet are nobody's."""
    tap = RawTap()
    tap.sink("linear", "orderbook")([PAYLOAD])
    tap.offer_open("linear", [])
    assert (tap.stats().waiting, tap.stats().dropped) == (0, 0)


def test_nobody_listens_costs_next_to_nothing():
    """A stream thread has better things to do."""
    sink = RawTap().sink("linear", "trades")
    assert min(timeit.repeat(lambda: sink([PAYLOAD]), number=10_000, repeat=5)) / 10_000 < PER_CALL_LIMIT_S


def test_what_is_too_much_is_dropped_counted_and_named():
    """The oldest go, and the loop learns whose they were."""
    taken = []

    async def run() -> None:
        tap = RawTap(limit=2)
        tap.start(lambda raws, lost: taken.append((list(raws), set(lost))))
        sink = tap.sink("linear", "orderbook")
        for number in range(5):
            sink([b'{"topic":"orderbook.50.S%d"}' % number])
        while not taken:
            await asyncio.sleep(0.001)
        assert (tap.stats().dropped, tap.stats().taken) == (3, 2)
        tap.stop()
        sink([PAYLOAD])
        assert tap.stats().waiting == 0

    asyncio.run(run())
    (raws, lost) = taken[0]
    assert [topic_of(payload) for _, payload in raws] == ["orderbook.50.S3", "orderbook.50.S4"]
    assert lost == {("linear", f"orderbook.50.S{number}") for number in range(3)}


def test_what_is_too_large_is_dropped(monkeypatch):
    """By bytes; what was taken out makes room again."""
    monkeypatch.setattr("consumers.web.bridge.RAW_BYTES", 100)
    got = []

    async def run():
        tap = RawTap()
        tap.start(lambda raws, lost: got.append((len(raws), len(lost))))
        take = tap.sink("linear", "orderbook")
        for _ in range(2):
            take([b'{"topic":"orderbook.1.A"' + b" " * 20] * 5)
            tap._take()
        return tap.stats()

    assert asyncio.run(run()).dropped == 6
    assert got == [(2, 1), (2, 1)]


def test_trades_are_taken_only_while_somebody_listens():
    """Books and tickers always are: whoever comes gets them whole."""
    taken = []

    async def run() -> None:
        tap = RawTap()
        tap.start(lambda raws, _lost: taken.extend(raws))
        tap.sink("linear", "trades")([b"1"])
        tap.sink("linear", "ticker")([b"2"])
        tap.has_listeners = True
        tap.sink("linear", "trades")([b"3"])
        while len(taken) < 2:
            await asyncio.sleep(0.001)

    asyncio.run(run())
    assert taken == [("linear", b"2"), ("linear", b"3")]


@pytest.mark.parametrize(
    ("payload", "topic"),
    [(PAYLOAD, "publicTrade.BTCUSDT"), (b'{"ts":1, "topic" : "tickers.X"}', "tickers.X"), (b"", ""), (b"{}", "")],
)
def test_the_topic_is_found(payload, topic):
    """First in the message as Bybit has it, or anywhere."""
    assert topic_of(payload) == topic
