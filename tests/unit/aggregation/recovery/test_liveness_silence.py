"""Silence against the rhythm: the exchange's trades are read, and decide. Time is the test's."""

import pytest

from aggregation.recovery.liveness import AT_A_TIME, LAG_MS, SilenceChecker
from aggregation.trade_queue import SilenceAnswer
from model.records import PastTrade
from tests.support.delivery import FakeDelivery
from tests.support.history import FakeHistory
from tests.support.markers import feed_down, feed_up
from tests.unit.aggregation.test_aggregator import MINUTE, T0, Harness


class SilentHarness(Harness):
    """A symbol that trades five times a second, whose connection always answers pings."""

    def __init__(self):
        self.asked: list[tuple[str, int]] = []
        super().__init__("5s", on_silence=lambda _market, symbol, since_ms: self.asked.append((symbol, since_ms)))
        self.line = FakeDelivery(is_always_proven=True)
        self.mark(feed_up(("BTCUSDT",), T0 - 60_000, self.line))
        self.run(0, 30)

    def run(self, begin_s, end_s, *, trades=True):
        for tenth in range(begin_s * 10, end_s * 10):
            if trades and tenth % 2 == 0:
                self.put(tenth * 100)
            self.step(tenth * 100 + 50)

    def last(self):
        found = {}
        for _, k in self.published:
            found[(k.timestamp - T0) // 5_000] = k.complete
        return found


@pytest.fixture
def harness():
    return SilentHarness()


def test_while_it_trades_the_exchange_is_not_read(harness):
    """The rhythm is kept."""
    assert harness.asked == []


def test_missed_trades_take_complete_back_until_the_next_one_comes(harness):
    """And the gap reaches from the last trade before to the first after it."""
    last_ms = T0 + 29_800
    harness.run(30, 40, trades=False)
    assert harness.asked == [("BTCUSDT", last_ms)]
    assert harness.last()[6] is True
    harness.mark(SilenceAnswer("BTCUSDT", last_ms, T0 + 37_000, is_missed=True))
    harness.run(40, 60, trades=False)
    assert harness.line.recovered == ["BTCUSDT"]
    assert {start: c for start, c in harness.last().items() if start > 5} == dict.fromkeys(range(6, 11), False)
    harness.run(60, 80)
    assert [harness.last()[start] for start in (11, 12, 13, 14)] == [False, False, True, True]
    assert (harness.gaps[-1].from_ms, harness.gaps[-1].first_ms) == (last_ms, T0 + 60_000)


def test_being_subscribed_anew_proves_nothing_by_itself(harness):
    """The new subscription may be as silent: flat candles are not complete until a trade comes."""
    harness.run(30, 40, trades=False)
    harness.mark(SilenceAnswer("BTCUSDT", T0 + 29_800, T0 + 37_000, is_missed=True))
    harness.mark(feed_down(("BTCUSDT",), T0 + 39_000, harness.line))
    harness.mark(feed_up(("BTCUSDT",), T0 + 40_000, harness.line))
    harness.run(40, 60, trades=False)
    assert not any(complete for start, complete in harness.last().items() if start > 5)
    harness.run(60, 75)
    assert (harness.gaps[-1].from_ms, harness.gaps[-1].first_ms) == (T0 + 29_800, T0 + 60_000)
    assert harness.last()[13] is True


def test_a_trade_of_before_the_new_subscription_does_not_shorten_the_gap(harness):
    """It came late: between it and the subscription others may be lost."""
    harness.run(30, 40, trades=False)
    harness.mark(SilenceAnswer("BTCUSDT", T0 + 29_800, T0 + 37_000, is_missed=True))
    harness.mark(feed_down(("BTCUSDT",), T0 + 39_000, harness.line))
    harness.mark(feed_up(("BTCUSDT",), T0 + 40_000, harness.line))
    harness.put(39_500)
    harness.put(40_300)
    harness.step(40_400)
    assert (harness.gaps[-1].until_ms, harness.gaps[-1].first_ms) == (T0 + 40_000, T0 + 40_300)


def test_the_exchanges_answer_ends_it_too(harness):
    """Nothing traded since it was subscribed anew: from there on silence is true."""
    harness.run(30, 40, trades=False)
    harness.mark(SilenceAnswer("BTCUSDT", T0 + 29_800, T0 + 37_000, is_missed=True))
    harness.mark(feed_down(("BTCUSDT",), T0 + 39_000, harness.line))
    harness.mark(feed_up(("BTCUSDT",), T0 + 40_000, harness.line))
    harness.run(40, 60, trades=False)
    assert harness.asked[-1] == ("BTCUSDT", T0 + 40_000), "what was missed before is no news"
    harness.mark(SilenceAnswer("BTCUSDT", T0 + 40_000, T0 + 57_000, is_missed=False))
    harness.run(60, 62, trades=False)
    harness.put(62_000)
    harness.run(62, 80)
    assert harness.last()[13] is True


def test_a_proven_silence_is_complete(harness):
    """It must not be incomplete merely for being quiet: for hours, where the exchange had no trade."""
    for begin_s in range(30, 1_230, 10):
        harness.run(begin_s, begin_s + 10, trades=False)
        while harness.asked:
            symbol, since_ms = harness.asked.pop()
            harness.mark(SilenceAnswer(symbol, since_ms, harness.now - LAG_MS, is_missed=False))
    assert set(harness.last().values()) - {harness.last()[0]} == {True}
    assert all(k.complete for _, k in harness.published if k.timestamp > T0)


def test_a_long_silence_without_an_answer_is_not_complete(harness):
    """The exchange does not answer. When it does, what was quiet is complete after all, where its windows are kept."""
    harness.run(30, 150, trades=False)
    assert not any(complete for start, complete in harness.last().items() if start > 5)
    assert harness.line.recovered == ["BTCUSDT"], "what may be dead is subscribed anew, once"
    harness.mark(SilenceAnswer("BTCUSDT", T0 + 29_800, T0 + 147_000, is_missed=False))
    harness.run(150, 160, trades=False)
    assert all(complete for start, complete in harness.last().items() if start > 18)


class Exchange:
    """Newest trades by symbol; None does not answer."""

    def __init__(self):
        self.trades: dict[str, list[int] | None] = {}
        self.found: list[SilenceAnswer] = []
        self.now = T0 + MINUTE
        history = FakeHistory(recent_trades=self.read, now_ms=lambda: self.now)
        self.checker = SilenceChecker(history, lambda _market, found: self.found.append(found))

    def read(self, _market, symbol):
        times = self.trades.get(symbol)
        return times and [PastTrade(str(ms), T0 + ms, 1.0, 1.0, 0) for ms in times]

    def ask(self, *symbols):
        for symbol in symbols:
            self.checker.put("linear", symbol, T0 + 10_000)
        self.checker.step()
        return [found.is_missed for found in self.found]


@pytest.mark.parametrize(
    ("times", "found"),
    [
        ([1_000, 10_000], [False]),
        ([1_000, 10_000, 20_000], [True]),
        ([10_000, MINUTE - LAG_MS + 1], [False]),  # it may be on its way
        ([1_000], []),  # the exchange's memory is behind us
        ([], []),
        (None, []),
    ],
)
def test_what_the_exchange_has_and_we_do_not(times, found):
    """Without an answer nothing is found."""
    exchange = Exchange()
    exchange.trades["X"] = times
    assert exchange.ask("X") == found


def test_few_questions_at_a_time():
    """A market that rests is no storm of requests."""
    exchange = Exchange()
    exchange.trades = {str(n): [10_000] for n in range(20)}
    assert len(exchange.ask(*exchange.trades)) == AT_A_TIME
