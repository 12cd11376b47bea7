"""REST of all markets, for callers that need an answer or None."""

import threading
from collections.abc import Sequence

from exchanges.rest import REFUSED_S, ExchangeRest
from model.ports import HistoryError
from model.problems import Problem
from model.records import PastTrade
from tests.support.waiting import wait_until

TRADES = [
    PastTrade(1, 1, 1.0, 1.0, 1),
    PastTrade(2, 2, 1.0, 1.0, 2, is_counted=False),
    PastTrade(3, 3, 1.0, 1.0, 3),
]


class Market:
    """A market that answers, or raises `failure`."""

    url = "http://x"
    candle_steps_ms: Sequence[int] = (60_000,)

    def __init__(self):
        self.asked = []
        self.failure = None

    def server_time_ms(self):
        if self.failure:
            raise self.failure
        return 0

    def candles(self, symbol, step_ms, start_ms, end_ms):
        self.asked.append(symbol)
        if self.failure:
            raise self.failure
        return []

    def recent_trades(self, symbol):
        self.candles(symbol, 0, 0, 0)
        return TRADES

    def trades_by_id(self, symbol, first_id, last_id):
        self.candles(symbol, 0, 0, 0)
        return [trade for trade in TRADES if first_id <= trade.trade_id <= last_id]


class RecordedOutages:
    """An OutageSink: parts with the problem of each failure, None where they work."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Problem | None]] = []

    def failed(self, part: str, problem: Problem) -> None:
        self.seen.append((part, problem))

    def works(self, part: str) -> None:
        self.seen.append((part, None))

    def removed(self, part: str) -> None:
        raise AssertionError("REST is never removed")


class Rest(ExchangeRest):
    """REST of one market, with a clock in the test's hand."""

    def __init__(self) -> None:
        self.now_s, self.market = 0.0, Market()
        self.reported: list[str] = []
        self.outages = RecordedOutages()
        super().__init__(
            lambda _market, _stop: self.market,
            ["linear"],
            lambda cause, _: self.reported.append(cause),
            monotonic=lambda: self.now_s,
            outages=self.outages,
        )


def test_trades_that_do_not_count_are_there_too():
    """Their ids prove that nothing is missing."""
    assert Rest().recent_trades("linear", "X") == TRADES


def test_trades_by_id_are_of_the_market_or_none_where_it_cannot_be_read():
    """A request that fails is no answer, as with candles."""
    rest = Rest()
    assert rest.trades_by_id("linear", "X", 2, 3) == TRADES[1:]
    rest.market.failure = HistoryError("down")
    assert rest.trades_by_id("linear", "X", 2, 3) is None


def test_lengths_of_candles_are_of_each_market():
    """Of one that was named by no setting, too: it is made then."""
    made = {"spot": (1_000, 60_000), "linear": (60_000,)}

    def make(market, _stop):
        api = Market()
        api.candle_steps_ms = made[market]
        return api

    rest = ExchangeRest(make, ["linear"], lambda _cause, _sample: None)

    assert (rest.candle_steps_ms("linear"), rest.candle_steps_ms("spot")) == ((60_000,), (1_000, 60_000))


def test_failure_that_may_pass_is_no_answer():
    """The next request is sent again."""
    rest = Rest()
    rest.market.failure = HistoryError("down")

    assert rest.candles("linear", "X", 60_000, 0, 1) is rest.recent_trades("linear", "X") is None
    assert rest.market.asked == ["X", "X"]
    assert rest.reported == ["history_unreadable"] * 2


def test_refusals_of_the_address_are_counted_by_their_status():
    """Each asks for something else to be done."""
    rest = Rest()
    for status in (418, 429):
        rest.market.failure = HistoryError("refused", problem=Problem(f"http_{status}", status=status))
        assert rest.recent_trades("linear", "X") is None
    assert rest.reported == ["http_418", "http_429"]


def test_what_keeps_it_from_being_reached_is_an_outage_until_an_answer_comes():
    """Told elsewhere, once for all that ask; here it is counted."""
    rest = Rest()
    rest.market.failure = HistoryError("down", problem=(problem := Problem("refused", "host")))
    assert rest.recent_trades("linear", "X") is None
    rest.look_at_clock()
    rest.market.failure = None
    assert rest.recent_trades("linear", "X") == TRADES
    assert rest.reported == ["history_unreached"]
    assert rest.outages.seen == [("REST linear", problem), ("REST linear", problem), ("REST linear", None)]


def test_the_time_that_another_thread_measures_is_not_measured_twice():
    """A start has it measured early; the repair thread, which looks after it later, finds it done."""
    rest = Rest()
    rest.begin_clock()
    rest.wait_for_clock(20.0)
    asked = rest.outages.seen[:]
    rest.look_at_clock()
    assert asked
    assert rest.outages.seen == asked


def test_an_early_look_that_fails_is_made_again_at_once():
    """As before the network is up: the wait for the exchange's time goes on until the repair thread has looked."""
    rest = Rest()
    rest.market.failure = HistoryError("down", problem=Problem("refused", "host"))
    rest.begin_clock()
    wait_until(lambda: rest.outages.seen)
    rest.market.failure = None
    looks = [thread for thread in threading.enumerate() if thread.name == "clock"]
    for look in looks:
        look.join(20.0)
    assert not rest.clock.is_known
    rest.look_at_clock()
    rest.wait_for_clock(20.0)
    assert rest.clock.is_known


def test_no_request_for_an_unknown_symbol_is_sent_for_a_while():
    """It may be listed later; other symbols are requested."""
    rest = Rest()
    rest.market.failure = HistoryError("retCode 10001", is_final=True)
    assert rest.recent_trades("linear", "GONE") == ()
    rest.market.failure = None
    rest.now_s = REFUSED_S - 1
    assert rest.candles("linear", "GONE", 60_000, 0, 1) == ()
    assert rest.candles("linear", "X", 60_000, 0, 1) == []
    assert rest.market.asked == ["GONE", "X"]

    rest.now_s = REFUSED_S + 1
    assert len(rest.recent_trades("linear", "GONE") or []) == 3


def test_stopped_rest_reports_nothing():
    """A stop interrupts requests."""
    rest = Rest()
    rest.market.failure = HistoryError("interrupted")
    rest.stop()

    assert rest.recent_trades("linear", "X") is None
    assert rest.reported == []
