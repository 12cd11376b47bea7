"""What is counted for metrics alone: per event, per batch of klines, per batch of trades."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.figures import LAG_BOUNDS_S, SAMPLE_S, EventFigures, Figures, Histogram, KlineFigures, LagFigures
from model.events import NOT_WANTED, STOPPED, Connected, Disconnected, Gap, Repaired, SinkDown
from model.intervals import DAY_MS, MINUTE_MS, interval_name
from model.records import TradeBatch
from tests.support.klines import kline

DECEMBER_MS, JANUARY_MS = 1_764_547_200_000, 1_767_225_600_000


class Kept:
    """A KlineSink."""

    def __init__(self):
        self.klines = []

    def put(self, market, klines):
        self.klines += klines


def decode_nothing(_market, _payloads):
    return batch()


def figures_of(now_ms=0, intervals=("1m", "5m", "1D", "1M")):
    _, figures = Figures().of_klines(decode_nothing, Kept(), lambda: now_ms, intervals)
    return figures


def batch(*event_ms):
    count = len(event_ms)
    return TradeBatch(["A"] * count, list(event_ms), [1.0] * count, [1.0] * count, [0] * count, list(event_ms))


def test_each_outage_counts_once_and_what_was_asked_for_does_not():
    """A symbol that is not wanted any more, the end of the process, and a stream given up after its outage."""
    figures = EventFigures()
    figures.emit(Connected(market="linear", kind="trades", symbols=("BTCUSDT",)))
    for reason in ("ConnectionLostError: reset", NOT_WANTED, STOPPED):
        figures.emit(Disconnected(market="linear", kind="trades", symbols=("BTCUSDT",), reason=reason))
    figures.emit(Disconnected(stream="Trades_linear_1", reason="again and again", final=True))
    figures.emit(SinkDown(sink="redis", reason="gone"))

    assert figures.disconnects() == {("linear", "trades"): 1}


def test_gaps_and_repairs_count_by_what_they_are_of():
    """A repair by candle is not one by ids."""
    figures = EventFigures()
    for _ in range(2):
        figures.emit(Gap(reason="u 3 where 2 was due", market="spot", kind="orderbook"))
    figures.emit(Repaired(market="linear", how="candle", interval=MINUTE_MS))
    figures.emit(Repaired(market="spot", kind="orderbook", how="snapshot"))

    assert figures.gaps() == {("spot", "orderbook"): 2}
    assert figures.repairs() == {("linear", "candle"): 1, ("spot", "snapshot"): 1}


def test_klines_count_once_when_they_close_and_again_as_revisions():
    """By the interval's name in the settings, a month of any length included; the klines themselves go on first."""
    outputs = Kept()
    _, figures = Figures().of_klines(decode_nothing, outputs, lambda: 0, ("1m", "1D", "1M"))
    months = [
        kline(interval=JANUARY_MS - DECEMBER_MS, timestamp=DECEMBER_MS),
        kline(interval=28 * DAY_MS, timestamp=1_769_904_000_000),  # February 2026
    ]
    days = [kline(interval=DAY_MS, timestamp=DECEMBER_MS, complete=False)]
    minutes = [kline(0), kline(1), kline(1, complete=False), kline(0, revision=1), kline(0, revision=7, complete=False)]
    figures.put("linear", minutes + days + months)
    figures.put("spot", [kline(0)])
    figures.put("spot", [])

    closed, incomplete, revised = figures.read({})
    assert closed == {("linear", "1m"): 3, ("linear", "1D"): 1, ("linear", "1M"): 2, ("spot", "1m"): 1}
    assert {key: count for key, count in incomplete.items() if count} == {("linear", "1m"): 1, ("linear", "1D"): 1}
    assert revised == {("linear", "1m"): 2}
    assert outputs.klines == [*minutes, *days, *months, kline(0)]


KLINES = st.builds(
    kline,
    st.integers(0, 3),
    interval=st.sampled_from([MINUTE_MS, 5 * MINUTE_MS, DAY_MS]),
    complete=st.booleans(),
    revision=st.sampled_from([0, 0, 0, 1, 5]),
)


