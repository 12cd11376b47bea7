"""The self-audit: when it reads, what it counts, what it corrects. Time and the exchange are arguments."""

from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from aggregation.audit.auditor import CANDLES_PER_CALL, LOGS_PER_MINUTE, RECHECK_MS, RETRY_MS, SETTLE_MS, Auditor
from aggregation.audit.compare import FIELDS
from model.records import Candle
from tests.support.history import FakeHistory
from tests.support.klines import kline

STEP_MS = 60_000
BEGIN_MS = kline(0).timestamp


class Exchange:
    """The exchange's REST API, and how it was read; `is_away` answers None."""

    def __init__(self):
        self.candles: dict[tuple[str, int], dict[int, Candle]] = defaultdict(dict)
        self.asked = []
        self.is_away = False

    def has(self, one, **changes):
        values = {name: getattr(one, name) for name in FIELDS} | {n: Decimal(v) for n, v in changes.items()}
        self.candles[one.symbol, one.interval][one.timestamp] = Candle(start_ms=one.timestamp, **values)

    def read(self, market, symbol, step_ms, start_ms, end_ms):
        self.asked.append((market, symbol, step_ms, start_ms, end_ms))
        if self.is_away:
            return None
        return [candle for start, candle in self.candles[symbol, step_ms].items() if start_ms <= start < end_ms]


class Harness:
    """An auditor without its thread, at a time that stands still until it is moved."""

    def __init__(self, **options):
        self.exchange, self.now_ms = Exchange(), BEGIN_MS
        self.corrected: list[object] = []
        given: dict[str, Any] = {"sample": 1.0, "correct": lambda *what: self.corrected.append(what)}
        history = FakeHistory(
            candles=lambda *what: self.exchange.read(*what), steps_ms=(STEP_MS, 300_000), now_ms=lambda: self.now_ms
        )
        self.auditor = Auditor(history, **(given | options))

    def offer(self, *klines):
        self.auditor.put("linear", klines)

    def after(self, ms):
        """Let time pass and ask until nothing is due."""
        self.now_ms += ms
        while self.auditor.step():
            pass

    def figures(self, interval="1m"):
        intervals: Any = self.auditor.stats()["intervals"]
        return intervals[interval]


@pytest.fixture
def harness():
    return Harness()


def test_what_is_compared_is_what_the_exchange_has_in_each_market():
    """Candles of a second, for example, in spot alone."""
    asked: list[Any] = []
    history = FakeHistory(
        candles=lambda *what: asked.append(what),
        steps_ms={"spot": (STEP_MS, 300_000), "linear": (300_000,)},
        now_ms=lambda: BEGIN_MS + 3_600_000,
    )
    auditor = Auditor(history, sample=1.0)

    for market in ("spot", "linear"):
        auditor.put(market, [kline(0)])
    while auditor.step():
        pass

    assert {market for market, *_ in asked} == {"spot"}


def test_it_waits_until_the_candle_is_final(harness):
    """The exchange still works on a candle for a moment after its end."""
    harness.exchange.has(kline(0))
    harness.offer(kline(0))
    harness.after(STEP_MS + SETTLE_MS - 1)
    assert harness.exchange.asked == []

    harness.after(1)
    assert harness.exchange.asked == [("linear", "BTCUSDT", STEP_MS, BEGIN_MS, BEGIN_MS + STEP_MS)]
    assert harness.figures() == {"compared": 1, "equal": 1, "different": 0, "unknown": 0}


def test_one_question_for_many_candles(harness):
    """Those of one symbol and interval that are due together; not beyond one page."""
    for number in (*range(50), CANDLES_PER_CALL + 1):
        harness.exchange.has(kline(number))
        harness.offer(kline(number))
    harness.after(STEP_MS * (CANDLES_PER_CALL + 2) + SETTLE_MS)

    assert len(harness.exchange.asked) == 2
    assert harness.figures()["equal"] == 51


def test_longest_waiting_is_read_first(harness):
    """No symbol is left waiting behind a busier one."""
    harness.offer(kline(3, symbol="B"), kline(1, symbol="A"), kline(2, symbol="C"))
    harness.now_ms += STEP_MS * 10
    for _ in range(3):
        harness.auditor.step()

    assert [asked[1] for asked in harness.exchange.asked] == ["A", "C", "B"]


