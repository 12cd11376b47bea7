"""What the clock learns from trades."""

import pytest

from exchanges.bybit.trades import TradeDecoder
from exchanges.clock import ExchangeClock
from exchanges.hearing import hearing
from model.ports import HistoryError

NOW_MS = 1_767_717_000_000


class Host:
    """A host whose clock is `ahead_ms` wrong."""

    def __init__(self, ahead_ms=0):
        self.true_ms, self.ahead_ms = NOW_MS, ahead_ms

    def wall_ms(self):
        return self.true_ms + self.ahead_ms

    def monotonic(self):
        return (self.true_ms - NOW_MS + 5_000) / 1000


def payload(event_ms, symbol="BTCUSDT", sent=b""):
    trade = b'{"T":%d,"s":"%s","v":"1","p":"2","i":"a%d"}' % (event_ms, symbol.encode(), event_ms)
    return b'{"topic":"publicTrade.%s",%s"data":[%s]}' % (symbol.encode(), sent, trade)


def no_rest():
    raise HistoryError("away")


@pytest.fixture
def heard():
    return []


@pytest.fixture
def decode(heard):
    return hearing(TradeDecoder(), lambda ts_ms, source: heard.append((ts_ms, source)))


def report(_cause, _sample):
    pass


def test_the_last_trade_of_a_batch_is_heard_once(decode, heard):
    """Not every message: a batch has two thousand."""
    decode([payload(NOW_MS - 30), payload(NOW_MS - 20)], report)
    assert heard == [(NOW_MS - 20, "BTCUSDT")]


def test_columns_are_what_they_were(decode):
    """Hearing changes no trade."""
    assert decode([payload(NOW_MS)], report) == TradeDecoder()([payload(NOW_MS)], report)


def test_a_batch_without_trades_says_nothing(decode, heard):
    """Garbage has no time."""
    decode([b"{"], report)
    assert heard == []


@pytest.mark.parametrize("sent", [b'"ts":%d,', b'"type":"snapshot", "ts" : %d ,'])
def test_the_messages_own_time_counts_where_it_has_one(decode, heard, sent):
    """A symbol whose match times are wrong does not say what time it is; spot and linear write it in other places."""
    decode([payload(NOW_MS + 3_600_000, "ODDUSDT", sent % (NOW_MS - 10))], report)
    assert heard == [(NOW_MS - 10, "ODDUSDT")]


@pytest.mark.parametrize("ahead_ms", [2_000, -2_000])
def test_without_rest_a_wrong_host_clock_closes_nothing_early(ahead_ms):
    """Two seconds fast or slow: with trades alone, the time is late by their way to us, and never early."""
    host = Host(ahead_ms)
    clock = ExchangeClock(no_rest, wall_ms=host.wall_ms, monotonic=host.monotonic)
    decode = hearing(TradeDecoder(), clock.observe)
    for _ in range(50):
        host.true_ms += 100
        decode([payload(host.true_ms - 40)], report)
    assert host.true_ms - 60 <= clock.now_ms() <= host.true_ms
