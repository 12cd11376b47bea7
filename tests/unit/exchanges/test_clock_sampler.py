"""The exchange's time in trades, passed to the clock."""

import pytest

from exchanges.bybit.protocol import SENT_MS
from exchanges.bybit.trades import trade_decoder
from exchanges.clock import ClockSampler, ExchangeClock, MarketDecoder
from exchanges.contract import TradeRules
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
def observed():
    return []


@pytest.fixture
def decode(observed):
    return ClockSampler(decoder_of, lambda ts_ms, source: observed.append((ts_ms, source)))


def decoder_of(_market):
    return MarketDecoder(decoder_of_all(), SENT_MS)


def decoder_of_all():
    return trade_decoder(TradeRules(), lambda _cause, _sample: None)


def test_the_last_trade_of_a_batch_is_observed_once(decode, observed):
    """Not every message: a batch has two thousand."""
    decode("linear", [payload(NOW_MS - 30), payload(NOW_MS - 20)])
    assert observed == [(NOW_MS - 20, "BTCUSDT")]


def test_columns_are_what_they_were(decode):
    """Sampling changes no trade."""
    decoded, expected = decode("linear", [payload(NOW_MS)]), decoder_of_all()([payload(NOW_MS)])
    assert (decoded.symbols, decoded.ids, decoded.prices) == (expected.symbols, expected.ids, expected.prices)


def test_a_batch_without_trades_has_no_time(decode, observed):
    """Garbage has no time."""
    decode("linear", [b"{"])
    assert observed == []


@pytest.mark.parametrize("sent", [b'"ts":%d,', b'"type":"snapshot", "ts" : %d ,'])
def test_the_messages_own_time_counts_where_it_has_one(decode, observed, sent):
    """A symbol whose match times are wrong moves no clock; spot and linear write `ts` in other places."""
    decode("linear", [payload(NOW_MS + 3_600_000, "ODDUSDT", sent % (NOW_MS - 10))])
    assert observed == [(NOW_MS - 10, "ODDUSDT")]


@pytest.mark.parametrize("ahead_ms", [2_000, -2_000])
def test_without_rest_a_wrong_host_clock_closes_nothing_early(ahead_ms):
    """Two seconds fast or slow: with trades alone, the time is late by their way to us, and never early."""
    host = Host(ahead_ms)
    clock = ExchangeClock(no_rest, wall_ms=host.wall_ms, monotonic=host.monotonic)
    decode = ClockSampler(decoder_of, clock.observe)
    for _ in range(50):
        host.true_ms += 100
        decode("linear", [payload(host.true_ms - 40)])
    assert host.true_ms - 60 <= clock.now_ms() <= host.true_ms
