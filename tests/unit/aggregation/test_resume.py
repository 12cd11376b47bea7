"""Between two runs: what closed meanwhile goes out first, nothing twice, nothing out of order."""

from decimal import Decimal

import pytest

from aggregation.intervals import parse_interval
from aggregation.kline import Kline
from aggregation.repair import SETTLED_MS, RolledUp
from aggregation.resume import HOLD_S, Resumption

MINUTE = 60_000
T0 = 1_700_000_040_000


def kline(minute, *, revision=0, symbol="X", interval_ms=MINUTE):
    one = Decimal(1)
    start_ms = T0 + minute * MINUTE
    return Kline(symbol, interval_ms, start_ms, one, one, one, one, one, 1, one, True, "trades", revision)


class World:
    """An exchange with a candle for every minute, a clock, and what was sent."""

    def __init__(self, known, now_minute, intervals=("1m",)):
        self.now_ms = T0 + now_minute * MINUTE + SETTLED_MS
        self.now_s = 0.0
        self.reachable = True
        self.asked = []
        self.sent = []
        self.resumption = Resumption(
            known,
            [parse_interval(name) for name in intervals],
            ["X", "Y"],
            self.read,
            (MINUTE, 5 * MINUTE, 0),
            lambda _market, klines: self.sent.extend(klines),
            lambda: self.now_ms,
            lambda: self.now_s,
        )

    def read(self, market, symbol, step_ms, start_ms, end_ms):
        self.asked.append((symbol, step_ms, start_ms, end_ms))
        if not self.reachable:
            return None
        one = Decimal(1)
        return [RolledUp(start, one, one, one, one, one, one) for start in range(start_ms, end_ms, step_ms)]

    def offer(self, *klines):
        self.sent += self.resumption.admit("linear", list(klines))

    @property
    def minutes(self):
        return [(k.timestamp - T0) // MINUTE for k in self.sent]


def test_what_closed_meanwhile_goes_out_before_what_closes_now():
    """Minutes 1 to 4 nobody collected; 5 is the new run's first."""
    world = World({("linear", "X", MINUTE): (T0, 0, True)}, now_minute=6)
    world.offer(kline(5), kline(6))
    world.resumption.step()
    world.offer(kline(7))

    assert world.minutes == [1, 2, 3, 4, 5, 6, 7]
    assert [k.source for k in world.sent[:4]] == ["exchange"] * 4
    assert world.resumption.is_over


def test_symbol_without_a_trade_is_filled_in_all_the_same():
    """It has no kline of its own yet, and its candles still close."""
    world = World({("linear", "X", MINUTE): (T0, 0, True)}, now_minute=4)
    world.resumption.step()
    world.now_ms += MINUTE
    world.resumption.step()
    world.offer(kline(5), kline(6))
    world.resumption.step()

    assert world.minutes == [1, 2, 3, 4, 5, 6]


def test_nothing_is_sent_twice():
    """What the earlier run sent is dropped, whoever brings it."""
    world = World({("linear", "X", MINUTE): (T0 + 2 * MINUTE, 0, True)}, now_minute=3)
    world.offer(kline(1), kline(2), kline(3))
    world.resumption.step()
    world.offer(kline(2, revision=1))

    assert world.minutes == [3]


def test_last_kline_that_went_out_incomplete_is_sent_again_higher():
    """The run ended before it could be repaired."""
    world = World({("linear", "X", MINUTE): (T0, 3, False)}, now_minute=2)
    world.resumption.step()

    assert [(k.timestamp, k.revision, k.complete) for k in world.sent][:2] == [(T0, 4, True), (T0 + MINUTE, 0, True)]


def test_candles_that_are_not_final_are_waited_for():
    """The minute before the first own one ended just now."""
    world = World({("linear", "X", MINUTE): (T0, 0, True)}, now_minute=2)
    world.now_ms -= SETTLED_MS
    world.offer(kline(2))
    world.resumption.step()

    assert world.minutes == []

    world.now_ms += SETTLED_MS
    world.resumption.step()

    assert world.minutes == [1, 2]


def test_unreachable_exchange_leaves_a_hole_in_the_end():
    """Klines wait for older ones, but not for ever; one failed question a round is enough."""
    world = World({("linear", s, MINUTE): (T0, 0, True) for s in "XY"}, now_minute=6)
    world.reachable = False
    world.offer(kline(5))
    world.resumption.step()
    world.now_s = HOLD_S - 1
    world.resumption.step()

    assert (world.minutes, len(world.asked)) == ([], 2)

    world.now_s = HOLD_S + 1
    world.resumption.step()

    assert (world.minutes, world.resumption.holes) == ([5], 1)


@pytest.mark.parametrize("interval", ["1s", "15s"])
def test_intervals_the_exchange_does_not_have_go_on_where_they_go_on(interval):
    """Seconds cannot be filled in, and nothing waits for them."""
    step_ms = parse_interval(interval).step_ms
    world = World({("linear", "X", step_ms): (T0, 0, True)}, now_minute=6, intervals=(interval,))
    world.offer(kline(5, interval_ms=step_ms))

    assert world.minutes == [5]


def test_first_run_passes_everything():
    """Nothing is known of an earlier one."""
    world = World({}, now_minute=6)
    world.offer(kline(1), kline(0))

    assert world.minutes == [1, 0]


def test_ten_minutes_are_made_of_fives():
    """An interval of one's own is filled in from the exchange's."""
    ten = 10 * MINUTE
    start = T0 - T0 % ten
    world = World({("linear", "X", ten): (start, 0, True)}, now_minute=40, intervals=("10m",))
    world.resumption.step()

    assert [k.timestamp for k in world.sent] == [start + ten, start + 2 * ten, start + 3 * ten]
    assert {step for _, step, _, _ in world.asked} == {5 * MINUTE}


def test_failures_between_answers_are_no_outage():
    """One question in many fails, for longer than is waited for an exchange that never answers: no hole."""
    world = World({("linear", s, MINUTE): (T0, 0, True) for s in "XY"}, now_minute=3)
    world.offer(kline(30))
    world.reachable = False
    world.resumption.step()
    world.reachable, world.now_s = True, HOLD_S - 1
    world.resumption.step()
    world.reachable, world.now_s = False, HOLD_S + 1
    world.resumption.step()

    assert (30 in world.minutes, world.resumption.holes) == (False, 0)
