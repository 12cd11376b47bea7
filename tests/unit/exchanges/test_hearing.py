"""What the clock learns from trades."""

import pytest

from exchanges.bybit.trades import TradeDecoder
from exchanges.clock import ExchangeClock
from exchanges.contract import HistoryError
from exchanges.hearing import NEAR_MS, hearing

NOW_MS = 1_767_717_000_000


class Host:
    """A host whose clock is `ahead_ms` wrong."""

    def __init__(self, ahead_ms=0):
        self.true_ms, self.ahead_ms = NOW_MS, ahead_ms

    def wall_ms(self):
        return self.true_ms + self.ahead_ms

    def monotonic(self):
        return (self.true_ms - NOW_MS + 5_000) / 1000


def payload(event_ms, symbol="BTCUSDT"):
    trade = b'{"T":%d,"s":"%s","v":"1","p":"2","i":"a%d"}' % (event_ms, symbol.encode(), event_ms)
    return b'{"topic":"publicTrade.%s","data":[%s]}' % (symbol.encode(), trade)


def no_rest():
    raise HistoryError("away")


@pytest.fixture
def heard():
    return []


@pytest.fixture
def decode(heard):
    return hearing(TradeDecoder(), lambda ts_ms, at_ms: heard.append((ts_ms, at_ms)), wall_ms=lambda: NOW_MS)


def report(_cause, _sample):
    pass


def test_the_last_trade_of_a_batch_is_heard_once(decode, heard):
    """Not every message: a batch has two thousand."""
    decode([payload(NOW_MS - 30), payload(NOW_MS - 20)], report)
    assert heard == [(NOW_MS - 20, NOW_MS)]


def test_columns_are_what_they_were(decode):
    """Hearing changes no trade."""
    assert decode([payload(NOW_MS)], report) == TradeDecoder()([payload(NOW_MS)], report)


def test_a_batch_without_trades_says_nothing(decode, heard):
    """Garbage has no time."""
    decode([b"{"], report)
    assert heard == []


def test_replayed_and_held_up_trades_say_nothing(decode, heard):
    """They are not of now; nor is a time far in the future one to go by."""
    decode([payload(NOW_MS - NEAR_MS - 1)], report)
    decode([payload(NOW_MS + NEAR_MS + 1)], report)
    assert heard == []


@pytest.mark.parametrize("ahead_ms", [2_000, -2_000])
def test_without_rest_a_wrong_host_clock_closes_nothing_early(ahead_ms):
    """Two seconds fast or slow: with trades alone, the time is late by their way to us, and never early."""
    host = Host(ahead_ms)
    clock = ExchangeClock(no_rest, wall_ms=host.wall_ms, monotonic=host.monotonic)
    decode = hearing(TradeDecoder(), clock.observe, wall_ms=host.wall_ms)
    for _ in range(50):
        host.true_ms += 100
        decode([payload(host.true_ms - 40)], report)
    assert host.true_ms - 60 <= clock.now_ms() <= host.true_ms
