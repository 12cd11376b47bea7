"""What makes klines, as one: the marks of its feeds."""

from decimal import Decimal
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from aggregation.service import UNKNOWN_CLOCK_MS, KlineOptions, KlineService
from aggregation.trade_queue import Correction
from model.records import Candle, TradeBatch
from tests.support.delivery import FakeDelivery
from tests.support.history import FakeHistory
from tests.support.klines import kline
from tests.support.markers import feed_down, feed_up

T0 = 1_700_000_000_000


@pytest.fixture
def clock():
    return SimpleNamespace(
        offset_ms=0, is_known=False, now_ms=lambda: T0, sure_ms=lambda: T0, changes=0, span_of=lambda ms: (ms, ms)
    )


class Sink:
    """Outputs that drop klines."""

    def put(self, market, klines):
        """Drop them."""


def serve(clock, trades=((), (), (), (), (), ()), **choices):
    history = FakeHistory(steps_ms=(60_000,))
    history.clock = clock
    options = KlineOptions(("linear",), ("1m",), **choices)
    return KlineService(options, lambda *_: TradeBatch(*map(list, trades)), Sink(), history, report=lambda *_: None)


def marks(service):
    service.mark(feed_up(("X",), T0))
    service.mark(feed_down(("X",), T0))
    return service.aggregator.queues["linear"].take(2)


def test_mark_has_the_exchanges_time(clock):
    """The host is two seconds slow, and it is known."""
    clock.span_of, clock.is_known = lambda ms: (ms + 2_000, ms + 2_000), True

    assert marks(serve(clock)) == [feed_up(("X",), T0 + 2_000), feed_down(("X",), T0 + 2_000)]


def test_a_time_that_may_be_one_of_two_makes_a_gap_longer(clock):
    """REST and the host contradict each other by an hour: what is not proven by both is not proven."""
    clock.span_of, clock.is_known = lambda ms: (ms - 3_600_000, ms), True

    assert marks(serve(clock)) == [feed_up(("X",), T0), feed_down(("X",), T0 - 3_600_000)]


def test_unknown_clock_makes_a_gap_longer(clock):
    """The host's clock was not compared with the exchange's yet: what it may be off is unverified too."""
    assert marks(serve(clock)) == [feed_up(("X",), T0 + UNKNOWN_CLOCK_MS), feed_down(("X",), T0 - UNKNOWN_CLOCK_MS)]


def test_hosts_clock_stands_where_the_exchange_is_not_read(clock):
    """KLINE_REPAIR=false: its clock is all there is."""
    assert marks(serve(clock, repairs=False)) == [feed_up(("X",), T0), feed_down(("X",), T0)]


@pytest.mark.parametrize("repairs", [True, False])
def test_silence_is_checked_where_the_exchange_is_not_read_too(clock, repairs):
    """KLINE_REPAIR=false: a topic that died while its connection lives is no market at rest for ever."""
    clock.now, clock.now_ms = T0, lambda: clock.now
    service = serve(clock, (["X"], [T0], [1.0], [1.0], [1], ["i"]), repairs=repairs)
    line, aggregator = FakeDelivery(is_always_proven=True), service.aggregator
    service.mark(feed_up(("X",), T0, line))
    service.queue_for("linear")([b"trade"])
    for second in range(180):
        clock.now = T0 + second * 1_000
        aggregator.step()

    assert line.recovered == ["X"]
    assert bool(len(service.silences)) is repairs


def test_klines_of_symbols_that_no_stream_subscribed_are_not_repaired(clock):
    """Their klines are not complete, and would be asked for again and again."""
    service = serve(clock)
    service.aggregator.tables["linear"].feed.up(["X"], T0)
    one = kline(symbol="X", timestamp=T0 // 60_000 * 60_000, complete=False)
    service.publish("linear", [one, replace(one, symbol="FOREIGN")])

    assert service.repairer.stats()["waiting"] == 1


@pytest.mark.parametrize("corrects", [True, False])
def test_a_difference_is_corrected_where_that_is_asked_for(corrects):
    """The exchange's candle goes to the aggregator, where it differs twice."""
    ours, now = kline(0), [kline(0).timestamp]
    candle = Candle(ours.timestamp, ours.open, ours.high, ours.low, Decimal(1), ours.volume, ours.turnover)
    history = FakeHistory(candles=lambda *_: [candle], steps_ms=(60_000,), now_ms=lambda: now[0])
    options = KlineOptions(("linear",), ("1m",), audit_sample=1.0, audit_correct=corrects)
    service = KlineService(options, lambda *_: TradeBatch(*[[]] * 6), Sink(), history, report=lambda *_: None)
    assert service.auditor
    service.publish("linear", [ours])
    for _ in range(2):
        now[0] += 3_600_000
        assert service.auditor.step()

    assert service.aggregator.queues["linear"].take(9) == ([Correction(ours, candle)] if corrects else [])
