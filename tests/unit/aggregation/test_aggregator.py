"""The aggregator, step by step with a clock of the test's own; no thread runs here."""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
import structlog

from aggregation.aggregator import IDLE_S, OPEN_SOONEST_S, Aggregator
from aggregation.trade_queue import FeedGap, InsertTrades, Overflow
from model.intervals import parse_interval
from model.records import PastTrade, TradeBatch
from tests.support.events import RecordedEvents
from tests.support.markers import feed_down, feed_up

T0 = 1_700_000_040_000
MINUTE = 60_000


class Harness:
    """An aggregator of one or two markets whose clock, decoding and publishing are in the test's hand."""

    def __init__(self, *names, markets=("linear",), **options):
        self.now = T0
        self.published = []
        self.numbers = itertools.count()
        self.raising: Exception | None = None
        self.gaps: list[FeedGap] = []
        self.decode: Callable[[Sequence[bytes]], TradeBatch] = self.batch_of
        options = {
            "now_ms": lambda: self.now,
            "grace_ms": 300,
            "on_gap": lambda _market, gap: self.gaps.append(gap),
            **options,
        }
        intervals = [parse_interval(name) for name in names or ("1m",)]
        self.aggregator = Aggregator(
            markets, intervals, lambda _market, payloads: self.decode(payloads), self.publish, **options
        )

    def batch_of(self, payloads):
        rows = [json.loads(payload) for payload in payloads]
        return TradeBatch(*([row[key] for row in rows] for key in ("s", "T", "p", "v", "seq", "i")))

    def publish(self, market, klines):
        if self.raising:
            raise self.raising
        self.published += [(market, kline) for kline in klines]

    def put(self, after_ms, price=10.0, *, symbol="BTCUSDT", market="linear", trade_id=None):
        trade_id = f"id-{next(self.numbers)}" if trade_id is None else trade_id
        row = {"s": symbol, "T": T0 + after_ms, "p": price, "v": 1.0, "seq": 0, "i": trade_id}
        self.aggregator.queues[market].put(json.dumps(row).encode())

    def mark(self, mark, market="linear"):
        self.aggregator.queues[market].put_control(mark)

    def step(self, after_ms):
        self.now = T0 + after_ms
        self.aggregator.step()

    @property
    def starts(self):
        return [(kline.timestamp - T0) // MINUTE for _, kline in self.published]


def test_candle_closes_a_grace_after_its_end():
    """Waiter mode: late trades have KLINE_CLOSE_GRACE_MS to arrive, to the millisecond."""
    harness = Harness()
    harness.put(0)
    harness.step(MINUTE + 299)
    before = harness.starts
    harness.step(MINUTE + 300)

    assert (before, harness.starts) == ([], [0])


def test_without_grace_a_candle_closes_at_its_end():
    """AGGREGATOR_WAITER_MODE_ENABLED=false."""
    harness = Harness(grace_ms=0)
    harness.put(0)
    harness.step(MINUTE)

    assert harness.starts == [0]


def test_what_waits_is_counted_before_the_clock_closes():
    """A trade in the queue when its candle is due belongs into it, not into a revision."""
    harness = Harness()
    harness.put(0)
    harness.put(MINUTE - 1, 11.0)
    harness.step(2 * MINUTE)

    assert [(k.close, k.revision) for _, k in harness.published if k.timestamp == T0] == [(11, 0)]


def test_clock_is_read_before_the_queue():
    """Counting a backlog takes time; a candle that became due meanwhile waits for the trades that came meanwhile."""
    harness = Harness()
    decode = harness.decode

    def slow(payloads):
        harness.now += 2 * MINUTE
        return decode(payloads)

    harness.decode = slow
    harness.put(0)
    harness.step(0)

    assert harness.starts == []


def test_step_ends_though_the_feed_does_not():
    """Trades that come while others are counted are left to the next step: the clock's closings have their turn."""
    harness = Harness()
    decode, rounds = harness.decode, Counter[str]()

    def fed_while_counting(payloads):
        rounds["decoded"] += 1
        assert rounds["decoded"] < 10, "the step never ends"
        harness.put(0)
        return decode(payloads)

    harness.decode = fed_while_counting
    harness.put(0)
    harness.step(0)

    assert (rounds["decoded"], len(harness.aggregator.queues["linear"])) == (1, 1)


def test_batches_are_bounded():
    """A backlog is counted in batches of so many payloads, all of it in one step."""
    harness = Harness(batch_payloads=3)
    decode, sizes = harness.decode, []
    harness.decode = lambda payloads: sizes.append(len(payloads)) or decode(payloads)
    for i in range(7):
        harness.put(i)
    harness.step(0)

    assert sizes == [3, 3, 1]


def test_duplicate_is_counted_once():
    """The same trade id, in one batch or after a reconnect."""
    harness = Harness()
    harness.put(0, trade_id="a")
    harness.put(1, trade_id="a")
    harness.step(10)
    harness.put(0, trade_id="a")
    harness.put(2, trade_id="b")
    harness.step(MINUTE + 300)

    assert [(k.trade_count, k.volume) for _, k in harness.published] == [(2, 2)]
    assert harness.aggregator.stats()["duplicates"] == 2


def test_duplicate_of_a_closed_candle_is_no_late_trade():
    """A reconnect replays what is long counted: no revision."""
    harness = Harness()
    harness.put(0, trade_id="a")
    harness.step(MINUTE + 300)
    harness.put(0, trade_id="a")
    harness.step(MINUTE + 400)

    assert len(harness.published) == 1


def test_mark_between_payloads_stands_at_its_place():
    """Down and up between two trades of one batch: the candle over it is not whole, the next is."""
    harness = Harness()
    harness.mark(feed_up(("BTCUSDT",), T0 - MINUTE))
    harness.put(-MINUTE)
    harness.put(1)
    harness.mark(feed_down(("BTCUSDT",), T0 + 2))
    harness.mark(feed_up(("BTCUSDT",), T0 + 3_000))
    harness.put(3_001)
    harness.put(MINUTE + 5)
    harness.step(2 * MINUTE + 300)

    assert [k.complete for _, k in harness.published] == [False, False, True]


def test_trades_under_way_at_the_end_of_the_feed_are_unverified():
    """The last sign of life came just after the boundary: the minute before it may lack its last trade."""
    harness = Harness()
    harness.mark(feed_up(("BTCUSDT",), T0 - MINUTE))
    harness.put(-MINUTE)
    harness.step(MINUTE + 300)
    harness.mark(feed_down(("BTCUSDT",), T0 + MINUTE + 50))
    harness.step(MINUTE + 20_000)

    assert [(k.complete, k.revision) for _, k in harness.published if k.timestamp == T0] == [(True, 0), (False, 1)]


def test_overflow_spoils_the_candle_it_falls_into():
    """Dropped payloads may be any symbol's: every symbol's kline of the moment is incomplete."""
    harness = Harness()
    harness.mark(feed_up(("A", "B"), T0 - MINUTE))
    for symbol in "AB":
        harness.put(-MINUTE, symbol=symbol)
    harness.step(1_000)
    harness.mark(Overflow(T0 + 1_001, T0 + 1_002))
    harness.step(MINUTE + 300)

    assert {(k.symbol, k.complete) for _, k in harness.published if k.timestamp == T0} == {("A", False), ("B", False)}


def test_event_clock_never_closes_by_the_wall():
    """A replay of last year is not late, and not over by the wall clock."""
    harness = Harness(event_clock=True)
    harness.put(0)
    harness.step(365 * 24 * 60 * MINUTE)
    silent = harness.starts
    harness.put(MINUTE)
    harness.step(365 * 24 * 60 * MINUTE)

    assert (silent, harness.starts) == ([], [0])


def test_event_clock_takes_trades_of_the_future():
    """A replay may be ahead of the wall as well."""
    harness = Harness(event_clock=True)
    harness.put(10**9)
    harness.put(10**9 + MINUTE)
    harness.step(0)

    assert len(harness.published) == 1


def test_clock_set_back_closes_nothing_twice():
    """An hour back and on again: each candle once."""
    harness = Harness()
    harness.put(0)
    for after_ms in (2 * MINUTE, -58 * MINUTE, MINUTE, 4 * MINUTE):
        harness.step(after_ms + 300)

    assert harness.starts == [0, 1, 2, 3]


def test_markets_do_not_mix():
    """BTCUSDT of spot and of linear are two symbols."""
    harness = Harness(markets=("linear", "spot"))
    harness.put(0, 10.0, trade_id="1")
    harness.put(0, 11.0, market="spot", trade_id="1")
    harness.step(MINUTE + 300)

    assert [(market, k.close, k.trade_count) for market, k in harness.published] == [("linear", 10, 1), ("spot", 11, 1)]


def test_failure_costs_what_was_in_hand_and_is_logged():
    """Decoding raises once: those trades are lost, their kline is not complete, the marker behind them still counts."""
    harness = Harness()
    harness.mark(feed_up(("BTCUSDT",), T0 - MINUTE))
    harness.put(-MINUTE)
    harness.step(0)
    harness.aggregator.queues["linear"].put(b"no json")
    harness.mark(feed_down(("BTCUSDT",), T0 + MINUTE))
    with structlog.testing.capture_logs() as logs:
        harness.step(1)
    harness.step(5 * MINUTE)

    assert [entry["event"] for entry in logs] == ["aggregation_failed"]
    assert harness.aggregator.stats()["failures"] == 1
    assert [k.complete for _, k in harness.published if k.timestamp >= T0] == [False] * 4


@pytest.mark.parametrize("event_clock", [False, True])
def test_failing_publisher_costs_its_klines_alone(event_clock):
    """What could not be published is lost and counted; trades and marks behind it are not."""
    harness = Harness(event_clock=event_clock)
    harness.put(0)
    harness.put(MINUTE)
    harness.raising = OSError("full")
    with structlog.testing.capture_logs():
        harness.step(MINUTE + 300)
    harness.raising = None
    harness.put(2 * MINUTE)
    harness.step(2 * MINUTE + 300)

    assert harness.starts == [1]
    assert harness.aggregator.stats()["failures"] == 1


def test_failure_in_one_market_leaves_the_other():
    """Garbage in linear does not delay spot."""
    harness = Harness(markets=("linear", "spot"))
    harness.aggregator.queues["linear"].put(b"no json")
    harness.put(0, market="spot")
    with structlog.testing.capture_logs():
        harness.step(MINUTE + 300)

    assert [market for market, _ in harness.published] == ["spot"]


def test_stats_name_every_count():
    """What a status line shows: nothing lost that is not in here."""
    harness = Harness()
    harness.put(0)
    harness.step(1)
    harness.put(1)

    assert harness.aggregator.stats() == {
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
    """Or silent connections are to be probed, half way before that; and never longer than IDLE_S."""
    harness = Harness("1s")
    for now_ms, left_s in ((199, 0.001), (200, 0.1), (299, 0.001), (300, 0.9)):
        harness.step(now_ms)
        assert harness.aggregator.until_due_s() == pytest.approx(left_s)
    harness = Harness("1m")
    harness.step(0)
    assert harness.aggregator.until_due_s() <= IDLE_S


def test_a_candle_that_became_due_during_a_step_is_not_slept_over():
    """Neither that step has closed it, nor does the next one wait for the next end; nor where the clock went back."""
    harness = Harness("1s")
    harness.step(299)
    for now_ms, left_s in ((300, 0), (301, 0), (2_000, 0), (-5_000, 0.2)):
        harness.now = T0 + now_ms
        assert harness.aggregator.until_due_s() == pytest.approx(left_s)


def test_trades_gather_until_there_are_enough_of_them_but_not_past_an_end():
    """Rare ones for half a second, many for less; few wait at an end, and just after it each may prove it over."""
    harness = Harness("1m")
    harness.now = T0 + 30_000
    rates = (2_000, 0.04), (1_000, 0.04), (300, 0.04), (0, 0.04), (0, 0.5), (4_000, 0.5), (80_000, 0.25), (2_000, 0.02)
    pauses = [round(harness.aggregator.next_pause_s(*each), 3) for each in rates]
    assert pauses == [0.04, 0.08, 0.16, 0.32, 0.5, 0.25, 0.02, 0.02]
    ends = (59_700, 0.26), (59_930, 0.04), (59_990, 0.01), (60_000, 0.04), (60_301, 0.04), (62_000, 0.04), (62_001, 0.5)
    for after_ms, at_most_s in ends:
        harness.now = T0 + after_ms
        assert [harness.aggregator.next_pause_s(0, 1.0) for _ in range(6)][-1] == pytest.approx(at_most_s)


def test_pauses_after_an_end_begin_small_again():
    """However long it was quiet before."""
    harness = Harness("1m")
    pauses = []
    for after_ms in (30_000,) * 5 + (60_100, 62_001, 62_100, 62_300, 62_600):
        harness.now = T0 + after_ms
        pauses.append(round(harness.aggregator.next_pause_s(0, 1.0), 3))
    assert pauses[4:] == [0.5, 0.04, 0.08, 0.16, 0.32, 0.5]


def test_who_waits_for_open_klines_gets_them_as_soon_as_they_may_be_made():
    """A moment after others were made, in a market where nobody trades."""
    harness, asked = Harness("1m"), [True]
    harness.step(30_000)
    harness.aggregator.share_open_klines(lambda _: {"BTCUSDT"}, lambda *_: None, 60.0, lambda: bool(asked))
    harness.aggregator.offer_open_klines(10.0)
    assert [harness.aggregator.idle_s(now_s) for now_s in (10.0, 10.5)] == [pytest.approx(OPEN_SOONEST_S), 0.0]
    asked.clear()
    assert harness.aggregator.idle_s(10.5) == IDLE_S


def test_trades_gather_for_less_while_open_klines_are_wanted():
    """Who looks at them sees them move; from the next offer on that nobody wants, they gather for long again."""
    harness, wanted = Harness("1m"), {"BTCUSDT"}
    harness.now = T0 + 30_000
    harness.aggregator.share_open_klines(lambda _market: wanted, lambda _market, _klines: None, 1.0)
    for offer_s, most_s in ((10.0, 0.1), (10.5, 0.1), (11.0, 0.5)):
        harness.aggregator.offer_open_klines(offer_s)
        assert [harness.aggregator.next_pause_s(0, 1.0) for _ in range(6)][-1] == most_s
        wanted.clear()


def test_what_a_stop_has_no_time_to_count_is_dropped_and_no_candle_over_it_is_complete():
    """A flood that waits at the deadline: counted as dropped, and the candles of before it stand."""
    harness = Harness()
    harness.mark(feed_up(("BTCUSDT",), T0 - 2 * MINUTE))
    harness.put(-MINUTE)
    harness.put(1)
    harness.step(MINUTE + 300)
    harness.put(MINUTE + 2_000)
    harness.aggregator.stop(0.0)
    harness.step(2 * MINUTE + 300)

    found = [(k.complete, k.trade_count) for _, k in harness.published]
    assert (harness.starts, found) == ([-1, 0, 1], [(False, 1), (True, 1), (False, 0)])
    assert harness.aggregator.stats()["dropped"] == 1


def test_never_started_is_stopped_at_once():
    """A collector that could not start still stops."""
    harness = Harness()

    assert harness.aggregator.stop(0.0)
    assert not any(thread.is_alive() for thread in harness.aggregator.threads())


@pytest.mark.parametrize(("up_ms", "expected"), [(30_000, [(T0, T0 + 30_000)]), (59_000, [])])
def test_trades_inserted_at_the_start_are_an_event_where_the_first_candle_lacked_some(up_ms, expected):
    """From the first trade's window to the connection; where that came before the window, nothing was missing."""
    events = RecordedEvents()
    harness = Harness(events=events)
    harness.mark(feed_up(("BTCUSDT",), T0 + up_ms))
    first_ms = up_ms + 2_000
    harness.put(first_ms, trade_id="first")
    harness.step(first_ms)
    times = (-500, 10_000, first_ms)
    past = [PastTrade(name, T0 + ms, 10.0, 1.0, 0) for name, ms in zip(("old", "missed", "first"), times, strict=True)]
    harness.mark(InsertTrades(harness.gaps.pop(), past))
    harness.step(first_ms + 1_000)

    assert harness.aggregator.spliced == 1
    assert [(fields["from"], fields["until"]) for fields in events.of("repaired")] == expected


def test_a_start_is_healed_from_the_window_of_its_first_trade_though_that_was_matched_before_the_subscription():
    """The answer to the subscription was read after it, and the next trade is of the next window."""
    harness = Harness()
    harness.mark(feed_up(("BTCUSDT",), T0 + MINUTE - 100))
    harness.put(MINUTE - 150, trade_id="early")
    harness.step(MINUTE - 90)
    harness.put(MINUTE + 50, trade_id="first")
    harness.step(MINUTE + 300)
    times = {"old": -500, "missed": 10_000, "early": MINUTE - 150, "first": MINUTE + 50}
    past = [PastTrade(name, T0 + ms, 10.0, 1.0, 0) for name, ms in times.items()]
    harness.mark(InsertTrades(harness.gaps.pop(), past))
    harness.step(2 * MINUTE + 300)

    found = [(kline.trade_count, kline.complete, kline.revision) for _, kline in harness.published]
    assert found == [(1, False, 0), (2, True, 1), (1, True, 0)]


def test_the_end_of_the_last_closed_window_is_known_by_interval():
    """None before one has closed, nor of what is not there; symbols without trades close theirs too."""
    harness = Harness("1m", "5m", "1M")
    last = harness.aggregator.last_close_ms
    harness.mark(feed_up(("BTCUSDT",), T0))
    harness.put(1_000)
    harness.step(59_000)
    assert last("linear", "BTCUSDT", MINUTE) is None
    harness.step(3 * MINUTE + 2_000)
    assert last("linear", "BTCUSDT", MINUTE) == T0 + 3 * MINUTE
    first_end_ms = parse_interval("5m").window_end(parse_interval("5m").window_start(T0))
    harness.step(first_end_ms - T0 + 2_000)
    assert last("linear", "BTCUSDT", 5 * MINUTE) == first_end_ms
    assert last("linear", "BTCUSDT", 0) is None
    assert last("linear", "BTCUSDT", 1) is last("linear", "NOPE", MINUTE) is last("spot", "BTCUSDT", MINUTE) is None


def test_a_step_that_takes_long_shows_while_it_runs_and_after():
    """What came before it is counted after it."""
    aggregator = Harness().aggregator
    assert aggregator.behind_s(100.0) == 0.0
    aggregator._step_begun_s = 90.0
    assert aggregator.behind_s(100.0) == 10.0
    aggregator._step_begun_s, aggregator._step_took_s = None, 11.0
    assert aggregator.behind_s(200.0) == 11.0
