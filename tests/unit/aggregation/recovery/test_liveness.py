"""What a connection's watermark proves: windows wait for it, go out incomplete without it, and again when it comes."""

import pytest

from aggregation.aggregator import IN_EXCHANGE_MS
from aggregation.klines.feed_state import PROOF_WAIT_MS
from tests.support.delivery import FakeDelivery
from tests.support.markers import feed_down, feed_up
from tests.unit.aggregation.test_aggregator import MINUTE, T0, Harness

GRACE_MS = 300


class LiveHarness(Harness):
    """Two symbols on two connections, up since a minute, each with a trade; candles of a minute."""

    def __init__(self, *names):
        super().__init__(*names)
        self.lines = {"BTCUSDT": FakeDelivery(), "ETHUSDT": FakeDelivery()}
        for symbol, line in self.lines.items():
            self.mark(feed_up((symbol,), T0 - 2 * MINUTE, line))
            self.put(-MINUTE, symbol=symbol)
            self.put(1, symbol=symbol)
        self.alive(1)
        self.step(1)
        self.published.clear()

    def alive(self, after_ms, *symbols):
        for symbol in symbols or self.lines:
            self.lines[symbol].mark_ms = T0 + after_ms

    def seen(self, symbol="BTCUSDT"):
        return [
            ((k.timestamp - T0) // k.interval, k.complete, k.revision) for _, k in self.published if k.symbol == symbol
        ]


@pytest.fixture
def harness():
    return LiveHarness()


def test_a_busy_connection_proves_itself(harness):
    """Its last message is of after the end: nothing waits, no connection is probed."""
    harness.alive(MINUTE + IN_EXCHANGE_MS)
    harness.step(MINUTE + GRACE_MS)
    assert (harness.seen(), harness.seen("ETHUSDT")) == ([(0, True, 0)], [(0, True, 0)])
    assert harness.lines["BTCUSDT"].probed == []


def test_a_silent_connection_is_probed_and_waited_for(harness):
    """The neighbour on another connection goes out at once; this one when the ping is answered, complete."""
    harness.alive(MINUTE + GRACE_MS, "ETHUSDT")
    harness.step(MINUTE + GRACE_MS)
    assert (harness.seen(), harness.seen("ETHUSDT")) == ([], [(0, True, 0)])
    (asked_ms,) = harness.lines["BTCUSDT"].probed
    assert asked_ms == T0 + MINUTE + GRACE_MS
    harness.lines["BTCUSDT"].mark_ms = asked_ms
    harness.step(MINUTE + GRACE_MS + 40)
    assert harness.seen() == [(0, True, 0)]


def test_a_silent_connection_is_probed_before_its_window_is_due(harness):
    """The answer is there when the window is due: nothing waits, and one probe is sent."""
    harness.alive(MINUTE + IN_EXCHANGE_MS, "ETHUSDT")
    for after_ms in (190, 210, 250):
        harness.step(MINUTE + after_ms)
    (asked_ms,) = harness.lines["BTCUSDT"].probed
    harness.lines["BTCUSDT"].mark_ms = asked_ms
    harness.step(MINUTE + GRACE_MS)
    assert (harness.seen(), harness.lines["ETHUSDT"].probed) == ([(0, True, 0)], [])
    assert (asked_ms, harness.lines["BTCUSDT"].probed) == (T0 + MINUTE + 210, [asked_ms])


def test_a_message_of_just_after_the_end_is_no_proof(harness):
    """A trade may be a tenth of a second in the exchange before its message is made."""
    harness.alive(MINUTE + IN_EXCHANGE_MS - 1)
    harness.step(MINUTE + GRACE_MS)
    assert harness.seen() == []


def test_without_proof_it_goes_out_incomplete_and_again_with_it(harness):
    """A long way to the exchange: nothing is held for long, nothing is complete without proof."""
    harness.step(MINUTE + GRACE_MS)
    harness.step(MINUTE + GRACE_MS + PROOF_WAIT_MS)
    harness.step(2 * MINUTE + GRACE_MS + PROOF_WAIT_MS)
    assert harness.seen() == [(0, False, 0), (1, False, 0)]
    harness.alive(MINUTE + 5_000)
    harness.step(2 * MINUTE + GRACE_MS + PROOF_WAIT_MS + 50)
    assert harness.seen()[2:] == [(0, True, 1)]
    harness.alive(2 * MINUTE + 1_500)
    harness.step(2 * MINUTE + GRACE_MS + PROOF_WAIT_MS + 100)
    assert harness.seen()[3:] == [(1, True, 1)]
    harness.alive(3 * MINUTE + GRACE_MS)
    harness.step(3 * MINUTE + GRACE_MS)
    assert harness.seen()[4:] == [(2, True, 0)]


def test_a_dead_connection_never_makes_a_kline_complete(harness):
    """Half-open for half a minute: what went out meanwhile was incomplete from the first, and stays so."""
    harness.alive(30_000)
    for second in range(0, 150):
        harness.step(second * 1_000 + GRACE_MS)
    harness.mark(feed_down(("BTCUSDT",), T0 + 30_000, harness.lines["BTCUSDT"]))
    harness.step(150_000)
    harness.mark(feed_up(("BTCUSDT",), T0 + 151_000, FakeDelivery()))
    harness.step(3 * MINUTE + 10_000)
    assert {complete for _, complete, _ in harness.seen()} == {False}


def test_a_trade_after_the_end_closes_at_once(harness):
    """It came in the order of the exchange, whatever the watermark is."""
    harness.put(MINUTE + 50)
    harness.step(MINUTE + 60)
    assert harness.seen() == [(0, True, 0)]


def test_what_was_delivered_meanwhile_is_counted_before_it_proves(harness):
    """The watermark is read before the queue is emptied: what it covers lies in there."""

    class Late(FakeDelivery):
        def watermark_ms(self, _now_ms):
            harness.put(MINUTE - 5, price=99.0)
            return T0 + MINUTE + GRACE_MS

    harness.mark(feed_up(("BTCUSDT",), T0 - MINUTE, Late()))
    harness.step(2_000)
    harness.step(MINUTE + GRACE_MS)
    ((_, kline),) = [(m, k) for m, k in harness.published if k.symbol == "BTCUSDT"]
    assert (kline.complete, kline.close) == (True, 99)


def test_either_of_two_connections_proves(harness):
    """The same symbol over both: one of them may be dead."""
    other = FakeDelivery()
    harness.mark(feed_up(("BTCUSDT",), T0, other))
    harness.step(2_000)
    other.mark_ms = T0 + MINUTE + GRACE_MS
    harness.step(MINUTE + GRACE_MS)
    assert harness.seen() == [(0, True, 0)]


def test_a_gap_begins_where_the_proof_ended():
    """Its trades are asked for from where the proof ended, not from the last frame."""
    harness = LiveHarness("5s")
    harness.alive(7_000)
    for second in range(8, 30):
        harness.step(second * 1_000 + GRACE_MS)
    harness.mark(feed_down(("BTCUSDT",), T0 + 29_000, harness.lines["BTCUSDT"]))
    harness.mark(feed_up(("BTCUSDT",), T0 + 31_000, FakeDelivery()))
    harness.step(31_100)
    harness.put(32_000)
    harness.step(32_100)
    (gap,) = [found for found in harness.gaps if found.last_id]
    assert gap.from_ms <= T0 + 7_000
