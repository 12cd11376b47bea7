"""Incomplete klines are asked for until the exchange's answer is final, in order; the rest is left alone."""

import threading
import time
from decimal import Decimal
from types import SimpleNamespace

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from aggregation.recovery.candles import lacks_trades, rolled_up
from aggregation.recovery.repair import (
    LACKING_MOST,
    MISSES_MOST,
    MISSING_CAP_MS,
    READ_AGAIN_CAP_MS,
    READ_AGAIN_MS,
    READS_LIMIT,
    RETRY_FIRST_MS,
    UNREAD_MOST_MS,
    Repairer,
)
from aggregation.trade_queue import Correction, FeedGap, InsertTrades
from model.intervals import DAY_MS, WEEK_MS
from model.records import Candle, Kline
from tests.support.history import FakeHistory

MINUTE = 60_000
T0 = 1_700_000_100_000  # a full five minutes
STEPS = (MINUTE, 3 * MINUTE, 5 * MINUTE, 60 * MINUTE, DAY_MS, WEEK_MS, 0)


def kline(start_ms=T0, interval_ms=MINUTE, *, complete=False, symbol="BTCUSDT"):
    one = Decimal(1)
    return Kline(symbol, interval_ms, start_ms, one, one, one, one, one, 1, one, complete, "trades", 0)


def candle(start_ms, close=2):
    return Candle(start_ms, Decimal(1), Decimal(9), Decimal(1), Decimal(close), Decimal(3), Decimal(4))


class Harness:
    """An exchange that answers from a dict, and a clock."""

    def __init__(self):
        self.now = T0
        self.candles = {}
        self.asked = []
        self.corrected = []
        self.past = []
        self.trades_read = []
        self.history = FakeHistory(
            candles=self.read, recent_trades=self.read_trades, steps_ms=STEPS, now_ms=lambda: self.now
        )
        self.repairer = Repairer(self.history, self.submit)

    def read(self, market, symbol, step_ms, start_ms, end_ms):
        self.asked.append((market, symbol, step_ms, start_ms, end_ms))
        if self.candles is None:
            return None
        return [c for start, c in self.candles.items() if start_ms <= start < end_ms]

    def read_trades(self, market, symbol):
        self.trades_read.append((market, symbol))
        return self.past

    def submit_candle(self, market, correction):
        self.corrected.append((market, correction.candle))

    def submit(self, market, found):
        if isinstance(found, Correction):
            self.corrected.append((market, found.kline.timestamp, found.candle.close))
        else:
            self.corrected.append((market, found))


@pytest.fixture
def harness():
    return Harness()


def opens_at(rule):
    """A harness whose exchange opens candles by this rule, in the market that is not the first."""
    other = Harness()
    other.repairer = Repairer(
        other.history, other.submit_candle, opens_at={"linear": "prev_close", "spot": rule}.__getitem__
    )
    return other


def test_incomplete_kline_is_replaced_when_the_answer_is_final(harness):
    """Long after its end one read is enough."""
    harness.candles[T0] = candle(T0)
    harness.repairer.put("linear", [kline()])
    harness.now = T0 + 2 * MINUTE
    harness.repairer.step()

    assert harness.corrected == [("linear", T0, 2)]
    assert harness.repairer.stats() == {"repaired": 1, "given_up": 0, "waiting": 0}


def test_fresh_candle_is_read_until_two_reads_agree(harness):
    """Right after its end the exchange may still be at it."""
    harness.repairer.put("linear", [kline()])
    for close in (2, 3, 3):
        harness.candles[T0] = candle(T0, close)
        harness.now = max(harness.now, T0 + MINUTE) + 1_500
        harness.repairer.step()

    assert harness.corrected == [("linear", T0, 3)]


def test_two_answers_alike_prove_nothing_while_the_clock_is_unknown(harness):
    """Both may have come before the candle was finished: a host two seconds fast reads too early."""
    harness.history.clock.is_known = False
    harness.candles[T0] = candle(T0)
    harness.repairer.put("linear", [kline()])
    for ms in (2_000, 4_000, 6_000):
        harness.now = T0 + MINUTE + ms
        harness.repairer.step()
    harness.history.clock.is_known, harness.now = True, T0 + MINUTE + 8_000
    harness.repairer.step()
    assert harness.corrected == []

    harness.now += 1_500
    harness.repairer.step()
    assert len(harness.corrected) == 1


