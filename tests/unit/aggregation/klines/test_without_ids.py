"""Trades without ids: a subscription may repeat trades that were counted; their time alone tells that."""

from tests.support.arithmetic import FIRST_TRADE
from tests.unit.aggregation.klines.test_table import MINUTE, T0, table, trades


def fed(**options):
    """A table whose symbol is subscribed since a minute ago, with two equal trades in the minute that ended."""
    kt = table("1m", arithmetic=FIRST_TRADE, has_ids=False, **options)
    kt.feed.up(["BTCUSDT"], T0 - MINUTE)
    kt.add(trades((-MINUTE, 10, 1), (-5, 11, 2), (-5, 11, 2)), T0)
    return kt


def resubscribed(kt, *more):
    """Cut off and subscribed again within the minute, then trades arrive; the klines of all minutes by then."""
    klines = kt.close_until(T0 + 10)
    kt.feed.down(["BTCUSDT"], T0 + 20)
    kt.feed.up(["BTCUSDT"], T0 + 40)
    klines += kt.add(trades(*more), T0 + 50)
    return {((k.timestamp - T0) // MINUTE, float(k.volume), k.complete) for k in klines + kt.close_until(T0 + MINUTE)}


def test_trades_that_a_subscription_repeats_are_not_counted_again():
    """A minute that went out complete stays as it was; that of the gap is left to the exchange's candle."""
    kt = fed()

    assert resubscribed(kt, (-MINUTE, 10, 1), (-5, 11, 2), (-5, 11, 2), (30, 12, 4), (41, 13, 8)) == {
        (-1, 5.0, True),
        (0, 8.0, False),
    }
    assert kt.counts.duplicates == 4


def test_a_batch_of_repeated_trades_alone_counts_nothing():
    """Not even the flat candle's price."""
    assert resubscribed(fed(), (-5, 99, 2)) == {(-1, 5.0, True), (0, 0.0, False)}


def test_equal_trades_after_the_subscription_all_count():
    """Equal neighbours are normal where trades have no ids."""
    assert resubscribed(fed(), (45, 13, 1), (45, 13, 1), (45, 13, 1)) == {(-1, 5.0, True), (0, 3.0, False)}


def test_the_cut_is_of_its_symbol_alone():
    """Another one's subscription says nothing of this one's trades."""
    kt = fed()
    kt.feed.up(["ETHUSDT"], T0 + 40)
    kt.add(trades((30, 12, 4)), T0 + 50)

    assert (kt.counts.duplicates, kt.counts.trades) == (0, 4)


def test_a_replay_is_not_cut():
    """Where time is the trades' own, that of a subscription means nothing."""
    kt = table("1m", arithmetic=FIRST_TRADE, has_ids=False, event_clock=True)
    kt.feed.up(["BTCUSDT"], T0 + 10 * MINUTE)
    kt.add(trades((1, 10, 1), (MINUTE, 11, 2)))

    assert kt.counts.duplicates == 0
    assert kt.counts.trades == 2


def test_what_has_ids_is_told_apart_by_them():
    """Late trades of before a subscription count."""
    kt = table("1m", arithmetic=FIRST_TRADE)
    kt.feed.up(["BTCUSDT"], T0 + 40)
    kt.add(trades((30, 12, 4)), T0 + 50)

    assert (kt.counts.duplicates, kt.counts.trades) == (0, 1)
