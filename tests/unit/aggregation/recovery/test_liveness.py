"""What a connection's watermark proves: windows wait for it, go out incomplete without it, and again when it comes."""

import pytest

from aggregation.aggregator import IN_EXCHANGE_MS
from aggregation.klines.table import HOLD_MS
from aggregation.trade_queue import FeedDown, FeedUp
from tests.unit.aggregation.test_aggregator import MINUTE, T0, Bench

GRACE_MS = 300


class Line:
    """A connection whose watermark is the test's; it answers no ping by itself."""

    def __init__(self):
        self.mark_ms = 0
        self.probed: list[int] = []
        self.recovered: list[str] = []

    def watermark_ms(self, _now_ms):
        return self.mark_ms

    def probe(self, now_ms):
        self.probed.append(now_ms)

    def recover(self, symbol):
        self.recovered.append(symbol)


class LiveBench(Bench):
    """Two symbols on two connections, up since a minute, each with a trade; candles of a minute."""

    def __init__(self, *names):
        super().__init__(*names)
        self.lines = {"BTCUSDT": Line(), "ETHUSDT": Line()}
        for symbol, line in self.lines.items():
            self.mark(FeedUp((symbol,), T0 - 2 * MINUTE, line))
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
def bench():
    return LiveBench()


def test_a_busy_connection_proves_itself(bench):
    """Its last message is of after the end: nothing waits, nobody is asked."""
    bench.alive(MINUTE + IN_EXCHANGE_MS)
    bench.step(MINUTE + GRACE_MS)
    assert (bench.seen(), bench.seen("ETHUSDT")) == ([(0, True, 0)], [(0, True, 0)])
    assert bench.lines["BTCUSDT"].probed == []


def test_a_silent_connection_is_asked_and_waited_for(bench):
    """The neighbour on another connection goes out at once; this one when the ping is answered, complete."""
    bench.alive(MINUTE + GRACE_MS, "ETHUSDT")
    bench.step(MINUTE + GRACE_MS)
    assert (bench.seen(), bench.seen("ETHUSDT")) == ([], [(0, True, 0)])
    (asked_ms,) = bench.lines["BTCUSDT"].probed
    assert asked_ms == T0 + MINUTE + GRACE_MS
    bench.lines["BTCUSDT"].mark_ms = asked_ms
    bench.step(MINUTE + GRACE_MS + 40)
    assert bench.seen() == [(0, True, 0)]


def test_a_silent_connection_is_asked_before_its_window_is_due(bench):
    """The answer is there when it is: nobody waits, and the window is asked about once."""
    bench.alive(MINUTE + IN_EXCHANGE_MS, "ETHUSDT")
    for after_ms in (190, 210, 250):
        bench.step(MINUTE + after_ms)
    (asked_ms,) = bench.lines["BTCUSDT"].probed
    bench.lines["BTCUSDT"].mark_ms = asked_ms
    bench.step(MINUTE + GRACE_MS)
    assert (bench.seen(), bench.lines["ETHUSDT"].probed) == ([(0, True, 0)], [])
    assert (asked_ms, bench.lines["BTCUSDT"].probed) == (T0 + MINUTE + 210, [asked_ms])


def test_a_message_of_just_after_the_end_is_no_proof(bench):
    """A trade may be a tenth of a second in the exchange before its message is made."""
    bench.alive(MINUTE + IN_EXCHANGE_MS - 1)
    bench.step(MINUTE + GRACE_MS)
    assert bench.seen() == []


def test_without_proof_it_goes_out_incomplete_and_again_with_it(bench):
    """A long way to the exchange: nothing is withheld for long, nothing says what it does not know."""
    bench.step(MINUTE + GRACE_MS)
    bench.step(MINUTE + GRACE_MS + HOLD_MS)
    bench.step(2 * MINUTE + GRACE_MS + HOLD_MS)
    assert bench.seen() == [(0, False, 0), (1, False, 0)]
    bench.alive(MINUTE + 5_000)
    bench.step(2 * MINUTE + GRACE_MS + HOLD_MS + 50)
    assert bench.seen()[2:] == [(0, True, 1)]
    bench.alive(2 * MINUTE + 1_500)
    bench.step(2 * MINUTE + GRACE_MS + HOLD_MS + 100)
    assert bench.seen()[3:] == [(1, True, 1)]
    bench.alive(3 * MINUTE + GRACE_MS)
    bench.step(3 * MINUTE + GRACE_MS)
    assert bench.seen()[4:] == [(2, True, 0)]


def test_a_dead_connection_never_said_complete(bench):
    """Half-open for half a minute: what went out meanwhile was incomplete from the first, and stays so."""
    bench.alive(30_000)
    for second in range(0, 150):
        bench.step(second * 1_000 + GRACE_MS)
    bench.mark(FeedDown(("BTCUSDT",), T0 + 30_000, bench.lines["BTCUSDT"]))
    bench.step(150_000)
    bench.mark(FeedUp(("BTCUSDT",), T0 + 151_000, Line()))
    bench.step(3 * MINUTE + 10_000)
    assert {complete for _, complete, _ in bench.seen()} == {False}


def test_a_trade_after_the_end_closes_at_once(bench):
    """It came in the order of the exchange: whatever the watermark says."""
    bench.put(MINUTE + 50)
    bench.step(MINUTE + 60)
    assert bench.seen() == [(0, True, 0)]


def test_what_was_delivered_meanwhile_is_counted_before_it_proves(bench):
    """The watermark is read before the mailbox is emptied: what it speaks of lies in there."""

    class Late(Line):
        def watermark_ms(self, _now_ms):
            bench.put(MINUTE - 5, price=99.0)
            return T0 + MINUTE + GRACE_MS

    bench.mark(FeedUp(("BTCUSDT",), T0 - MINUTE, Late()))
    bench.step(2_000)
    bench.step(MINUTE + GRACE_MS)
    ((_, kline),) = [(m, k) for m, k in bench.published if k.symbol == "BTCUSDT"]
    assert (kline.complete, kline.close) == (True, 99)


def test_either_of_two_connections_proves(bench):
    """The same symbol over both: one of them may be dead."""
    other = Line()
    bench.mark(FeedUp(("BTCUSDT",), T0, other))
    bench.step(2_000)
    other.mark_ms = T0 + MINUTE + GRACE_MS
    bench.step(MINUTE + GRACE_MS)
    assert bench.seen() == [(0, True, 0)]


def test_an_outage_heals_what_was_unproven_before_it():
    """Its trades are asked for from where the proof ended, not from the last frame."""
    bench = LiveBench("5s")
    outages = []
    bench.aggregator.tables["linear"]._outages._tell = outages.append
    bench.alive(7_000)
    for second in range(8, 30):
        bench.step(second * 1_000 + GRACE_MS)
    bench.mark(FeedDown(("BTCUSDT",), T0 + 29_000, bench.lines["BTCUSDT"]))
    bench.mark(FeedUp(("BTCUSDT",), T0 + 31_000, Line()))
    bench.step(31_100)
    bench.put(32_000)
    bench.step(32_100)
    (outage,) = [found for found in outages if found.last_id]
    assert outage.from_ms <= T0 + 7_000