def test_complete_klines_are_not_requested(harness):
    """What was completed otherwise is not read."""
    harness.repairer.put("linear", [kline()])
    harness.repairer.put("linear", [kline(complete=True)])
    harness.now += DAY_MS
    harness.repairer.step()

    assert harness.asked == []


def test_nothing_shorter_than_the_exchange_has_is_requested(harness):
    """Seconds stay incomplete."""
    harness.repairer.put("linear", [kline(interval_ms=1_000)])

    assert harness.repairer.stats()["waiting"] == 0


def test_candles_are_of_the_lengths_that_their_market_has():
    """Binance has candles of a second in spot alone: those of futures stay incomplete, and nothing is asked in vain."""
    asked = []
    history = FakeHistory(
        candles=lambda *what: asked.append(what),
        steps_ms={"spot": (1_000, MINUTE), "linear": (MINUTE,)},
        now_ms=lambda: T0 + DAY_MS,
    )
    repairer = Repairer(history, lambda *_: None)

    for market in ("spot", "linear"):
        repairer.put(market, [kline(interval_ms=1_000)])
        repairer.put(market, [kline(interval_ms=2_000)])
    repairer.step()

    assert {(market, step_ms) for market, _, step_ms, _, _ in asked} == {("spot", 1_000)}
    assert repairer.stats()["waiting"] == 2


def test_unreachable_exchange_is_read_again_later_and_later(harness):
    """Each failure doubles the pause; nothing is lost."""
    harness.candles = None
    harness.repairer.put("linear", [kline()])
    harness.now = T0 + 2 * MINUTE
    pauses = []
    for _ in range(3):
        harness.repairer.step()
        asked, before = len(harness.asked), harness.now
        while len(harness.asked) == asked:
            harness.now += 500
            harness.repairer.step()
        pauses.append(harness.now - before)

    assert pauses == [RETRY_FIRST_MS, 2 * RETRY_FIRST_MS, 4 * RETRY_FIRST_MS]


def test_one_question_covers_all_candles_of_a_symbol_and_length(harness):
    """After a gap of an hour sixty klines are one call, corrected oldest first."""
    starts = [T0 + i * MINUTE for i in range(60)]
    harness.candles = {start: candle(start) for start in starts}
    harness.repairer.put("linear", [kline(start) for start in reversed(starts)])
    harness.now = T0 + 2 * 60 * MINUTE
    harness.repairer.step()

    assert harness.asked == [("linear", "BTCUSDT", MINUTE, T0, T0 + 60 * MINUTE)]
    assert [start for _, start, _ in harness.corrected] == starts


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
def test_intervals_of_ones_own_are_made_of_the_exchanges(harness, start_ms, interval_ms, step_ms):
    """The longest candle that fits: ten minutes of five, February as a month, a week from Monday, one from Thursday."""
    harness.repairer.put("linear", [kline(start_ms, interval_ms)])
    harness.now = start_ms + 2 * interval_ms
    harness.repairer.step()

    assert [asked[2] for asked in harness.asked] == [step_ms]


@pytest.mark.parametrize(("rule", "opened"), [("first_trade", 5), ("prev_close", 1)])
def test_own_intervals_are_rolled_up_by_the_rule_of_the_market(rule, opened):
    """Two minutes of which the first is a flat filler at a price of before: only one rule opens there."""
    harness = opens_at(rule)
    one, five = Decimal(1), Decimal(5)
    harness.candles[T0] = Candle(T0, one, one, one, one, Decimal(0), Decimal(0))
    harness.candles[T0 + MINUTE] = Candle(T0 + MINUTE, five, five, five, five, one, five)
    harness.repairer.put("spot", [replace(kline(T0, 2 * MINUTE), trade_count=0)])
    harness.now = T0 + 4 * MINUTE
    harness.repairer.step()

    assert [(market, c.open, c.low, c.high, c.close) for market, c in harness.corrected] == [
        ("spot", opened, opened, 5, 5)
    ]


