"""Incomplete klines are asked for until the exchange's answer is final, in order; the rest is left alone."""

from decimal import Decimal
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from aggregation.recovery.repair import (
    ASK_AGAIN_MS,
    ASK_LIMIT,
    LACKING_MOST,
    MISSING_CAP_MS,
    RETRY_FIRST_MS,
    Repairer,
    lacks,
    rolled_up,
)
from aggregation.trade_queue import Correction, Outage, Splice
from model.intervals import DAY_MS, WEEK_MS
from model.records import Candle, Kline

MINUTE = 60_000
T0 = 1_700_000_100_000  # a full five minutes
STEPS = (MINUTE, 3 * MINUTE, 5 * MINUTE, 60 * MINUTE, DAY_MS, WEEK_MS, 0)


def kline(start_ms=T0, interval_ms=MINUTE, *, complete=False, symbol="BTCUSDT"):
    one = Decimal(1)
    return Kline(symbol, interval_ms, start_ms, one, one, one, one, one, 1, one, complete, "trades", 0)


def candle(start_ms, close=2):
    return Candle(start_ms, Decimal(1), Decimal(9), Decimal(1), Decimal(close), Decimal(3), Decimal(4))


class World:
    """An exchange that answers from a dict, and a clock."""

    def __init__(self):
        self.now = T0
        self.candles = {}
        self.asked = []
        self.corrected = []
        self.past = []
        self.trades_read = []
        self.repairer = Repairer(self.read, self.read_trades, STEPS, self.give, lambda: self.now)

    def read(self, market, symbol, step_ms, start_ms, end_ms):
        self.asked.append((market, symbol, step_ms, start_ms, end_ms))
        if self.candles is None:
            return None
        return [c for start, c in self.candles.items() if start_ms <= start < end_ms]

    def read_trades(self, market, symbol):
        self.trades_read.append((market, symbol))
        return self.past

    def give(self, market, found):
        if isinstance(found, Correction):
            self.corrected.append((market, found.kline.timestamp, found.candle.close))
        else:
            self.corrected.append((market, found))


@pytest.fixture
def world():
    return World()


def test_incomplete_kline_is_replaced_when_the_answer_is_final(world):
    """Long after its end one read is enough."""
    world.candles[T0] = candle(T0)
    world.repairer.offer("linear", [kline()])
    world.now = T0 + 2 * MINUTE
    world.repairer.step()

    assert world.corrected == [("linear", T0, 2)]
    assert world.repairer.stats() == {"repaired": 1, "given_up": 0, "waiting": 0}


def test_fresh_candle_is_read_until_two_reads_agree(world):
    """Right after its end the exchange may still be at it."""
    world.repairer.offer("linear", [kline()])
    for close in (2, 3, 3):
        world.candles[T0] = candle(T0, close)
        world.now = max(world.now, T0 + MINUTE) + 1_500
        world.repairer.step()

    assert world.corrected == [("linear", T0, 3)]


def test_two_answers_alike_prove_nothing_while_the_clock_is_unknown(world):
    """Both may have come before the candle was finished: a host two seconds fast asks too early."""
    is_known = False
    world.repairer = Repairer(
        world.read, world.read_trades, STEPS, world.give, lambda: world.now, is_clock_known=lambda: is_known
    )
    world.candles[T0] = candle(T0)
    world.repairer.offer("linear", [kline()])
    for ms in (2_000, 4_000, 6_000):
        world.now = T0 + MINUTE + ms
        world.repairer.step()
    is_known, world.now = True, T0 + MINUTE + 8_000
    world.repairer.step()
    assert world.corrected == []

    world.now += 1_500
    world.repairer.step()
    assert len(world.corrected) == 1


def test_complete_klines_are_not_asked_for(world):
    """What was healed by itself needs nobody."""
    world.repairer.offer("linear", [kline()])
    world.repairer.offer("linear", [kline(complete=True)])
    world.now += DAY_MS
    world.repairer.step()

    assert world.asked == []


def test_nothing_shorter_than_the_exchange_has_is_asked_for(world):
    """Seconds stay incomplete."""
    world.repairer.offer("linear", [kline(interval_ms=1_000)])

    assert world.repairer.stats()["waiting"] == 0


