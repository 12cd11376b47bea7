"""Trades of a gap, inserted by id: complete where both sides are reached, incomplete where they are not."""

from dataclasses import replace
from decimal import Decimal

import pytest

from aggregation.klines.bars import FAR
from aggregation.recovery.gaps import missing_trades
from aggregation.trade_queue import FeedGap
from model.intervals import parse_interval
from model.records import Kline, PastTrade, unreadable_trade
from tests.support.markers import feed_down, feed_up
from tests.support.trades import past_trade
from tests.unit.aggregation.klines.test_soundness import Harness, last_revisions
from tests.unit.aggregation.klines.test_table import T0, table, trades


def gap(*, newest, noticed_after_ms=0):
    """Trades before, in and after a gap of some seconds, and the exchange's newest ones read."""
    harness = Harness(event_clock=False)
    harness.run(10_000)
    for price in (101, 102):
        harness.trade(Decimal(price), Decimal(1), 0)
        harness.run(1_000)
    harness.silence()
    for price in (110, 90):
        harness.trade(Decimal(price), Decimal(2), 0)
        harness.now += 2_000
    harness.reconnect(noticed_after_ms)
    harness.trade(Decimal(103), Decimal(1), 0)
    harness.run(1_000)
    harness.ask(newest)
    harness.run(25_000)
    return harness


@pytest.mark.parametrize("noticed_after_ms", [0, 7_000])
def test_gap_that_is_filled_leaves_nothing_incomplete(noticed_after_ms):
    """Every candle but the very first is complete and has the trades that were never delivered."""
    harness = gap(newest=1000, noticed_after_ms=noticed_after_ms)
    seconds = {start: k for (length, start), k in last_revisions(harness.klines).items() if length == 5_000}

    assert all(kline.complete for start, kline in seconds.items() if start > T0)
    assert sum(kline.trade_count for kline in seconds.values()) == len(harness.traded)
    assert (max(k.high for k in seconds.values()), min(k.low for k in seconds.values())) == (110, 90)
    assert harness.aggregator.stats()["spliced"] == 1


def test_newest_trades_that_do_not_reach_back_fill_nothing():
    """The last trade before the gap is not among the newest: what lies between is not certain."""
    harness = gap(newest=3)

    assert not all(kline.complete for kline in last_revisions(harness.klines).values())
    assert harness.aggregator.stats()["unspliced"] >= 1


def test_two_gaps_are_filled_each_for_itself():
    """The answer to the first comes when the second is over: both have their own two sides."""
    harness = Harness(event_clock=False)
    for price in (105, 95):
        harness.run(5_000)
        harness.silence()
        harness.trade(Decimal(price), Decimal(1), 0)
        harness.reconnect(0)
        harness.trade(Decimal(100), Decimal(1), 0)
        harness.run(1_000)
    harness.ask(1000)
    harness.run(20_000)

    assert all(
        k.complete for (length, start), k in last_revisions(harness.klines).items() if length == 5_000 and start > T0
    )
    assert harness.aggregator.stats()["spliced"] == 2


@pytest.mark.parametrize("damage", ["price", "text"])
def test_a_trade_that_could_not_be_read_is_inserted_from_rest(damage):
    """It is a gap of its symbol; its id is not kept."""
    harness = Harness(event_clock=False)
    harness.run(10_000)
    harness.trade(Decimal(107), Decimal(3), 0, damage)
    harness.run(2_000)
    harness.trade(Decimal(103), Decimal(1), 0)
    harness.run(1_000)
    harness.ask(1000)
    harness.run(20_000)
    fives = {
        start: k for (length, start), k in last_revisions(harness.klines).items() if length == 5_000 and start > T0
    }

    assert all(kline.complete for kline in fives.values())
    assert sum(kline.trade_count for kline in fives.values()) == 2
    assert max(kline.high for kline in fives.values()) == 107


def test_a_trade_with_more_digits_than_a_float_is_inserted_nowhere():
    """It is no side of its own gap, and no duplicate of what REST has in its place."""
    feed_gaps, klines = list[FeedGap](), list[Kline]()
    kt = table("1s", needs_feed=True, on_gap=feed_gaps.append)
    kt.feed.up(["A"], T0 - 5_000)
    rows = [(0, 2, 1, "A"), (2_500, 0.12345678901234567, 1, "A"), (3_500, 2, 1, "A")]
    for number, row in enumerate(rows):
        klines += kt.add(replace(trades(row), ids=[str(number)]), T0 + row[0])
    past = [past_trade(T0 - 1, 2.0, 1.0, "before")]
    past += [past_trade(T0 + ms, float(price), 1.0, str(n)) for n, (ms, price, *_) in enumerate(rows)]
    klines += [kline for gap in feed_gaps for kline in kt.insert_trades(gap, past, T0 + 4_000) or []]
    klines += kt.close_until(T0 + 6_000)
    complete = {kline.timestamp - T0: kline.complete for kline in klines}

    assert (kt.counts.refused, complete[2_000], complete[5_000]) == (1, False, True)