def test_roll_up_needs_every_part():
    """A missing piece is no candle."""
    parts = {T0: candle(T0), T0 + MINUTE: candle(T0 + MINUTE, 5)}

    assert rolled_up({T0: parts[T0]}, T0, T0 + 2 * MINUTE, MINUTE) is None
    assert rolled_up(parts, T0, T0 + 2 * MINUTE, MINUTE) == Candle(
        T0, Decimal(1), Decimal(9), Decimal(1), Decimal(5), Decimal(6), Decimal(8)
    )


def test_newest_record_of_a_kline_is_the_one_corrected(harness):
    """A late trade raised its revision meanwhile: the correction must be higher still."""
    harness.candles[T0] = candle(T0)
    found: list[object] = []
    harness.repairer = Repairer(harness.history, lambda _market, message: found.append(message))
    harness.repairer.put("linear", [kline()])
    harness.repairer.put("linear", [replace(kline(), revision=3)])
    harness.now = T0 + 2 * MINUTE
    harness.repairer.step()

    assert found == [Correction(replace(kline(), revision=3), candle(T0))]


def test_trades_of_a_gap_are_submitted_when_its_far_side_is_there(harness):
    """REST may lag behind the stream: it is read again, a few times, and then submitted as it is."""
    seen, unseen = FeedGap("BTCUSDT", T0, "a", T0 + 1, "b", T0 + 2), FeedGap("BTCUSDT", T0, "a", T0 + 1, "z", T0 + 2)
    harness.repairer.request_trades("linear", seen)
    harness.repairer.request_trades("linear", unseen)
    harness.repairer.step()
    harness.past = [SimpleNamespace(trade_id="b")]
    harness.repairer.step()
    assert harness.corrected == [], "woken by something else: it is too early to ask again"

    harness.now += READ_AGAIN_MS
    harness.repairer.step()

    assert harness.corrected == [("linear", InsertTrades(seen, harness.past))]

    for _ in range(2 * READS_LIMIT):
        harness.now += READ_AGAIN_MS
        harness.repairer.step()

    assert harness.corrected[1:] == [("linear", InsertTrades(unseen, harness.past))]


def test_gaps_of_one_symbol_share_an_answer(harness):
    """Broken messages one after the other ask the exchange about once a second, not each."""
    gaps = [FeedGap("BTCUSDT", T0, "a", T0 + n, "b", T0 + n) for n in range(30)]
    harness.past = [SimpleNamespace(trade_id="b")]
    for number, gap in enumerate(gaps):
        harness.now = T0 + 100 * number
        harness.repairer.request_trades("linear", gap)
        harness.repairer.step()
    harness.now += READ_AGAIN_MS
    harness.repairer.step()

    assert [found.gap for _, found in harness.corrected] == gaps
    assert len(harness.trades_read) == 5


def test_gaps_wait_while_the_exchange_does_not_answer(harness):
    """No answer says nothing about their trades: they are read later and later, and submitted when there is one."""
    gap = FeedGap("BTCUSDT", T0, "a", T0 + 1, "b", T0 + 2)
    harness.past = None
    harness.repairer.request_trades("linear", gap)
    for _ in range(600):
        harness.now += 1_000
        harness.repairer.step()
    assert (harness.corrected, harness.repairer.given_up) == ([], 0)
    assert 10 * READS_LIMIT > len(harness.trades_read) >= 600_000 // READ_AGAIN_CAP_MS

    harness.past = [SimpleNamespace(trade_id="b")]
    harness.now += READ_AGAIN_CAP_MS
    harness.repairer.step()
    assert harness.corrected == [("linear", InsertTrades(gap, harness.past))]


