"""Ticks and lots that become finer while candles are open: no digit lost, and no symbol shut out by one odd trade."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.aggregation.test_table import MINUTE, T0, table, trades

any_price = st.integers(1, 10**9).flatmap(lambda n: st.integers(0, 9).map(lambda s: Decimal(n).scaleb(-s)))
any_size = st.integers(1, 10**7).flatmap(lambda n: st.integers(0, 6).map(lambda s: Decimal(n).scaleb(-s)))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(any_price, any_size), min_size=1, max_size=20))
def test_what_is_counted_is_exact_at_any_mix_of_scales(rows):
    """Each trade is counted to the last digit or refused; what was counted before stays what it was."""
    refused = []
    kt = table("1m", report=lambda _cause, sample: refused.append(sample))
    counted = []
    for i, (price, size) in enumerate(rows):
        before = len(refused)
        kt.add(trades((i, price, size)))
        if len(refused) == before:
            counted.append((price, size))

    klines = kt.close_until(T0 + MINUTE)

    if counted:
        (kline,) = klines
        prices = [price for price, _ in counted]
        assert (kline.open, kline.close) == (prices[0], prices[-1])
        assert (kline.high, kline.low) == (max(prices), min(prices))
        assert kline.volume == sum(size for _, size in counted)
        assert kline.turnover == sum(price * size for price, size in counted)


def test_high_that_would_overflow_refuses_the_finer_tick():
    """The close alone would allow it; the high of the same candle would not fit 64 bits."""
    kt = table("1m")
    kt.add(trades((0, 5 * 10**14, 1), (1, 1, 1)))
    kt.add(trades((2, "0.0000000001", 1)))

    (kline,) = kt.close_until(T0 + MINUTE)

    assert (kline.high, kline.low, kline.trade_count) == (5 * 10**14, 1, 2)


def test_turnover_that_would_overflow_refuses_the_finer_tick():
    """Nothing is half rescaled, nothing raises."""
    kt = table("1m")
    for i in range(50):
        kt.add(trades((i, 10**12, 10**13)))
    kt.add(trades((60, "0.01", "0.01")))

    (kline,) = kt.close_until(T0 + MINUTE)

    assert kline.turnover == 50 * 10**25


def test_one_odd_trade_does_not_shut_out_the_ones_after_it():
    """A price or size of absurdly many decimals is the one refused, not all ordinary trades from then on."""
    kt = table("1m")
    kt.add(trades((0, "100000.5", "1.25")))
    kt.add(trades((1, "0.00000000001", "1"), (2, "100000.5", "0.00000000000001")))
    kt.add(trades((3, "120000.5", "300")))

    (kline,) = kt.close_until(T0 + MINUTE)

    assert (kline.trade_count, kline.close, kt.counts.refused) == (2, Decimal("120000.5"), 2)
