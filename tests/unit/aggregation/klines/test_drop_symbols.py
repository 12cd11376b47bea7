"""Symbols that are not wanted any more, and those that are wanted anew."""

import pytest

from aggregation.trade_queue import DropSymbols, FeedGap
from tests.support.markers import feed_down, feed_up
from tests.unit.aggregation.klines.test_completeness import complete, fed
from tests.unit.aggregation.klines.test_table import MINUTE, T0, table, trades
from tests.unit.aggregation.test_aggregator import Harness

LATER = T0 + 10 * MINUTE


def retired(*names):
    """A symbol that was fed, traded, and then removed."""
    kt = fed(*names)
    kt.add(trades((1, 10, 1)))
    kt.feed.drop(["BTCUSDT"])
    kt.feed.down(["BTCUSDT"], T0 + MINUTE // 2)
    return kt


def test_nothing_of_a_removed_symbol_closes():
    """Neither its open window nor flat ones after it: they could not be verified."""
    assert retired("1m", "1h").close_until(LATER + 60 * MINUTE) == []


def test_a_symbol_goes_on_until_its_feed_is_down():
    """The exchange has not answered the unsubscription yet: what it sends counts."""
    kt = fed("1m")
    kt.feed.drop(["BTCUSDT"])
    kt.add(trades((1, 10, 1)))

    assert complete(kt.close_until(T0 + MINUTE)) == {0: True}


def test_the_other_order_is_as_good():
    """The feed may be down before main drops the symbols."""
    kt = fed("1m")
    kt.feed.down(["BTCUSDT"], T0 + 5)
    kt.feed.drop(["BTCUSDT", "NEVERSEENUSDT"])

    assert kt.close_until(LATER) == []


def test_others_are_not_touched():
    """A neighbour's windows close as ever."""
    kt = fed("1m")
    kt.feed.up(["ETHUSDT"], T0 - MINUTE)
    kt.add(trades((1, 20, 1, "ETHUSDT")))
    kt.feed.drop(["BTCUSDT"])
    kt.feed.down(["BTCUSDT"], T0 + 5)

    assert {k.symbol for k in kt.close_until(LATER)} == {"ETHUSDT"}


def test_a_trade_that_comes_after_all_begins_nothing():
    """The exchange went on sending: no kline is made of a symbol that is not wanted."""
    kt = retired("1m")
    kt.add(trades((MINUTE, 12, 1)))

    assert kt.close_until(LATER) == []


def test_a_symbol_wanted_anew_begins_like_one_never_seen():
    """No flat candles over its absence, no open at the old price; the gap is that of a start, to be filled."""
    kt = retired("1m")
    kt.feed.drop([], again=["BTCUSDT"])
    (gap,) = kt.feed.up(["BTCUSDT"], LATER)
    klines = kt.add(trades((11 * MINUTE, 99, 1))) + kt.close_until(LATER + 3 * MINUTE)
    fresh = table("1m")
    fresh.feed.up(["BTCUSDT"], LATER)
    same = fresh.add(trades((11 * MINUTE, 99, 1))) + fresh.close_until(LATER + 3 * MINUTE)

    assert klines == same
    assert gap.last_id == ""


def test_a_symbol_wanted_anew_before_it_was_down_stays():
    """Removed and added again at once: a later gap is a gap, not an end."""
    kt = fed("1m")
    kt.feed.drop(["BTCUSDT"])
    kt.feed.drop([], again=["BTCUSDT"])
    kt.feed.down(["BTCUSDT"], T0 + 5)

    assert complete(kt.close_until(T0 + 2 * MINUTE)) == {0: False, 1: False}


def test_trades_of_a_gap_that_come_after_the_removal_begin_nothing():
    """The repair thread had asked for them before."""
    gaps: list[FeedGap] = []
    kt = table("1m", on_gap=gaps.append)
    kt.feed.up(["BTCUSDT"], T0)
    kt.add(trades((1, 10, 1)))
    kt.feed.drop(["BTCUSDT"])
    kt.feed.down(["BTCUSDT"], T0 + 5)

    assert len(gaps) == 1
    assert kt.insert_trades(gaps[0], [], LATER) is None
    assert kt.close_until(LATER) == []


@pytest.mark.parametrize("is_wanted", [True, False])
def test_symbols_are_dropped_in_the_order_of_the_queue(is_wanted):
    """In the order of the data, on the aggregator's thread."""
    harness = Harness()
    harness.mark(feed_up(("BTCUSDT",), T0 - MINUTE))
    harness.put(0)
    if not is_wanted:
        harness.mark(DropSymbols(("BTCUSDT",)))
    harness.mark(feed_down(("BTCUSDT",), T0 + 100))
    harness.step(5 * MINUTE)

    assert bool(harness.published) is is_wanted
