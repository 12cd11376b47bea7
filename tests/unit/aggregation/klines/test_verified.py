"""What is verified after a gap: candles of the exchange's, and opens that lost trades may have moved."""

from dataclasses import replace
from decimal import Decimal

from aggregation.trade_queue import Overflow
from model.records import PastTrade
from tests.support.markers import feed_down, feed_up
from tests.unit.aggregation.klines.test_correction import broken_minute, candle
from tests.unit.aggregation.klines.test_soundness import Harness, last_revisions, values
from tests.unit.aggregation.klines.test_table import MINUTE, table, trades
from tests.unit.aggregation.klines.test_table import T0 as TABLE_T0
from tests.unit.aggregation.reference import true_candle


def test_gap_noticed_late_leaves_the_exchanges_candle_alone():
    """Nothing about it came from the feed; marked incomplete it could never be repaired again."""
    kt, kline = broken_minute()
    kt.correct(kline, candle(TABLE_T0, 9.5, 11.25, 9, 10.5))

    assert kt.feed.down(["BTCUSDT"], TABLE_T0 + MINUTE - 500) == []


def test_first_candle_is_corrected_although_its_trades_were_inserted():
    """A window seen from its middle on is not complete, however intact that is."""
    kt = table("5s", "1m")
    (gap,) = kt.feed.up(["BTCUSDT"], TABLE_T0 + 21_000)
    first, then = (replace(trades((ms, 10, 1)), ids=[trade_id]) for ms, trade_id in ((21_500, "b"), (MINUTE, "c")))
    kt.add(first)
    past = [PastTrade("a", TABLE_T0 + 19_000, 10.0, 1.0, 1), PastTrade("b", TABLE_T0 + 21_500, 10.0, 1.0, 2)]
    kt.insert_trades(gap, past, TABLE_T0 + 22_000)
    kline = next(k for k in kt.add(then) if k.interval == MINUTE)

    (fixed,) = kt.correct(kline, candle(TABLE_T0, 9.5, 11.25, 9, 10.5))

    assert (kline.complete, fixed.complete, fixed.source) == (False, True, "exchange")


def truth_is_kept(harness):
    everything = [s.trade for s in harness.traded]
    for kline in last_revisions(harness.klines).values():
        if kline.complete:
            assert values(kline) == true_candle(everything, kline.timestamp, kline.interval)


def lose_a_trade(harness, price, lasting_ms):
    """A trade of a gap that is noticed at once and ended late: no connection delivers it."""
    harness.silence()
    harness.queue.put_control(feed_down(("X",), harness.now))
    harness.now += 2_000
    harness.trade(Decimal(price), Decimal(1), 0)
    harness.waiting.clear()
    harness.run(lasting_ms)
    harness.queue.put_control(feed_up(("X",), harness.now))
    harness.silent_since = None
    harness.trade(Decimal(95), Decimal(1), 0)
    harness.run(1_000)


def test_filled_gap_does_not_verify_an_open_from_before_another():
    """Two gaps, only the second filled: what opens at a close from before the first stays unverified."""
    harness = Harness(event_clock=False)
    harness.run(10_000)
    since = harness.now
    harness.trade(Decimal(105), Decimal(1), 0)
    harness.waiting.clear()
    harness.run(6_000)
    harness.queue.put_control(Overflow(since, harness.now))
    harness.run(9_000)
    lose_a_trade(harness, 101, 8_000)
    harness.gaps = harness.gaps[-1:]
    harness.ask(1000)

    assert harness.aggregator.stats()["spliced"] == 1
    truth_is_kept(harness)


def test_trades_inserted_too_late_to_be_counted_leave_later_windows_unverified():
    """Their windows are forgotten, so the price at which the next ones open is not certain."""
    harness = Harness(event_clock=False)
    harness.run(10_000)
    lose_a_trade(harness, 105, 78_000)
    harness.ask(1000)

    assert harness.aggregator.stats()["spliced"] == 1
    truth_is_kept(harness)


def test_filling_one_gap_does_not_verify_the_next_that_has_no_end():
    """Its trades come while the connection is away again: what is traded meanwhile is missing."""
    harness = Harness(event_clock=False)
    harness.run(10_000)
    lose_a_trade(harness, 105, 2_000)
    harness.run(3_000)
    harness.silence()
    harness.queue.put_control(feed_down(("X",), harness.now))
    harness.trade(Decimal(101), Decimal(1), 0)
    harness.waiting.clear()
    harness.now += 7_000
    harness.aggregator.step()
    harness.ask(1000)
    harness.aggregator.step()

    assert harness.aggregator.stats()["spliced"] == 1
    truth_is_kept(harness)
