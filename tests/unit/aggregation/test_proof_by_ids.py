"""Candles of an exchange with consecutive ids, against a model that knows which ids were delivered or repaired.

The aggregator and the repair run step by step, with a clock of the test's own.
"""

import itertools
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation.aggregator import Aggregator
from aggregation.recovery.repair import Repairer
from aggregation.trade_queue import Overflow
from model.intervals import parse_interval
from model.records import Kline, PastTrade, TradeBatch
from tests.support.events import RecordedEvents
from tests.support.history import FakeHistory
from tests.support.markers import feed_down, feed_up
from tests.unit.aggregation.reference import Trade, true_candle

T0 = 1_700_000_040_000
SYMBOL = "BTC-USDT"
STEP_MS = 5_000
FAR = 2**62


@dataclass
class Match:
    """One trade of the exchange: `matches` ids that end in `last`; where it does not count the stream has its ids."""

    last: int
    ms: int
    price: int
    matches: int = 1
    is_counted: bool = True

    @property
    def ids(self):
        return range(self.last - self.matches + 1, self.last + 1)


@dataclass
class World:
    """An exchange, its line, its REST API and the collector."""

    history: list[Match] = field(default_factory=list)
    lacks: set[int] = field(default_factory=set)  # ids that REST does not have
    recent: int = 0  # so many trades are among the newest of REST
    is_away: bool = False  # REST does not answer
    now: int = T0
    published: dict[int, list[Kline]] = field(default_factory=dict)
    asked: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self):
        self.events, self.batches = RecordedEvents(), {}
        self.reported: list[str] = []
        self.numbers = itertools.count()
        history = FakeHistory(trades_by_id=self.by_id, recent_trades=self.newest, now_ms=lambda: self.now)
        self.repairer = Repairer(history, lambda market, message: self.mark(message))
        self.aggregator = Aggregator(
            ["linear"],
            [parse_interval("5s")],
            lambda _market, payloads: self.decode(payloads),
            self.publish,
            now_ms=lambda: self.now,
            on_gap=self.repairer.request_trades,
            report=lambda cause, _: self.reported.append(cause),
            events=self.events,
            consecutive_ids=True,
        )
        self.mark(feed_up((SYMBOL,), T0))

    def by_id(self, _market, _symbol, first, last):
        self.asked.append((first, last))
        if self.is_away:
            return None
        found = [t for t in self.history if t.last >= first and t.ids[0] <= last and not self.lacks & {*t.ids}]
        return [self.past(each) for each in found]

    def newest(self, _market, _symbol):
        return [self.past(each) for each in self.history[len(self.history) - self.recent :]]

    def past(self, t):
        return PastTrade(t.last, t.ms, t.price, 1.0, t.last, t.matches, t.is_counted)

    def mark(self, message):
        self.aggregator.queues["linear"].put_control(message)

    def decode(self, payloads):
        trades = [each for payload in payloads for each in self.batches[payload]]
        counted = [each for each in trades if each.is_counted]
        columns = zip(*((SYMBOL, t.ms, float(t.price), 1.0, t.last, t.last) for t in counted), strict=True)
        symbols, ms, prices, sizes, seqs, ids = map(list, columns) if counted else ([], [], [], [], [], [])
        matches = [each.matches for each in counted]
        uncounted = [(SYMBOL, one) for each in trades if not each.is_counted for one in each.ids]
        return TradeBatch(symbols, ms, prices, sizes, seqs, ids, matches=matches, uncounted=uncounted)

    def publish(self, _market, klines):
        for kline in klines:
            self.published.setdefault(kline.timestamp, []).append(kline)

    def trade(self, after_ms, *, matches=1, is_counted=True, skip=0):
        """Have the exchange trade; returns what it would send."""
        last = (self.history[-1].last if self.history else 99) + matches + skip
        self.history.append(Match(last, T0 + after_ms, 100 + last % 7, matches, is_counted))
        return self.history[-1]

    def put(self, *trades):
        payload = str(next(self.numbers)).encode()
        self.batches[payload] = trades
        self.aggregator.queues["linear"].put(payload)

    def step(self, after_ms):
        self.now = T0 + after_ms
        self.aggregator.step()

    def repair(self, steps=1):
        for _ in range(steps):
            self.now += 1_000
            self.repairer.step()
            self.aggregator.step()

    def states(self, start_s):
        """(complete, volume) of every revision of the window that began so many seconds after the start."""
        return [(k.complete, int(k.volume)) for k in self.published.get(T0 + start_s * 1_000, [])]

    def assert_sound(self):
        """What claims completeness is true to the last digit."""
        counted = [Trade(SYMBOL, t.ms, Decimal(t.price), Decimal(1)) for t in self.history if t.is_counted]
        for start, revisions in self.published.items():
            last = max(revisions, key=lambda kline: kline.revision)
            if last.complete:
                inside = [t for t in self.history if start <= t.ms < start + STEP_MS and t.is_counted]
                values = last.open, last.high, last.low, last.close, last.volume
                assert values == true_candle(counted, start, STEP_MS)[:5]
                assert last.trade_count == sum(each.matches for each in inside)