def test_gap_that_could_not_be_read_for_an_hour_is_given_up(harness):
    """Its candles are left to repair it."""
    harness.past = None
    harness.repairer.request_trades("linear", FeedGap("BTCUSDT", T0, "a", T0 + 1, "b", T0 + 2))
    harness.repairer.step()
    for _ in range(3):
        harness.now += 2 * UNREAD_MOST_MS
        harness.repairer.step()

    assert (len(harness.trades_read), harness.repairer.given_up) == (2, 1)


def test_exchange_that_does_not_answer_is_asked_for_few_gaps_at_a_time(harness):
    """Each question may take as long as a request may: the candles wait meanwhile."""
    harness.past = None
    for number in range(30):
        harness.repairer.request_trades("linear", FeedGap(f"{number}USDT", T0, "a", T0 + 1, "b", T0 + 2))
    harness.repairer.step()
    assert len(harness.trades_read) == MISSES_MOST

    harness.past = [SimpleNamespace(trade_id="b")]
    harness.now += 1_000
    harness.repairer.step()
    assert len(harness.corrected) == 30


def test_other_work_that_fails_costs_no_repair(harness):
    """Both are done in the thread's outermost loop, each for itself."""

    def fail():
        raise RecursionError

    harness.past, done = [SimpleNamespace(trade_id="b")], threading.Event()

    def submit(market, found):
        harness.submit(market, found)
        done.set()

    repairer = Repairer(harness.history, submit, fail)
    gap = FeedGap("BTCUSDT", T0, "a", T0 + 1, "b", T0 + 2)
    repairer.request_trades("linear", gap)
    with capture_logs() as logs:
        repairer.start()
        assert done.wait(10.0)
        assert repairer.stop(time.monotonic() + 10.0)

    assert harness.corrected == [("linear", InsertTrades(gap, harness.past))]
    assert [entry["event"] for entry in logs] == ["repair_failed"]


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
    assert lacks_trades(candle(T0), replace(kline(), **ours)) == is_lacking


def test_a_candle_that_lacks_our_trades_is_read_again_until_it_has_them(harness):
    """However long ago its minute ended, and however often two answers agree: the exchange is behind."""
    harness.repairer.put("linear", [replace(kline(), volume=Decimal(5))])
    harness.candles[T0] = candle(T0)
    harness.now = T0 + 2 * MINUTE
    for _ in range(20):
        harness.repairer.step()
        harness.now += 1_000
    assert harness.corrected == []
    assert len(harness.asked) == 4  # 2, 4 and 8 s later

    harness.candles[T0] = Candle(T0, *map(Decimal, (1, 9, 1, 2, 5, 6)))
    harness.now += MINUTE
    harness.repairer.step()
    assert harness.corrected == [("linear", T0, 2)]


def test_a_candle_that_never_has_our_trades_corrects_nothing(harness):
    """Its kline stays incomplete, which is true, and the questions end."""
    harness.repairer.put("linear", [replace(kline(), volume=Decimal(5))])
    harness.candles[T0] = candle(T0)
    harness.now = T0 + 2 * MINUTE
    for _ in range(200):
        harness.repairer.step()
        harness.now += 10_000
    assert harness.corrected == []
    assert len(harness.asked) == LACKING_MOST
    assert harness.repairer.stats() == {"repaired": 0, "given_up": 1, "waiting": 0}


def test_a_candle_that_answers_leave_out_costs_itself_and_few_questions(harness):
    """Its row made no sense: the others are corrected, and it is asked for less and less often."""
    starts = [T0 + n * MINUTE for n in range(5)]
    harness.candles = {start: candle(start) for start in starts if start != starts[2]}
    harness.repairer.put("linear", map(kline, starts))
    harness.now = T0 + 6 * MINUTE
    for _ in range(24 * 60):
        harness.repairer.step()
        harness.now += MINUTE
    assert [start for _, start, _ in harness.corrected] == [start for start in starts if start != starts[2]]
    assert len(harness.asked) < 24 * 3_600_000 / MISSING_CAP_MS + 15

    harness.candles[starts[2]] = candle(starts[2])
    harness.now += MISSING_CAP_MS
    harness.repairer.step()
    assert harness.corrected[-1] == ("linear", starts[2], 2)
