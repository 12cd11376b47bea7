"""Streams that are passed on: each topic once, on a connection of its URL, for some time longer than it is wanted."""

import threading

import pytest

from app.passed_streams import KEPT_S, PassedStreams
from exchanges.registry import VENUES
from model.context import current
from streams import MarketFeed
from tests.support.clock import FakeClock
from tests.support.settings import settings_of
from tests.support.waiting import wait_until

KLINE, TRADE = ("linear", "btcusdt@kline_1m"), ("linear", "btcusdt@trade")


class Exchange:
    """The connections that are open: market, what they carry, and what takes their payloads."""

    def __init__(self):
        self.open = []
        self.connects = 0
        self.is_up = True

    def feed(self, protocol, options, **parts):
        exchange = self

        class Feed(MarketFeed):
            def run(self, kind, symbols, callback, *, depth=50):
                assert kind == "topics"
                exchange.connects += 1
                connection = self.market, symbols, callback
                exchange.open.append(connection)
                current().succeeded()
                try:
                    while not current().stop.wait(0.01):
                        if not exchange.is_up:
                            raise ConnectionError("cut")
                finally:
                    exchange.open.remove(connection)

        return Feed(protocol, options, **parts)

    def carried(self):
        return sorted((market, *symbols) for market, symbols, _ in list(self.open))


@pytest.fixture
def exchange():
    return Exchange()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def got():
    return []


@pytest.fixture
def lost():
    return []


@pytest.fixture
def venue():
    return "binance"


@pytest.fixture
def passed(exchange, clock, got, lost, venue):
    settings = settings_of(EXCHANGE=venue, RECONNECT_DELAY=0.05)
    put = lambda market: lambda payload: got.append((market, payload))  # noqa: E731
    lose = lambda market, topics: lost.append((market, *topics))  # noqa: E731
    made = PassedStreams(settings, VENUES[venue], lambda: lambda _url: None, put, lose, exchange.feed, clock)
    yield made
    made.stop()
    wait_until(lambda: not [each for each in threading.enumerate() if each.name.startswith("stream-passed")])


def settled(passed, exchange, *expected):
    def is_so():
        passed.tick()
        return exchange.carried() == sorted(expected)

    wait_until(is_so)


def test_each_topic_is_streamed_once_on_a_connection_of_its_url(passed, exchange, got):
    """Of USD-M /public and /market are two; a topic that joins one opens no other."""
    passed.tick()
    assert exchange.connects == 0
    passed.want({KLINE, TRADE, ("spot", "ethusdt@aggTrade")})
    settled(passed, exchange, KLINE, TRADE, ("spot", "ethusdt@aggTrade"))
    passed.want({KLINE, TRADE, ("spot", "ethusdt@aggTrade"), ("linear", "ethusdt@kline_1m")})
    settled(passed, exchange, (*KLINE, "ethusdt@kline_1m"), TRADE, ("spot", "ethusdt@aggTrade"))
    assert (exchange.connects, passed.count) == (3, 4)
    for _, _, callback in exchange.open:
        callback(b"1")
    assert sorted(got) == [("linear", b"1"), ("linear", b"1"), ("spot", b"1")]


def test_a_connection_has_no_more_topics_than_the_exchange_allows(passed, exchange):
    """200 of USD-M."""
    topics = {("linear", f"x{number}usdt@kline_1m") for number in range(450)}
    passed.want(topics)
    wait_until(lambda: passed.tick() or len(exchange.open) == 3)
    assert sorted(len(symbols) for _, symbols, _ in exchange.open) == [50, 200, 200]
    assert {("linear", topic) for _, symbols, _ in exchange.open for topic in symbols} == topics


@pytest.mark.parametrize("venue", ["okx"])
def test_topics_share_a_connection_where_the_exchange_limits_their_length_alone(passed, exchange):
    """One that is wanted later goes to the connection that is there."""
    topics = [("linear", f"trades:COIN{number}-USDT") for number in range(3)]
    for count in (1, 2, 3):
        passed.want(topics[:count])
        passed.tick()
    wait_until(lambda: exchange.carried() == [("linear", *(topic for _, topic in topics))])
    assert exchange.connects == 1
    passed.want([("linear", f"trades:{'LONG' * 8}{number}-USDT") for number in range(1_000)])
    passed.tick()
    wait_until(lambda: exchange.connects == 2)
    assert max(sum(len(topic) + 30 for topic in carried[1:]) for carried in exchange.carried()) <= 60_000


def test_what_nobody_wants_is_streamed_for_some_time_more(passed, exchange, clock):
    """Clients that come and go open no connection each time; then it ends with its last topic."""
    passed.want({KLINE, ("linear", "ethusdt@kline_1m")})
    settled(passed, exchange, (*KLINE, "ethusdt@kline_1m"))
    passed.want({KLINE})
    clock.now_s += KEPT_S - 1
    settled(passed, exchange, (*KLINE, "ethusdt@kline_1m"))
    clock.now_s += 2
    settled(passed, exchange, KLINE)
    passed.want(())
    clock.now_s += KEPT_S - 1
    passed.tick()
    passed.want({KLINE})
    settled(passed, exchange, KLINE)
    passed.want(())
    clock.now_s += KEPT_S + 1
    settled(passed, exchange)
    assert exchange.connects == 1


def test_a_connection_that_is_cut_comes_back(passed, exchange, lost):
    """What it carried is lost from there on; one that brought nothing yet has lost nothing."""
    for has_data in (False, True):
        passed.want({KLINE})
        settled(passed, exchange, KLINE)
        if has_data:
            exchange.open[0][2](b"1")
        exchange.is_up = False
        wait_until(lambda: not exchange.open)
        exchange.is_up = True
        settled(passed, exchange, KLINE)
        assert lost == ([KLINE] if has_data else [])
    assert exchange.connects >= 3


def test_a_topic_that_the_exchange_does_not_have_costs_itself(passed, exchange):
    """The others are streamed."""
    passed.want({("linear", "not a topic"), KLINE})
    settled(passed, exchange, KLINE)
