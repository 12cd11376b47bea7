"""A clock that was wrong: nothing wrong is complete, no trade is refused without a gap, and all ends with the error."""

import pytest

from aggregation.klines.table import AHEAD_MS
from aggregation.trade_queue import FeedGap
from tests.support.markers import feed_up
from tests.unit.aggregation.klines.test_table import MINUTE, table, trades
from tests.unit.aggregation.test_aggregator import T0, Harness

HOUR = 60 * MINUTE


def lived(kt, refused, seconds=120):
    """A trade each second from T0 on, beside those refused at T0 (seconds); completeness by interval and start (s)."""
    kt.feed.up(["BTCUSDT"], T0 - MINUTE)
    kt.add(trades((-1_000, 10, 1)), T0 - 1_000)
    klines = kt.add(trades((0, 10, 1), *((1000 * second + 500, 10, 1) for second in refused)), T0)
    assert kt.counts.refused == len(refused)
    for second in range(1, seconds):
        klines += kt.add(trades((1000 * second, 10, 1)), T0 + 1000 * second)
    klines += kt.close_until(T0 + 1000 * seconds)
    return {(k.interval // 1000, (k.timestamp - T0) // 1000): k.complete for k in klines}


def test_a_trade_refused_as_of_the_future_makes_the_candle_of_its_own_time_incomplete():
    """The clock was behind, and the trade was good: it is missing there, and the next opens at an older price."""
    found = lived(table("1s", "1m"), [30, 31, 40])
    incomplete = [start for (length, start), complete in found.items() if length == 1 and not complete and start > 1]
    assert incomplete == [30, 31, 32, 40, 41]
    assert [found[60, 0], found[60, 60]] == [False, True]


def test_garbage_of_the_far_future_costs_the_present_only():
    """2090 may come, and is not waited for."""
    found = lived(table("1s", "1m"), [10**9])
    assert [start for (_, start), complete in found.items() if not complete and start > 1] == []
    assert found[60, 60]


def test_a_feed_marked_up_by_a_clock_an_hour_fast_is_proven_when_the_clock_is_right():
    """Else nothing would be complete for an hour, nor the far side of the gap be found."""
    gaps: list[FeedGap] = []
    kt = table("1m", on_gap=gaps.append)
    kt.feed.up(["BTCUSDT"], T0 + HOUR)
    kt.feed.clock_changed(T0 + 500)
    kt.add(trades((600, 10, 1), (MINUTE, 11, 1)), T0 + MINUTE)
    klines = kt.close_until(T0 + 3 * MINUTE)
    assert [kline.complete for kline in klines] == [True, True]
    assert [gap.first_ms for gap in gaps] == [T0 + 600]


def test_windows_of_the_future_are_taken_back_when_the_clock_is_right():
    """They went out as complete: revisions mark them incomplete, and the symbol begins anew."""
    kt = table("1m")
    kt.feed.up(["BTCUSDT"], T0 - MINUTE)
    kt.add(trades((-1_000, 10, 1)), T0 - 1_000)
    early = kt.add(trades((0, 10, 1)), T0) + kt.close_until(T0 + 3 * MINUTE)
    assert [kline.complete for kline in early] == [False, True, True, True]

    taken_back = kt.feed.clock_changed(T0 + 10_000)
    assert [((k.timestamp - T0) // MINUTE, k.complete, k.revision) for k in taken_back] == [
        (0, False, 1), (1, False, 1), (2, False, 1)
    ]  # fmt: skip
    kt.add(trades((20_000, 12, 1)), T0 + 20_000)
    assert [(kline.trade_count, kline.complete) for kline in kt.close_until(T0 + MINUTE)] == [(1, False)]


class Clock:
    """A clock that trades put right: wrong by `wrong_ms` until the first is decoded."""

    def __init__(self, wrong_ms):
        self.harness, self.wrong_ms, self.changes = None, wrong_ms, 0

    def now_ms(self):
        return (self.harness.now if self.harness else T0) + self.wrong_ms

    def be_right(self):
        self.changes += self.wrong_ms != 0
        self.wrong_ms = 0


@pytest.mark.parametrize("wrong_ms", [HOUR, -HOUR])
def test_the_batch_that_puts_the_clock_right_is_counted_by_the_right_one(wrong_ms):
    """No trade of it refused, and nothing closed by the time that it has refuted; a second later all is proven."""
    clock = Clock(wrong_ms)
    harness = clock.harness = Harness("1s", clock_changes=lambda: clock.changes, now_ms=clock.now_ms)
    decode = harness.decode

    def decode_and_observe(payloads):
        clock.be_right()
        return decode(payloads)

    harness.decode = decode_and_observe
    harness.mark(feed_up(("BTCUSDT",), T0 + max(wrong_ms, 0)))
    for second in range(6):
        harness.put(second * 1000 + 100)
        harness.step(second * 1000 + 150)
    harness.step(6_400)
    assert harness.aggregator.stats()["refused"] == 0
    assert [((k.timestamp - T0) // 1000, k.trade_count, k.complete) for _, k in harness.published] == [
        (0, 1, False), (1, 1, wrong_ms < 0), (2, 1, True), (3, 1, True), (4, 1, True), (5, 1, True)
    ]  # fmt: skip


def test_only_what_is_far_ahead_is_refused():
    """A clock that is behind by seconds refuses nothing."""
    kt = table("1m")
    kt.add(trades((AHEAD_MS, 10, 1)), T0)
    assert kt.counts.refused == 0


def test_a_time_of_an_hour_ago_costs_the_present():
    """Its own candle is forgotten; where the time is wrong, the trade belongs to those of now."""
    kt = table("1s")
    kt.feed.up(["BTCUSDT"], T0 - MINUTE)
    klines = []
    for second in range(30):
        odd = [(1000 * second - HOUR, 10, 1)] if second == 10 else []
        klines += kt.add(trades((1000 * second, 10, 1), *odd), T0 + 1000 * second + 20)
    assert kt.counts.refused == 1
    incomplete = {(kline.timestamp - T0) // 1000 for kline in klines if not kline.complete}
    assert incomplete == {0, 9, 10, 11}


def test_a_mark_made_by_an_uncertain_clock_and_read_when_it_is_sure_is_of_now_at_the_latest():
    """Another market's trades had put the clock right meanwhile."""
    changes: list[str] = []
    harness = Harness("1s", clock_changes=lambda: len(changes))
    changes.append("sure")
    harness.put(0, symbol="ETHUSDT")
    harness.step(50)
    harness.mark(feed_up(("BTCUSDT",), T0 + HOUR))
    for second in range(1, 6):
        harness.put(second * 1000 + 100)
        harness.step(second * 1000 + 150)
    harness.step(6_400)
    found = [(k.timestamp - T0) // 1000 for _, k in harness.published if k.symbol == "BTCUSDT" and k.complete]
    assert found == [3, 4, 5]


@pytest.mark.parametrize("behind_ms", [1_100, 1_600, 3_000])
def test_a_clock_that_falls_behind_the_trades_forgets_none_of_them(behind_ms):
    """Without REST another symbol's late message makes the time less certain; what was counted is not of the future."""
    clock = Clock(0)
    harness = clock.harness = Harness("1s", clock_changes=lambda: clock.changes, now_ms=clock.now_ms)
    harness.mark(feed_up(("BTCUSDT", "ETHUSDT"), T0 - 1000))
    harness.put(-500)
    for ms in range(0, 10_000, 100):
        if ms == 5_500:
            clock.wrong_ms, clock.changes = -behind_ms, 1
            harness.put(ms - behind_ms, symbol="ETHUSDT")
        harness.put(ms)
        harness.step(ms + 30)
    found = [
        ((k.timestamp - T0) // 1000, k.trade_count, k.complete, k.revision)
        for _, k in harness.published
        if k.symbol == "BTCUSDT" and k.timestamp >= T0
    ]
    assert found == [(second, 10, True, 0) for second in range(len(found))]
    assert len(found) >= 6