def test_results_are_known_by_interval_and_by_market(harness):
    """An interval's are those of all markets, a market's those of all intervals."""
    five = kline(0, interval=300_000)
    for one in (kline(0), five):
        harness.exchange.has(one)
    harness.auditor.put("linear", [kline(0), five])
    harness.auditor.put("spot", [kline(0), kline(1)])
    harness.after(300_000 + SETTLE_MS)
    harness.after(RECHECK_MS)

    assert harness.figures() == {"compared": 2, "equal": 2, "different": 0, "unknown": 1}
    assert harness.figures("5m")["compared"] == 1
    by_market = harness.auditor.by_market()
    found = {market: (tally.compared, tally.equal, tally.unknown) for market, tally in by_market.items()}
    assert found == {"linear": (2, 2, 0), "spot": (1, 1, 1)}


def test_difference_counts_when_it_is_still_there(harness):
    """By field and interval, logged with both candles, corrected once."""
    harness.exchange.has(kline(0), close="1.5", volume="34")
    harness.offer(kline(0))
    harness.after(STEP_MS + SETTLE_MS)
    assert (harness.auditor.stats()["intervals"], harness.corrected) == ({}, [])

    with capture_logs() as logs:
        harness.after(RECHECK_MS)
    assert harness.figures() == {
        "compared": 1, "equal": 0, "different": 1, "unknown": 0, "fields": {"close": 1, "volume": 1},
    }  # fmt: skip
    (line,) = logs
    assert (line["event"], line["fields"]) == ("kline_differs", ("close", "volume"))
    assert (line["ours"]["close"], line["exchange"]["close"]) == ("92846.1", "1.5")
    assert "COUNT_BLOCK_TRADES" in line["hint"]
    ((market, ours, candle),) = harness.corrected
    assert (market, ours, candle.close) == ("linear", kline(0), Decimal("1.5"))


def test_difference_that_is_gone_later_is_none(harness):
    """The exchange finished its candle, or our revision came: equal."""
    harness.exchange.has(kline(0), close="1.5")
    harness.offer(kline(0))
    harness.after(STEP_MS + SETTLE_MS)
    harness.offer(kline(0, close=Decimal("1.5"), revision=1))
    harness.after(RECHECK_MS)

    assert (harness.figures()["equal"], harness.figures()["different"], harness.corrected) == (1, 0, [])


def test_revision_that_comes_while_the_exchange_is_read_wins(harness):
    """The answer is about what was asked; the old one must not come back over the new one."""
    harness.exchange.has(kline(0), close="1.5")
    harness.offer(kline(0))
    read = harness.exchange.read

    def slow_read(*what):
        harness.exchange.read = read
        harness.offer(kline(0, close=Decimal("1.5"), revision=1))
        return read(*what)

    harness.exchange.read = slow_read
    harness.after(STEP_MS + SETTLE_MS)
    harness.after(RECHECK_MS)

    assert (harness.figures()["equal"], harness.figures()["different"]) == (1, 0)


def test_without_correction_a_difference_is_only_logged():
    """AUDIT_CORRECT=false."""
    harness = Harness(correct=None)
    harness.exchange.has(kline(0), low="1")
    harness.offer(kline(0))
    harness.after(STEP_MS + SETTLE_MS)
    harness.after(RECHECK_MS)

    assert (harness.figures()["different"], harness.corrected) == (1, [])


def test_candle_the_exchange_does_not_have_is_counted_apart(harness):
    """Nothing to correct with."""
    harness.offer(kline(0))
    harness.after(STEP_MS + SETTLE_MS)
    harness.after(RECHECK_MS)

    assert (harness.figures()["unknown"], harness.figures()["compared"], harness.corrected) == (1, 0, [])


def test_a_candle_that_the_exchange_leaves_out_because_nothing_was_traded_is_right():
    """Some exchanges have none, or write it when the next trade comes; one with trades must be there all the same."""
    harness = Harness(is_left_out=lambda _market, kline: not kline.volume)
    harness.offer(kline(0, volume=Decimal(0), trade_count=0), kline(1))
    harness.after(2 * STEP_MS + SETTLE_MS)
    harness.after(RECHECK_MS)

    assert harness.figures() == {"compared": 1, "equal": 1, "different": 0, "unknown": 1}


def test_exchange_that_does_not_answer_is_read_again_later(harness):
    """Nothing is counted wrong meanwhile."""
    harness.exchange.has(kline(0))
    harness.exchange.is_away = True
    harness.offer(kline(0))
    harness.after(STEP_MS + SETTLE_MS)
    assert len(harness.exchange.asked) == 1

    harness.exchange.is_away = False
    harness.after(RETRY_MS)
    assert (harness.figures()["equal"], harness.auditor.stats()["unanswered"]) == (1, 1)


