"""The aggregator, step by step with a clock of the test's own; no thread runs here."""

import itertools
import json
from collections import Counter

import pytest
import structlog

from aggregation import aggregator as module
from aggregation.aggregator import Aggregator
from aggregation.trade_queue import FeedDown, FeedUp, Overflow, Splice
from model.intervals import parse_interval
from model.records import PastTrade, TradeBatch

T0 = 1_700_000_040_000
MINUTE = 60_000


class Bench:
    """An aggregator of one or two markets whose clock, decoding and publishing are in the test's hand."""

    def __init__(self, *names, markets=("linear",), **options):
        self.now = T0
        self.published = []
        self.numbers = itertools.count()
        self.raising: Exception | None = None
        intervals = [parse_interval(name) for name in names or ("1m",)]
        self.aggregator = Aggregator(
            markets, intervals, self.decode, self.publish, now_ms=lambda: self.now, **{"grace_ms": 300, **options}
        )

    def decode(self, payloads):
        rows = [json.loads(payload) for payload in payloads]
        return TradeBatch(*([row[key] for row in rows] for key in ("s", "T", "p", "v", "seq", "i")))

    def publish(self, market, klines):
        if self.raising:
            raise self.raising
        self.published += [(market, kline) for kline in klines]

    def put(self, after_ms, price=10.0, *, symbol="BTCUSDT", market="linear", trade_id=None):
        trade_id = f"id-{next(self.numbers)}" if trade_id is None else trade_id
        row = {"s": symbol, "T": T0 + after_ms, "p": price, "v": 1.0, "seq": 0, "i": trade_id}
        self.aggregator.mailboxes[market].put(json.dumps(row).encode())

    def mark(self, mark, market="linear"):
        self.aggregator.mailboxes[market].mark(mark)

    def step(self, after_ms):
        self.now = T0 + after_ms
        self.aggregator.step()

    @property
    def starts(self):
        return [(kline.timestamp - T0) // MINUTE for _, kline in self.published]


def test_candle_closes_a_grace_after_its_end():
    """Waiter mode: late trades have KLINE_CLOSE_GRACE_MS to arrive, to the millisecond."""
    bench = Bench()
    bench.put(0)
    bench.step(MINUTE + 299)
    before = bench.starts
    bench.step(MINUTE + 300)

    assert (before, bench.starts) == ([], [0])


def test_without_grace_a_candle_closes_at_its_end():
    """AGGREGATOR_WAITER_MODE_ENABLED=false."""
    bench = Bench(grace_ms=0)
    bench.put(0)
    bench.step(MINUTE)

    assert bench.starts == [0]


def test_what_waits_is_counted_before_the_clock_closes():
    """A trade in the mailbox when its candle is due belongs into it, not into a revision."""
    bench = Bench()
    bench.put(0)
    bench.put(MINUTE - 1, 11.0)
    bench.step(2 * MINUTE)

    assert [(k.close, k.revision) for _, k in bench.published if k.timestamp == T0] == [(11, 0)]


def test_clock_is_read_before_the_mailbox():
    """Counting a backlog takes time; a candle that became due meanwhile waits for the trades that came meanwhile."""
    bench = Bench()
    decode = bench.aggregator._decode

    def slow(payloads):
        bench.now += 2 * MINUTE
        return decode(payloads)

    bench.aggregator._decode = slow
    bench.put(0)
    bench.step(0)

    assert bench.starts == []


def test_step_ends_though_the_feed_does_not():
    """Trades that come while others are counted are left to the next step: the clock's closings have their turn."""
    bench = Bench()
    decode, rounds = bench.aggregator._decode, Counter()

    def fed_while_counting(payloads):
        rounds["decoded"] += 1
        assert rounds["decoded"] < 10, "the step never ends"
        bench.put(0)
        return decode(payloads)

    bench.aggregator._decode = fed_while_counting
    bench.put(0)
    bench.step(0)

    assert (rounds["decoded"], len(bench.aggregator.mailboxes["linear"])) == (1, 1)


def test_batches_are_bounded(monkeypatch):
    """A backlog is counted in batches of BATCH_PAYLOADS, all of it in one step."""
    monkeypatch.setattr(module, "BATCH_PAYLOADS", 3)
    bench = Bench()
    decode, sizes = bench.aggregator._decode, []
    bench.aggregator._decode = lambda payloads: sizes.append(len(payloads)) or decode(payloads)
    for i in range(7):
        bench.put(i)
    bench.step(0)

    assert sizes == [3, 3, 1]


def test_double_is_counted_once():
    """The same trade id, in one batch or after a reconnect."""
    bench = Bench()
    bench.put(0, trade_id="a")
    bench.put(1, trade_id="a")
    bench.step(10)
    bench.put(0, trade_id="a")
    bench.put(2, trade_id="b")
    bench.step(MINUTE + 300)

    assert [(k.trade_count, k.volume) for _, k in bench.published] == [(2, 2)]
    assert bench.aggregator.stats()["duplicates"] == 2


def test_double_of_a_closed_candle_is_no_late_trade():
    """A reconnect replays what is long counted: no revision."""
    bench = Bench()
    bench.put(0, trade_id="a")
    bench.step(MINUTE + 300)
    bench.put(0, trade_id="a")
    bench.step(MINUTE + 400)

    assert len(bench.published) == 1


def test_mark_between_payloads_stands_at_its_place():
    """Down and up between two trades of one batch: the candle over it is not whole, the next is."""
    bench = Bench()
    bench.mark(FeedUp(("BTCUSDT",), T0 - MINUTE))
    bench.put(-MINUTE)
    bench.put(1)
    bench.mark(FeedDown(("BTCUSDT",), T0 + 2))
    bench.mark(FeedUp(("BTCUSDT",), T0 + 3_000))
    bench.put(3_001)
    bench.put(MINUTE + 5)
    bench.step(2 * MINUTE + 300)

    assert [k.complete for _, k in bench.published] == [False, False, True]


def test_trades_under_way_at_the_end_of_the_feed_are_in_doubt():
    """The last sign of life came just after the boundary: the minute before it may lack its last trade."""
    bench = Bench()
    bench.mark(FeedUp(("BTCUSDT",), T0 - MINUTE))
    bench.put(-MINUTE)
    bench.step(MINUTE + 300)
    bench.mark(FeedDown(("BTCUSDT",), T0 + MINUTE + 50))
    bench.step(MINUTE + 20_000)

    assert [(k.complete, k.revision) for _, k in bench.published if k.timestamp == T0] == [(True, 0), (False, 1)]


def test_overflow_spoils_the_candle_it_falls_into():
    """Dropped payloads are nobody's in particular: every symbol's candle of the moment is doubted."""
    bench = Bench()
    bench.mark(FeedUp(("A", "B"), T0 - MINUTE))
    for symbol in "AB":
        bench.put(-MINUTE, symbol=symbol)
    bench.step(1_000)
    bench.mark(Overflow(T0 + 1_001, T0 + 1_002))
    bench.step(MINUTE + 300)

    assert {(k.symbol, k.complete) for _, k in bench.published if k.timestamp == T0} == {("A", False), ("B", False)}


def test_event_clock_never_closes_by_the_wall():
    """A replay of last year is not late, and not over because the wall says so."""
    bench = Bench(event_clock=True)
    bench.put(0)
    bench.step(365 * 24 * 60 * MINUTE)
    silent = bench.starts
    bench.put(MINUTE)
    bench.step(365 * 24 * 60 * MINUTE)

    assert (silent, bench.starts) == ([], [0])


def test_event_clock_takes_trades_of_the_future():
    """A replay may be ahead of the wall as well."""
    bench = Bench(event_clock=True)
    bench.put(10**9)
    bench.put(10**9 + MINUTE)
    bench.step(0)

    assert len(bench.published) == 1


def test_clock_set_back_closes_nothing_twice():
    """An hour back and on again: each candle once."""
    bench = Bench()
    bench.put(0)
    for after_ms in (2 * MINUTE, -58 * MINUTE, MINUTE, 4 * MINUTE):
        bench.step(after_ms + 300)

    assert bench.starts == [0, 1, 2, 3]


def test_markets_do_not_mix():
    """BTCUSDT of spot and of linear are two symbols."""
    bench = Bench(markets=("linear", "spot"))
    bench.put(0, 10.0, trade_id="1")
    bench.put(0, 11.0, market="spot", trade_id="1")
    bench.step(MINUTE + 300)

    assert [(market, k.close, k.trade_count) for market, k in bench.published] == [("linear", 10, 1), ("spot", 11, 1)]


def test_failure_costs_what_was_in_hand_and_says_so():
    """Decoding raises once: those trades are lost, their candle is not complete, the mark behind them still counts."""
    bench = Bench()
    bench.mark(FeedUp(("BTCUSDT",), T0 - MINUTE))
    bench.put(-MINUTE)
    bench.step(0)
    bench.aggregator.mailboxes["linear"].put(b"no json")
    bench.mark(FeedDown(("BTCUSDT",), T0 + MINUTE))
    with structlog.testing.capture_logs() as logs:
        bench.step(1)
    bench.step(5 * MINUTE)

    assert [entry["event"] for entry in logs] == ["aggregation_failed"]
    assert bench.aggregator.stats()["failures"] == 1
    assert [k.complete for _, k in bench.published if k.timestamp >= T0] == [False] * 4


@pytest.mark.parametrize("event_clock", [False, True])
def test_failing_publisher_costs_its_klines_alone(event_clock):
    """What could not be published is lost and counted; trades and marks behind it are not."""
    bench = Bench(event_clock=event_clock)
    bench.put(0)
    bench.put(MINUTE)
    bench.raising = OSError("full")
    with structlog.testing.capture_logs():
        bench.step(MINUTE + 300)
    bench.raising = None
    bench.put(2 * MINUTE)
    bench.step(2 * MINUTE + 300)

    assert bench.starts == [1]
    assert bench.aggregator.stats()["failures"] == 1


def test_failure_in_one_market_leaves_the_other():
    """Garbage in linear does not delay spot."""
    bench = Bench(markets=("linear", "spot"))
    bench.aggregator.mailboxes["linear"].put(b"no json")
    bench.put(0, market="spot")
    with structlog.testing.capture_logs():
        bench.step(MINUTE + 300)

    assert [market for market, _ in bench.published] == ["spot"]


def test_stats_name_every_count():
    """What a status line shows: nothing lost that is not in here."""
    bench = Bench()
    bench.put(0)
    bench.step(1)
    bench.put(1)

    assert bench.aggregator.stats() == {
        "duplicates": 0,
        "forgotten": 0,
        "failures": 0,
        "trades": 1,
        "late_amended": 0,
        "late_dropped": 0,
        "refused": 0,
        "klines": 0,
        "revisions": 0,
        "gaps": 0,
        "skipped_windows": 0,
        "dropped": 0,
        "waiting": 1,
        "spliced": 0,
        "unspliced": 0,
    }


def test_sleep_ends_when_a_candle_is_due():
    """Or silent connections are to be asked for a proof, half way before that; and never longer than IDLE_S."""
    bench = Bench("1s")
    for now_ms, left_s in ((199, 0.001), (200, 0.1), (299, 0.001), (300, 0.9)):
        bench.now = T0 + now_ms
        assert bench.aggregator._until_due_s() == pytest.approx(left_s)
    assert Bench("1m").aggregator._until_due_s() <= module.IDLE_S


def test_what_a_stop_has_no_time_to_count_is_dropped_and_no_candle_over_it_is_complete():
    """A flood that waits at the deadline: counted as dropped, and the candles of before it stand."""
    bench = Bench()
    bench.mark(FeedUp(("BTCUSDT",), T0 - 2 * MINUTE))
    bench.put(-MINUTE)
    bench.put(1)
    bench.step(MINUTE + 300)
    bench.put(MINUTE + 2_000)
    bench.aggregator.stop(0.0)
    bench.step(2 * MINUTE + 300)

    found = [(k.complete, k.trade_count) for _, k in bench.published]
    assert (bench.starts, found) == ([-1, 0, 1], [(False, 1), (True, 1), (False, 0)])
    assert bench.aggregator.stats()["dropped"] == 1


def test_never_started_is_stopped_at_once():
    """A collector that could not start still stops."""
    bench = Bench()

    assert bench.aggregator.stop(0.0)
    assert not bench.aggregator.is_alive()


@pytest.mark.parametrize(("up_ms", "events"), [(30_000, [(T0, T0 + 30_000)]), (59_000, [])])
def test_a_splice_at_the_start_is_told_where_the_first_candle_lacked_something(up_ms, events):
    """From the first trade's window to the connection; where that came before the window, nothing was missing."""
    told, outages = [], []
    bench = Bench(
        on_outage=lambda _market, outage: outages.append(outage),
        tell=lambda event, **fields: told.append((event, fields)),
    )
    bench.mark(FeedUp(("BTCUSDT",), T0 + up_ms))
    first_ms = up_ms + 2_000
    bench.put(first_ms, trade_id="first")
    bench.step(first_ms)
    times = (-500, 10_000, first_ms)
    past = [PastTrade(name, T0 + ms, 10.0, 1.0, 0) for name, ms in zip(("old", "missed", "first"), times, strict=True)]
    bench.mark(Splice(outages.pop(), past))
    bench.step(first_ms + 1_000)

    assert bench.aggregator.spliced == 1
    assert [(fields["from"], fields["until"]) for event, fields in told if event == "repaired"] == events