def test_inserted_trades_count_for_as_many_as_they_stand_for():
    """An exchange may aggregate matches over REST as it does in its stream."""
    feed_gaps, klines = list[FeedGap](), list[Kline]()
    kt = table("1s", needs_feed=True, on_gap=feed_gaps.append)
    kt.feed.up(["A"], T0 - 5_000)
    kt.add(replace(trades((-2_000, 2, 1, "A")), ids=["0"], matches=[3]), T0)
    kt.feed.down(["A"], T0 - 1_000)
    kt.feed.up(["A"], T0 + 500)
    klines += kt.add(replace(trades((900, 2, 1, "A")), ids=["2"], matches=[5]), T0 + 900)
    past = [past_trade(T0 - 2_500, trade_id="x"), past_trade(T0 - 2_000, trade_id="0")]
    past += [replace(past_trade(T0 + 100, trade_id="1"), matches=7), past_trade(T0 + 900, trade_id="2")]
    for gap in feed_gaps:
        klines += kt.insert_trades(gap, past, T0 + 950) or []
    klines += kt.close_until(T0 + 1_000)

    assert [k.trade_count for k in klines if k.timestamp == T0] == [12]


@pytest.mark.parametrize("lost", ["1", "2"])
def test_of_two_messages_with_one_time_and_number_the_exchanges_order_counts(lost):
    """Whichever of them was lost: both end their second, the second of them at its close."""
    feed_gaps, klines = list[FeedGap](), list[Kline]()
    kt = table("1s", needs_feed=True, on_gap=feed_gaps.append)
    kt.feed.up(["A"], T0 - 5_000)
    rows = {"0": (-2_000, 4, 1, "A", 1), "1": (900, 5, 1, "A", 7), "2": (900, 6, 1, "A", 7), "3": (1_500, 8, 1, "A", 9)}
    kt.add(replace(trades(rows["0"]), ids=["0"]), T0)
    kt.feed.down(["A"], T0 - 1_000)
    kt.feed.up(["A"], T0 - 500)
    for number in [number for number in ("1", "2", "3") if number != lost]:
        if number == "3":
            kt.feed.down(["A"], T0 + 950)
            kt.feed.up(["A"], T0 + 1_000)
        klines += kt.add(replace(trades(rows[number]), ids=[number]), T0 + rows[number][0])
    past = [past_trade(T0 - 2_500, trade_id="x")]
    past += [past_trade(T0 + ms, float(price), 1.0, n, seq) for n, (ms, price, _, _, seq) in rows.items()]
    klines += [kline for gap in feed_gaps for kline in kt.insert_trades(gap, past, T0 + 1_900) or []]
    klines += kt.close_until(T0 + 2_000)
    newest = {kline.timestamp: kline for kline in klines}

    assert (newest[T0].open, newest[T0].close, newest[T0].trade_count) == (4, 6, 2)
    assert newest[T0 + 1_000].open == 6


def test_a_broken_trade_within_a_gap_is_part_of_it():
    """What is down already and cannot be read either is one gap, filled as one, as far back as it reaches."""
    harness = Harness(event_clock=False)
    harness.run(10_000)
    harness.trade(Decimal(107), Decimal(3), 0, "text")
    harness.queue.put_control(feed_down(("X",), harness.now))
    harness.deliver(harness.waiting.pop())
    harness.now += 10
    harness.queue.put_control(feed_up(("X",), harness.now))
    harness.aggregator.step()
    harness.trade(Decimal(103), Decimal(1), 0)
    harness.run(1_000)
    harness.ask(1000)
    harness.run(20_000)

    assert all(k.complete for (_, start), k in last_revisions(harness.klines).items() if start > T0)


@pytest.mark.parametrize("first_ms", [0, 5_000])
def test_a_trade_of_the_gap_that_could_not_be_read_fills_nothing(first_ms):
    """It has no size: whatever it was, it is missing. Before the gap it costs nothing."""
    base = parse_interval("1s")
    times = (900, 1_500, first_ms + 3_000, first_ms + 4_000, first_ms + 6_000)
    past = [PastTrade(str(n), ms, 1.0, 1.0, 0) for n, ms in enumerate(times)]
    found = FeedGap("X", 2_000, "1", first_ms + 5_500, "4", first_ms + 6_000)
    assert [t.trade_id for t in missing_trades(found, past, base) or []] == ["2", "3"]
    assert missing_trades(found, [*past[:3], unreadable_trade(past[3].event_ms), past[4]], base) is None
    assert missing_trades(found, [unreadable_trade(900), *past[1:]], base) is not None


def test_a_first_window_that_would_open_at_an_unreadable_trade_is_not_proven():
    """At the start of the collector the last trade before the window is its open."""
    base = parse_interval("1s")
    past = [PastTrade(str(n), 500 * n + 100, 1.0, 1.0, 0) for n in range(6)]
    found = FeedGap("X", -FAR, "", 2_300, "5", 2_600)
    assert [t.trade_id for t in missing_trades(found, past, base) or []] == ["4"]
    assert missing_trades(found, [*past[:3], unreadable_trade(past[3].event_ms), *past[4:]], base) is None