@pytest.fixture
def world():
    """One symbol that has traded for seven seconds."""
    world = World()
    for ms in range(500, 7_500, 500):
        world.put(world.trade(ms))
    world.step(7_500)
    world.events.events.clear()
    return world


def test_a_hole_without_a_disconnect_is_repaired_by_id(world):
    """The windows it touches are incomplete until then, and the event says how many ids are missing."""
    for ms in (8_000, 8_500, 11_000):
        world.trade(ms)
    world.put(world.trade(12_000))
    world.step(16_000)
    assert (world.states(5), world.states(10)) == ([(False, 5)], [(False, 1)])
    world.repair()

    assert world.asked == [(114, 116)]
    assert (world.states(5)[-1], world.states(10)[-1]) == ((True, 7), (True, 2))
    world.assert_sound()
    gap, repaired = world.events.fields
    assert (gap["reason"], gap["from"], gap["until"]) == ("3 trade ids missing", T0 + 7_000, T0 + 12_001)
    assert (gap["symbols"], repaired["how"]) == ((SYMBOL,), "ids")
    assert world.aggregator.stats()["gaps"] == 1


def test_a_window_that_went_out_as_complete_is_taken_back(world):
    """Its last trades did not come, and the next one shows it."""
    world.trade(9_500)
    world.step(10_500)
    assert world.states(5) == [(True, 5)]
    world.put(world.trade(11_000))
    world.step(11_100)
    assert world.states(5)[-1] == (False, 5)
    world.repair()
    assert world.states(5)[-1] == (True, 6)
    world.assert_sound()


@pytest.mark.parametrize("step_s", [5, 900])
def test_a_hole_found_long_after_takes_back_all_that_was_complete_until_then(world, step_s):
    """However long the symbol was silent since; once its trades are there, all is complete again."""
    lost = [world.trade(9_500), world.trade(33_000)]
    for second in range(10, 911, step_s):
        world.step(second * 1_000 + 500)
    assert [world.states(start) for start in (5, 10, 30, 35, 895)] == [[(True, 5)], *[[(True, 0)]] * 4]
    world.put(world.trade(911_000))
    world.step(911_100)
    assert [world.states(start)[1:] for start in (5, 10, 30, 35, 895)] == [[(False, 5)], *[[(False, 0)]] * 4]
    world.repair()

    assert world.asked == [tuple(each.last for each in lost)]
    assert [world.states(start)[-1] for start in (5, 10, 30)] == [(True, 6), (True, 0), (True, 1)]
    assert all(max(each, key=lambda k: k.revision).complete for start, each in world.published.items() if start > T0)
    world.assert_sound()


def test_what_is_read_long_after_completes_what_no_minute_keeps(world):
    """REST was away for a quarter of an hour while trades went on: nothing is given up, no trade is lost."""
    world.is_away = True
    world.trade(9_500)
    for second in range(12, 912, 2):
        world.put(world.trade(second * 1_000))
        world.step(second * 1_000 + 500)
        world.repairer.step()
    assert world.states(5)[-1] == (False, 5)
    world.is_away = False
    world.repair(20)

    assert [world.states(start)[-1] for start in (5, 10, 15)] == [(True, 6), (True, 2), (True, 2)]
    world.assert_sound()