def test_unreachable_exchange_is_asked_again_later_and_later(world):
    """Each failure doubles the pause; nothing is lost."""
    world.candles = None
    world.repairer.offer("linear", [kline()])
    world.now = T0 + 2 * MINUTE
    pauses = []
    for _ in range(3):
        world.repairer.step()
        asked, before = len(world.asked), world.now
        while len(world.asked) == asked:
            world.now += 500
            world.repairer.step()
        pauses.append(world.now - before)

    assert pauses == [RETRY_FIRST_MS, 2 * RETRY_FIRST_MS, 4 * RETRY_FIRST_MS]


def test_one_question_covers_all_candles_of_a_symbol_and_length(world):
    """After an hour's outage sixty klines are one call, corrected oldest first."""
    starts = [T0 + i * MINUTE for i in range(60)]
    world.candles = {start: candle(start) for start in starts}
    world.repairer.offer("linear", [kline(start) for start in reversed(starts)])
    world.now = T0 + 2 * 60 * MINUTE
    world.repairer.step()

    assert world.asked == [("linear", "BTCUSDT", MINUTE, T0, T0 + 60 * MINUTE)]
    assert [start for _, start, _ in world.corrected] == starts


@pytest.mark.parametrize(
    ("start_ms", "interval_ms", "step_ms"),
    [
        (T0, 10 * MINUTE, 5 * MINUTE),
        (T0, 2 * MINUTE, MINUTE),
        (1_706_745_600_000, 29 * DAY_MS, 0),
        (1_707_091_200_000, WEEK_MS, WEEK_MS),
        (1_706_745_600_000, 7 * DAY_MS, DAY_MS),
    ],
)
def test_intervals_of_ones_own_are_made_of_the_exchanges(world, start_ms, interval_ms, step_ms):
    """The longest candle that fits: ten minutes of five, February as a month, a week from Monday, one from Thursday."""
    world.repairer.offer("linear", [kline(start_ms, interval_ms)])
    world.now = start_ms + 2 * interval_ms
    world.repairer.step()

    assert [asked[2] for asked in world.asked] == [step_ms]


def test_roll_up_needs_every_part():
    """A missing piece is no candle."""
    parts = [candle(T0), candle(T0 + MINUTE, 5)]

    assert rolled_up(parts[:1], T0, T0 + 2 * MINUTE, MINUTE) is None
    assert rolled_up(parts, T0, T0 + 2 * MINUTE, MINUTE) == Candle(
        T0, Decimal(1), Decimal(9), Decimal(1), Decimal(5), Decimal(6), Decimal(8)
    )


def test_newest_record_of_a_kline_is_the_one_corrected(world):
    """A late trade raised its revision meanwhile: the correction must be higher still."""
    world.candles[T0] = candle(T0)
    seen = []
    world.give = lambda _market, found: seen.append(found.kline.revision)
    world.repairer = Repairer(world.read, world.read_trades, STEPS, world.give, lambda: world.now)
    world.repairer.offer("linear", [kline()])
    world.repairer.offer("linear", [replace(kline(), revision=3)])
    world.now = T0 + 2 * MINUTE
    world.repairer.step()

    assert seen == [3]


def test_outage_is_answered_when_its_far_side_is_there(world):
    """REST may lag behind the stream: it is looked at again, a few times, and then given as it is."""
    seen, unseen = Outage("BTCUSDT", T0, "a", T0 + 1, "b", T0 + 2), Outage("BTCUSDT", T0, "a", T0 + 1, "z", T0 + 2)
    world.repairer.heal("linear", seen)
    world.repairer.heal("linear", unseen)
    world.repairer.step()
    world.past = [SimpleNamespace(trade_id="b")]
    world.repairer.step()
    assert world.corrected == [], "woken by something else: it is too early to ask again"

    world.now += ASK_AGAIN_MS
    world.repairer.step()

    assert world.corrected == [("linear", Splice(seen, world.past))]

    for _ in range(2 * ASK_LIMIT):
        world.now += ASK_AGAIN_MS
        world.repairer.step()

    assert world.corrected[1:] == [("linear", Splice(unseen, world.past))]