@given(st.lists(KLINES, max_size=30))
def test_any_mixture_counts_as_one_by_one(klines):
    """A batch is counted by what its klines have in common, which must not show."""
    together, one_by_one = figures_of(now_ms=kline(9).timestamp), figures_of(now_ms=kline(9).timestamp)
    together.put("linear", klines)
    for each in klines:
        one_by_one.put("linear", [each])

    some, others = ([{k: v for k, v in part.items() if v} for part in each.read({})] for each in (together, one_by_one))
    assert some == others
    assert sum(some[0].values()) == sum(not each.revision for each in klines)
    assert together.delay.read()[0] == one_by_one.delay.read()[0]
    assert together.delay.read()[1] == pytest.approx(one_by_one.delay.read()[1])


def test_the_delay_is_that_of_first_issues():
    """From the end of the window; a revision may come hours later."""
    end_ms = kline(0).timestamp + MINUTE_MS
    figures = figures_of(now_ms=end_ms + 320)
    figures.put("linear", [kline(0), kline(0, symbol="ETHUSDT"), kline(-60, revision=1)])
    buckets, sum_s = figures.delay.read()

    assert dict(buckets)["0.3"] == 0
    assert dict(buckets)["0.4"] == dict(buckets)["+Inf"] == 2
    assert sum_s == pytest.approx(0.64)


def test_an_interval_that_no_setting_names_has_its_usual_name():
    """What a checkpoint of an earlier run brings."""
    figures = figures_of(intervals=("1m",))
    figures.put("linear", [kline(interval=15 * MINUTE_MS)])

    assert figures.read({})[0] == {("linear", interval_name(15 * MINUTE_MS, 0)): 1}


def test_the_lag_is_the_age_of_the_newest_trade_by_market():
    """The last of a batch; a clock that is behind makes no negative age, and a batch without trades none."""
    batches = {"linear": [batch(500, 900), batch(), batch(1_004)], "spot": [batch(0)]}
    times = iter([0.0, 1.0, 2.0, 2.0])
    lag = LagFigures(lambda market, _payloads: batches[market].pop(0), lambda: 1_000, lambda: next(times))
    decoded = [lag("linear", []) for _ in range(3)] + [lag("spot", [])]

    buckets, sum_s = lag.lags["linear"].read()
    assert [each.event_ms for each in decoded] == [[500, 900], [], [1_004], [0]]
    assert (dict(buckets)["0.005"], dict(buckets)["0.1"], dict(buckets)["+Inf"]) == (1, 2, 2)
    assert sum_s == pytest.approx(0.1)
    assert lag.lags["spot"].read()[1] == 1.0
    assert lag.newest_ms == {"linear": 0, "spot": 1_000}


def test_the_lag_of_a_market_is_measured_some_times_a_second():
    """However many batches come; those without trades do not count, and no market keeps another's from it."""
    times = iter([0.0, 0.0, SAMPLE_S / 2, SAMPLE_S / 2, SAMPLE_S])
    batches = iter([batch(), batch(0), batch(0), batch(0), batch(0)])
    lag = LagFigures(lambda _market, _payloads: next(batches), lambda: 1_000, lambda: next(times))
    for market in ("linear", "linear", "linear", "spot", "linear"):
        lag(market, [])

    assert {market: each.read()[0][-1] for market, each in lag.lags.items()} == {
        "linear": ("+Inf", 2),
        "spot": ("+Inf", 1),
    }


def test_a_histogram_has_each_value_at_its_bound_and_the_largest_beyond():
    """Bounds are inclusive, as Prometheus has them."""
    histogram = Histogram(LAG_BOUNDS_S)
    for value_s in (0.005, 0.0051, 61.0):
        histogram.add(value_s)
    buckets, _ = histogram.read()

    assert [bound for bound, _ in buckets] == [*map(str, LAG_BOUNDS_S), "+Inf"]
    assert [count for _, count in buckets] == [1] + [2] * (len(LAG_BOUNDS_S) - 1) + [3]


def test_counting_hands_on_what_the_outputs_raise():
    """The aggregator logs it: what did not go out was not issued."""

    class Broken:
        def put(self, market, klines):
            raise RuntimeError("broken")

    figures = KlineFigures(Broken(), lambda: 0, {})
    with pytest.raises(RuntimeError):
        figures.put("linear", [kline()])
    assert figures.read({})[0] == {}