@pytest.mark.parametrize("price", [100.125, 1e17])
def test_what_is_read_long_after_is_right_where_ticks_became_finer_or_an_int64_too_small(world, price):
    """What waits for its repair is counted in the same ticks as all else of its symbol."""
    world.is_away = True
    world.trade(9_500)
    for second in range(12, 200, 2):
        world.put(world.trade(second * 1_000))
        world.step(second * 1_000 + 500)
    world.history.append(Match(world.history[-1].last + 1, T0 + 200_000, price))
    world.put(world.history[-1])
    world.step(200_500)
    world.is_away = False
    world.repair(20)

    assert [world.states(start)[-1] for start in (5, 10, 15)] == [(True, 6), (True, 2), (True, 2)]
    world.assert_sound()


def test_ids_alone_close_the_gap_of_a_reconnect(world):
    """The first trade continues the last one: nothing is read, and candles are complete."""
    world.mark(feed_down((SYMBOL,), T0 + 7_600))
    world.mark(feed_up((SYMBOL,), T0 + 8_500))
    world.put(world.history[-1])  # OKX repeats the last trade on a subscription
    world.put(world.trade(9_000))
    world.step(10_500)
    world.repair()

    assert world.states(5)[-1] == (True, 6)
    assert world.asked == []
    assert [(event["how"]) for event in world.events.fields if "how" in event] == ["ids"]
    assert world.aggregator.stats()["duplicates"] == 1


def test_a_reconnect_with_missing_ids_repairs_these_alone(world):
    """Trades that do not count and those of several matches have their ids, too."""
    world.mark(feed_down((SYMBOL,), T0 + 7_600))
    world.trade(8_000, matches=3)
    world.trade(8_100, is_counted=False)
    world.mark(feed_up((SYMBOL,), T0 + 8_500))
    world.put(world.trade(9_000))
    world.step(10_500)
    assert world.states(5)[-1][0] is False
    world.repair()

    assert world.asked == [(114, 117)]
    assert world.states(5)[-1] == (True, 7)
    world.assert_sound()


def test_a_window_that_was_open_when_a_later_hole_was_found_is_complete(world):
    """One batch brings its end, and the hole of the next one."""
    world.put(world.trade(10_000))
    world.trade(10_200)
    world.put(world.trade(10_400))
    world.step(10_500)
    world.repair()
    assert (world.states(5)[-1], world.asked) == ((True, 5), [(115, 115)])


def test_late_trades_make_a_hole_whole_again(world):
    """Without REST."""
    missing = world.trade(8_000)
    world.put(world.trade(9_000))
    world.step(10_500)
    world.put(missing)
    world.step(10_600)

    assert world.states(5)[-1] == (True, 7)
    world.repair()
    assert world.states(5)[-1] == (True, 7)
    world.assert_sound()


def test_what_the_exchange_lacks_by_id_is_sought_among_its_newest_trades(world):
    """As after a disconnect where ids prove nothing."""
    world.lacks.add(world.trade(8_000).last)
    world.put(world.trade(9_000))
    world.step(10_500)
    world.recent = len(world.history)
    world.repair(8)

    assert len(world.asked) > 1
    assert world.states(5)[-1] == (True, 7)
    assert [event["how"] for event in world.events.fields if "how" in event] == ["trades"]


def test_what_the_exchange_lacks_stays_incomplete(world):
    """Until its candle is there."""
    world.lacks.add(world.trade(8_000).last)
    world.put(world.trade(9_000))
    world.step(10_500)
    world.repair(15)
    assert world.states(5)[-1] == (False, 6)


def test_one_garbage_id_costs_no_trade(world):
    """It is refused, and repaired under its own id."""
    lost = world.trade(8_000)
    world.put(Match(2**62, lost.ms, lost.price))
    world.step(8_010)
    world.put(world.trade(8_500))
    world.put(world.trade(9_500))
    world.step(10_500)
    world.repair(2)

    assert world.states(5)[-1] == (True, 8)
    assert world.reported == ["trade_id_garbage"]
    world.assert_sound()