def test_outages_of_one_symbol_share_an_answer(world):
    """Broken messages one after the other ask the exchange about once a second, not each."""
    outages = [Outage("BTCUSDT", T0, "a", T0 + n, "b", T0 + n) for n in range(30)]
    world.past = [SimpleNamespace(trade_id="b")]
    for number, outage in enumerate(outages):
        world.now = T0 + 100 * number
        world.repairer.heal("linear", outage)
        world.repairer.step()
    world.now += ASK_AGAIN_MS
    world.repairer.step()

    assert [found.outage for _, found in world.corrected] == outages
    assert len(world.trades_read) == 5


def test_a_look_that_fails_costs_no_repair(world):
    """Both are done in the thread's outermost loop, each for itself."""
    stopped = world.repairer

    def look():
        stopped._stop.set()
        raise RecursionError

    stopped._look = look
    world.repairer.heal("linear", Outage("BTCUSDT", T0, "a", T0 + 1, "b", T0 + 2))
    stopped.step = lambda: world.corrected.append("asked")
    stopped._run()

    assert world.corrected == ["asked"]


# -- REST is held against our own trades ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "is_lacking"),
    [
        ({"volume": Decimal(3)}, False),
        ({"volume": Decimal("3.001")}, True),
        ({"turnover": Decimal("4.01")}, False),  # rounded otherwise
        ({"turnover": Decimal("4.1")}, True),
        ({"high": Decimal("9.5")}, True),  # beyond the open: traded
        ({"open": Decimal(10), "high": Decimal(10)}, False),  # no more than the open, which may be of before
        ({"low": Decimal("0.5")}, True),
        ({"open": Decimal("0.5"), "low": Decimal("0.5")}, False),
        ({"close": Decimal(10), "high": Decimal(10)}, True),
        ({"volume": Decimal(99), "trade_count": 0}, False),  # nothing was counted here
        ({"volume": Decimal(99), "source": "exchange"}, False),
    ],
)
def test_a_candle_lacks_what_was_traded_here_for_sure(ours, is_lacking):
    """Volume, turnover, high, low and close of trades that were counted; not what may come from before the window."""
    assert lacks(candle(T0), replace(kline(), **ours)) == is_lacking


def test_a_candle_that_lacks_our_trades_is_asked_for_again_until_it_has_them(world):
    """However long ago its minute ended, and however often two answers agree: the exchange is behind."""
    world.repairer.offer("linear", [replace(kline(), volume=Decimal(5))])
    world.candles[T0] = candle(T0)
    world.now = T0 + 2 * MINUTE
    for _ in range(20):
        world.repairer.step()
        world.now += 1_000
    assert world.corrected == []
    assert len(world.asked) == 4  # 2, 4 and 8 s later

    world.candles[T0] = Candle(T0, *map(Decimal, (1, 9, 1, 2, 5, 6)))
    world.now += MINUTE
    world.repairer.step()
    assert world.corrected == [("linear", T0, 2)]


def test_a_candle_that_never_has_our_trades_corrects_nothing(world):
    """Its kline stays incomplete, which is true, and the questions end."""
    world.repairer.offer("linear", [replace(kline(), volume=Decimal(5))])
    world.candles[T0] = candle(T0)
    world.now = T0 + 2 * MINUTE
    for _ in range(200):
        world.repairer.step()
        world.now += 10_000
    assert world.corrected == []
    assert len(world.asked) == LACKING_MOST
    assert world.repairer.stats() == {"repaired": 0, "given_up": 1, "waiting": 0}


def test_a_candle_that_answers_leave_out_costs_itself_and_few_questions(world):
    """Its row made no sense: the others are corrected, and it is asked for less and less often."""
    starts = [T0 + n * MINUTE for n in range(5)]
    world.candles = {start: candle(start) for start in starts if start != starts[2]}
    world.repairer.offer("linear", map(kline, starts))
    world.now = T0 + 6 * MINUTE
    for _ in range(24 * 60):
        world.repairer.step()
        world.now += MINUTE
    assert [start for _, start, _ in world.corrected] == [start for start in starts if start != starts[2]]
    assert len(world.asked) < 24 * 3_600_000 / MISSING_CAP_MS + 15

    world.candles[starts[2]] = candle(starts[2])
    world.now += MISSING_CAP_MS
    world.repairer.step()
    assert world.corrected[-1] == ("linear", starts[2], 2)