def test_incomplete_klines_are_the_repairs(harness):
    """They are not compared; one that turns out incomplete is not either."""
    harness.offer(kline(0, complete=False), kline(1))
    harness.offer(kline(1, revision=1, complete=False))
    harness.after(STEP_MS * 10)

    assert (harness.exchange.asked, harness.auditor.stats()["waiting"]) == ([], 0)


def test_intervals_the_exchange_lacks_are_not_requested(harness):
    """It has no candle of a second."""
    harness.offer(kline(0, interval=1_000))
    harness.after(STEP_MS * 10)

    assert harness.exchange.asked == []


def test_sample_is_a_share(harness):
    """With a tenth asked for, the chosen tenth is compared; a revision of a chosen one stays chosen."""
    draws = iter([0.05, 0.5, 0.09, 0.1, 0.99])
    harness = Harness(sample=0.1, choose=lambda: next(draws))
    harness.offer(*(kline(number) for number in range(5)))
    harness.offer(kline(0, revision=1))

    assert harness.auditor.stats()["waiting"] == 2


def test_what_waits_is_bounded():
    """Beyond the limit klines are not audited, and counted."""
    harness = Harness(waiting_limit=3)
    harness.offer(*(kline(number) for number in range(5)))

    assert (harness.auditor.stats()["waiting"], harness.auditor.stats()["skipped"]) == (3, 2)


def test_differences_are_logged_so_many_a_minute(harness):
    """All are counted, some are logged, with the number of the others."""
    for number in range(LOGS_PER_MINUTE + 5):
        harness.exchange.has(kline(number), close="1")
        harness.offer(kline(number))
    harness.after(STEP_MS * 100)
    with capture_logs() as logs:
        harness.after(RECHECK_MS)
    assert (len(logs), harness.figures()["different"]) == (LOGS_PER_MINUTE, LOGS_PER_MINUTE + 5)

    harness.exchange.has(kline(200), close="1")
    harness.offer(kline(200))
    harness.after(STEP_MS * 200)
    with capture_logs() as logs:
        harness.after(RECHECK_MS)
    assert logs[0]["held_back"] == 5


def test_a_candle_that_lacks_our_trades_corrects_nothing(harness):
    """The exchange is behind, or leaves out what is counted here: logged as a difference, and nothing is corrected."""
    ours = kline(0, volume=Decimal(5), trade_count=3)
    harness.exchange.has(ours, volume="4")
    harness.offer(ours)
    harness.after(STEP_MS + SETTLE_MS)
    harness.after(RECHECK_MS)
    assert harness.figures()["different"] == 1
    assert harness.corrected == []


def test_fields_are_those_of_the_market():
    """Two markets of one exchange may open candles by different rules."""
    fields_of = {"linear": FIELDS, "spot": ("close", "volume", "turnover")}.__getitem__
    harness = Harness(fields_of=fields_of)
    harness.exchange.has(kline(0), open="1")
    harness.auditor.put("spot", [kline(0)])
    harness.after(STEP_MS + SETTLE_MS)
    assert (harness.figures()["compared"], harness.figures()["different"]) == (1, 0)
    harness.offer(kline(0))
    harness.after(SETTLE_MS)
    harness.after(RECHECK_MS)

    assert (harness.figures()["compared"], harness.figures()["different"]) == (2, 1)


def test_results_are_handed_over_every_difference_and_equal_ones_as_a_count():
    """A journal of them is to stay small: a row a minute where all is well."""
    results: list[tuple[str, Any]] = []
    harness = Harness(results=lambda market, record: results.append((market, record)))
    other = kline(1, close=Decimal("1"))
    for each in (kline(0), other, kline(2)):
        harness.exchange.has(each)
    harness.offer(kline(0), kline(1), kline(2))
    harness.after(3 * STEP_MS + SETTLE_MS)
    harness.after(RECHECK_MS)
    assert [record["event"] for _, record in results] == ["kline_differs"]
    market, difference = results.pop()
    assert (market, difference["timestamp"], difference["fields"]) == ("linear", kline(1).timestamp, ("close",))
    assert difference["exchange"]["close"] == "1"

    harness.after(60_000)
    assert results == [("linear", {"event": "audit", "market": "linear", "compared": 3, "equal": 2})]
    harness.after(60_000)
    assert len(results) == 1
