"""The exchange's candle in the place of one of ours: values, neighbours, revisions."""

from decimal import Decimal

from model.records import Candle
from tests.unit.aggregation.klines.test_table import MINUTE, T0, ohlc, table, trades


def candle(start_ms, opened, high, low, closed, volume="7.25", turnover="71.5"):
    numbers = (Decimal(str(n)) for n in (opened, high, low, closed, volume, turnover))
    return Candle(start_ms, *numbers)


def broken_minute():
    """A table whose first minute went out incomplete, and that kline."""
    kt = table("1m")
    kt.feed.up(["BTCUSDT"], T0 + 5_000)
    kt.add(trades((5_001, 10, 1)))
    kline = next(k for k in kt.close_until(T0 + MINUTE) if k.interval == MINUTE)
    return kt, kline


def test_correction_is_a_revision_with_the_exchanges_values():
    """Complete, source exchange, one revision higher; the count stays that of the trades seen."""
    kt, kline = broken_minute()

    (fixed,) = kt.correct(kline, candle(T0, 9.5, 11.25, 9, 10.5))

    assert ohlc(fixed) == (9.5, 11.25, 9, 10.5)
    assert (fixed.volume, fixed.turnover, fixed.trade_count) == (Decimal("7.25"), Decimal("71.5"), 1)
    assert (fixed.complete, fixed.source, fixed.revision) == (True, "exchange", 1)


def test_next_candle_opens_at_the_corrected_close():
    """Also one that has gone out meanwhile."""
    kt, kline = broken_minute()
    kt.add(trades((MINUTE, 12, 1)))
    kt.close_until(T0 + 2 * MINUTE)

    fixed, following = kt.correct(kline, candle(T0, 9.5, 11.25, 9, 10.5))
    (third,) = kt.close_until(T0 + 3 * MINUTE)

    assert (fixed.timestamp, following.timestamp, following.revision) == (T0, T0 + MINUTE, 1)
    assert ohlc(following) == (10.5, 12, 10.5, 12)
    assert third.open == 12


def test_flat_minutes_after_a_corrected_one_are_complete():
    """The corrected close is proven, and so is the silence that follows it."""
    kt, kline = broken_minute()
    kt.correct(kline, candle(T0, 9.5, 11.25, 9, 10.5))

    (flat,) = kt.close_until(T0 + 2 * MINUTE)

    assert (ohlc(flat), flat.complete) == ((10.5, 10.5, 10.5, 10.5), True)


def test_late_trade_does_not_change_the_exchanges_values():
    """Its candle has counted the trade already."""
    kt, kline = broken_minute()
    kt.correct(kline, candle(T0, 9.5, 11.25, 9, 10.5))

    assert kt.add(trades((6_000, 99, 1))) == []
    assert (kt.counts.late_amended, kt.counts.late_dropped) == (1, 0)


def test_kline_repaired_meanwhile_is_left_alone():
    """The same correction twice changes nothing the second time."""
    kt, kline = broken_minute()
    kt.correct(kline, candle(T0, 9.5, 11.25, 9, 10.5))

    assert kt.correct(kline, candle(T0, 1, 1, 1, 1)) == []


def test_forgotten_kline_is_corrected_as_a_record():
    """The exchange answered an hour later: the table has moved on, the revision still goes out."""
    kt, kline = broken_minute()
    kt.close_until(T0 + 60 * MINUTE)

    (fixed,) = kt.correct(kline, candle(T0, 9.5, 11.25, 9, 10.5))

    assert (ohlc(fixed), fixed.revision, fixed.complete) == ((9.5, 11.25, 9, 10.5), 1, True)


def test_finer_decimals_of_the_exchange_keep_ours():
    """Its price has more decimals than any trade seen: nothing counted changes its value."""
    kt, kline = broken_minute()
    kt.add(trades((MINUTE, 12, 1)))
    kt.correct(kline, candle(T0, "9.12345678", 11.25, 9, "10.000001", "7.2500001", "71.50000123"))

    (following,) = kt.close_until(T0 + 2 * MINUTE)

    assert (following.open, following.close, following.volume) == (Decimal("10.000001"), 12, 1)


def test_five_minutes_over_a_corrected_one_are_corrected_by_themselves():
    """An incomplete minute makes its five minutes incomplete: they are asked for too."""
    kt = table("1m", "5m")
    start = 5 * MINUTE - T0 % (5 * MINUTE)
    kt.feed.up(["BTCUSDT"], T0)
    klines = kt.add(trades((0, 10, 1), (start + 1, 10, 1)))
    klines += kt.feed.down(["BTCUSDT"], T0 + start + 1_000)
    kt.feed.up(["BTCUSDT"], T0 + start + 2_000)
    klines += kt.add(trades((start + 3_000, 11, 1)))
    klines += kt.close_until(T0 + start + MINUTE)
    broken = next(k for k in klines if k.timestamp == T0 + start)
    kt.correct(broken, candle(broken.timestamp, 10, 11, 10, 11))
    five = next(k for k in kt.close_until(T0 + start + 5 * MINUTE) if k.timestamp == T0 + start)

    assert (five.interval, five.complete) == (5 * MINUTE, False)
    assert [k.complete for k in kt.correct(five, candle(five.timestamp, 10, 11, 10, 11))] == [True]