def test_after_a_relisting_ids_prove_again(world):
    """What lies between the two sequences is left to the exchange's candle."""
    relisted = [Match(n, T0 + 9_000 + n * 1_000, 50) for n in range(1, 12)]
    world.history += relisted
    for each in relisted:
        world.put(each)
        world.step(each.ms - T0 + 10)
    world.step(20_500)
    world.repair(3)

    assert world.asked[0] == (1, 1)
    assert world.states(5)[-1][0] is False
    assert world.states(15)[-1] == (True, 5)
    assert "trade_ids_began_anew" in world.reported
    world.assert_sound()


def test_a_symbol_that_trades_is_not_silent(world):
    """A minute of trades is none, and a silence begins at the last of them."""
    for second in range(60):
        world.put(world.trade(second * 1_000))
        world.step(second * 1_000 + 100)
    table, last_ms = world.aggregator.tables["linear"], world.history[-1].ms

    assert table.silent_symbols(world.now) == ([], [])
    assert table.silent_symbols(world.now + 600_000)[1] == [(SYMBOL, last_ms)]


def test_dropped_payloads_are_proven_by_the_next_id(world):
    """An overflow in which no trade of the symbol was lost costs nothing."""
    world.mark(Overflow(T0 + 7_600, T0 + 7_700))
    world.put(world.trade(9_000))
    world.step(10_500)
    assert world.states(5)[-1] == (True, 6)


STEPS = st.lists(
    st.tuples(
        st.one_of(*[st.integers(0, 2_500)] * 5, st.just(100_000)),  # ms since the trade before
        st.sampled_from(["sent"] * 6 + ["lost", "lost", "late", "twice", "swapped", "outage"]),
        st.integers(1, 3),  # matches
        st.integers(0, 5),  # 0: it does not count
    ),
    min_size=5,
    max_size=60,
)


@given(STEPS, st.booleans(), st.sets(st.integers(95, 160), max_size=3), st.integers(0, 80))
@settings(max_examples=300, deadline=None)
def test_complete_is_true_only_where_every_id_is_there(steps, has_all, lacks, recent):
    """Whatever is lost, late, repeated or swapped; and where REST has everything all is complete in the end."""
    world = World(lacks=set() if has_all else lacks)
    late: list[Match] = []
    held: list[Match] = []
    at_ms, up_ms, begun, begun_ms = 100, 0, False, FAR
    for pause_ms, fate, matches, counts in steps:
        is_brief = held or not begun  # trades change places within moments; before the first nothing is proven
        at_ms += min(pause_ms, 2_500) if is_brief else pause_ms
        is_counted = bool(counts)
        trade = world.trade(at_ms, matches=matches if is_counted else 1, is_counted=is_counted)
        world.recent = min(recent, len(world.history))
        if fate == "outage":
            world.mark(feed_down((SYMBOL,), world.now))
            world.mark(feed_up((SYMBOL,), T0 + at_ms + 1))
            up_ms, begun = at_ms + 1, False
        elif fate == "late":
            late.append(trade)
        elif fate == "swapped":
            held.append(trade)
        elif fate != "lost":
            world.put(trade, *held)
            held, begun = [], begun or (is_counted and at_ms >= up_ms)
            begun_ms = min(begun_ms, T0 + at_ms if begun else FAR)
            if fate == "twice":
                world.put(trade)
                for each in late:
                    if at_ms - (each.ms - T0) < 60_000:  # without a hole nothing older is revised for sure
                        world.put(each)
                late = []
        world.step(at_ms + 10)
        if counts == 5:
            world.repairer.step()
    for ms in (3_000, 9_000, 12_000, 15_000):
        world.put(world.trade(at_ms + ms))
        world.step(at_ms + ms + 10)
    world.recent = min(recent, len(world.history))
    world.repair(20)

    world.assert_sound()
    if has_all:
        after_the_start = [start for start in sorted(world.published)[2:] if start > begun_ms]
        assert all(max(world.published[start], key=lambda k: k.revision).complete for start in after_the_start)
