"""What a candle claims, against everything that was traded, lost trades included: an independent slow model.

A scenario is a feed with faults: late trades, doubles, garbage, stalls that are noticed later, overflows. The
aggregator sees what got through; the model has all of it.
"""

from dataclasses import dataclass, field
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation.aggregator import Aggregator
from aggregation.klines.arithmetic import PLAIN
from aggregation.klines.dedupe import DedupeLimits
from aggregation.klines.table import IN_FLIGHT_MS
from aggregation.trade_queue import FeedGap, InsertTrades, Overflow
from model.intervals import parse_interval
from model.records import Kline, PastTrade, TradeBatch
from tests.support.arithmetic import FIRST_TRADE
from tests.support.markers import feed_down, feed_up
from tests.unit.aggregation.reference import Trade, true_candle

T0 = 1_700_000_040_000
GRACE_MS = 300
INTERVALS = ("5s", "20s", "1m")
TICK_MS = 3_000  # how often the aggregator looks at the clock
LATEST_DELIVERY_MS = 50_000  # within it nothing is forgotten yet


@dataclass
class Sent:
    """A trade under way."""

    trade: Trade
    number: int
    deliver_ms: int
    damage: str = ""  # "price": it is no number; "text": the trade cannot be read at all


@dataclass
class Harness:
    """The exchange, the line and the clock; `up` and `down` are what the stream thread would do."""

    event_clock: bool
    prev_close_opens: bool = True
    dedupe: DedupeLimits | None = None
    now: int = T0
    traded: list[Sent] = field(default_factory=list)
    waiting: list[Sent] = field(default_factory=list)
    delivered: set[int] = field(default_factory=set)
    silent_since: int | None = None
    gaps: list[tuple[int, int]] = field(default_factory=list)  # nothing is proven from, until
    klines: list[Kline] = field(default_factory=list)
    feed_gaps: list[FeedGap] = field(default_factory=list)

    def __post_init__(self):
        self.aggregator = Aggregator(
            ["linear"],
            [parse_interval(name) for name in INTERVALS],
            lambda _market, payloads: self.decode(payloads),
            lambda _market, klines: self.klines.extend(klines),
            arithmetic_of=lambda _: PLAIN if self.prev_close_opens else FIRST_TRADE,
            event_clock=self.event_clock,
            grace_ms=GRACE_MS,
            dedupe=self.dedupe,
            on_gap=lambda _market, gap: self.feed_gaps.append(gap),
            now_ms=lambda: self.now,
        )
        self.queue = self.aggregator.queues["linear"]
        self.queue.put_control(feed_up(("X",), T0 - 60_000))
        self.trade(Decimal(100), Decimal(1), 0)
        self.run(0)

    def decode(self, payloads):
        all_sent = [self.traded[int(payload)] for payload in payloads]
        sent = [s for s in all_sent if s.damage != "text"]
        return TradeBatch(
            [s.trade.symbol for s in sent],
            [s.trade.event_ms for s in sent],
            [float("nan") if s.damage else float(s.trade.price) for s in sent],
            [float(s.trade.size) for s in sent],
            [s.number for s in sent],
            [f"id-{s.number}" for s in sent],
            ["X" for s in all_sent if s.damage == "text"],
        )

    def trade(self, price, size, delay_ms, damage=""):
        self.now += 1  # no two trades of one millisecond: their order is tested elsewhere
        sent = Sent(Trade("X", self.now, price, size), len(self.traded), self.now + delay_ms, damage)
        self.traded.append(sent)
        self.waiting.append(sent)

    def run(self, ms):
        """Let time pass, tick by tick, and hand over what is due."""
        for tick in [TICK_MS] * (ms // TICK_MS) + [ms % TICK_MS]:
            self.now += tick
            due = [s for s in self.waiting if s.deliver_ms <= self.now and self.silent_since is None]
            self.waiting = [s for s in self.waiting if s not in due]
            for sent in sorted(due, key=lambda s: s.deliver_ms):
                self.deliver(sent)
            self.aggregator.step()

    def deliver(self, sent):
        self.queue.put(str(sent.number).encode())
        if not sent.damage:
            self.delivered.add(sent.number)

    def double(self):
        if self.delivered and self.silent_since is None:
            self.queue.put(str(max(self.delivered)).encode())

    def silence(self):
        if self.silent_since is None:
            self.run(0)
            self.silent_since = self.now

    def reconnect(self, noticed_after_ms):
        """The silence is noticed and ended; what was traded meanwhile, or was under way, is lost."""
        if self.silent_since is None:
            return
        since, self.now = self.silent_since, self.now + noticed_after_ms
        self.aggregator.step()
        self.queue.put_control(feed_down(("X",), since))
        self.aggregator.step()
        self.now += 700
        self.queue.put_control(feed_up(("X",), self.now))
        self.lose(since)
        self.silent_since = None

    def overflow(self, lasting_ms):
        if self.silent_since is None:
            self.run(0)
            since, self.now = self.now, self.now + lasting_ms
            self.lose(since)
            self.queue.put_control(Overflow(since, self.now))

    def lose(self, since):
        self.gaps.append((since - IN_FLIGHT_MS, self.now))
        self.waiting = [s for s in self.waiting if not since - GRACE_MS < s.trade.event_ms < self.now]

    def ask(self, newest):
        """The exchange is asked for its newest trades, which may or may not reach back far enough."""
        feed_gaps, self.feed_gaps = self.feed_gaps, []
        known = [s for s in self.traded if s.trade.event_ms <= self.now][-newest:]
        past = [
            PastTrade(f"id-{s.number}", s.trade.event_ms, float(s.trade.price), float(s.trade.size), s.number)
            for s in known
        ]
        for gap in feed_gaps:
            self.queue.put_control(InsertTrades(gap, past))
        self.aggregator.step()

    def finish(self):
        self.reconnect(0)
        self.run(LATEST_DELIVERY_MS)
        for _ in range(2):
            self.now += 60_000
            self.trade(Decimal(100), Decimal(1), 0)
            self.run(GRACE_MS + 1)


moments = st.one_of(
    st.tuples(
        st.just("trade"),
        st.decimals("90", "110", places=2),
        st.decimals("0.001", "9", places=3),
        st.sampled_from([0, 0, 0, 100, 400, 7_000, 35_000]),
    ),
    st.tuples(st.just("run"), st.integers(0, 15_000)),
    st.tuples(st.just("double")),
    st.tuples(st.just("silence")),
    st.tuples(st.just("reconnect"), st.sampled_from([0, 100, 5_000, 20_000])),
    st.tuples(st.just("overflow"), st.sampled_from([1, 6_000])),
    st.tuples(st.just("garbage"), st.sampled_from(["price", "text"])),
    st.tuples(st.just("ask"), st.sampled_from([1, 3, 1000])),
)


def play(harness, script):
    for name, *arguments in script:
        if name == "garbage":
            harness.trade(Decimal(105), Decimal(1), 0, *arguments)
            if arguments == ["text"]:  # it is not known of when it was, but that it came now
                harness.run(0)
        else:
            getattr(harness, name)(*arguments)
    harness.finish()


def last_revisions(klines):
    """The last issue of every window; every issue before it must have been one revision lower."""
    last: dict[tuple[int, int], Kline] = {}
    for kline in klines:
        before = last.get((kline.interval, kline.timestamp))
        assert kline.revision == (before.revision + 1 if before else 0)
        last[kline.interval, kline.timestamp] = kline
    return last


@settings(max_examples=250, deadline=None)
@given(st.lists(moments, max_size=40))
def test_what_is_called_complete_is_true(script):
    """However the feed fails: the last issue of a candle is the exchange's own, or does not claim to be complete."""
    harness = Harness(event_clock=False)
    play(harness, script)
    everything = [s.trade for s in harness.traded]

    for kline in last_revisions(harness.klines).values():
        if kline.complete:
            assert values(kline) == true_candle(everything, kline.timestamp, kline.interval)


@settings(max_examples=150, deadline=None)
@given(st.lists(moments, max_size=40))
def test_what_is_called_complete_is_true_in_a_replay(script):
    """The same by the trades' own clock, for which a gap reaches from trade to trade; nothing comes late there."""
    harness = Harness(event_clock=True)
    play(harness, [moment if moment[0] != "trade" else (*moment[:3], 0) for moment in script])
    everything = [s.trade for s in harness.traded]

    for kline in last_revisions(harness.klines).values():
        if kline.complete:
            assert values(kline) == true_candle(everything, kline.timestamp, kline.interval)


@settings(max_examples=250, deadline=None)
@given(st.lists(moments, max_size=40))
def test_what_is_proven_is_called_complete(script):
    """A window without a fault, and with a trade before it since the last fault, is complete."""
    harness = Harness(event_clock=False)
    play(harness, [moment for moment in script if moment[0] != "garbage"])
    seen = [
        s.trade.event_ms for s in harness.traded if s.number in harness.delivered and s.deliver_ms == s.trade.event_ms
    ]

    for (length, start), kline in last_revisions(harness.klines).items():
        touched = any(since < start + length and start < until for since, until in harness.gaps)
        healed_ms = max([until for _, until in harness.gaps if until <= start], default=0)
        if not touched and any(healed_ms <= ms < start for ms in seen):
            assert kline.complete


late_trades = st.tuples(
    st.just("trade"),
    st.decimals("90", "110", places=2),
    st.decimals("0.001", "9", places=3),
    st.sampled_from([0, 2_000, 7_000, 12_000, 35_000]),
)
steps = st.tuples(st.just("run"), st.integers(0, 9_000))


@settings(max_examples=250, deadline=None)
@given(st.lists(st.one_of(late_trades, steps, st.tuples(st.just("double"))), max_size=60), st.booleans())
def test_without_faults_every_candle_is_right_in_the_end(script, prev_close_opens):
    """Late and duplicate trades alone: the last issue of every candle, the first included, is the true one."""
    harness = Harness(event_clock=False, prev_close_opens=prev_close_opens)
    play(harness, script)
    everything = [s.trade for s in harness.traded]

    for kline in last_revisions(harness.klines).values():
        assert values(kline) == true_candle(everything, kline.timestamp, kline.interval, prev_close_opens)


@settings(max_examples=150, deadline=None)
@given(st.lists(moments, max_size=40), st.booleans())
def test_candles_follow_each_other_without_hole_or_repetition(script, event_clock):
    """First issues of one interval are consecutive windows, whatever was lost between."""
    harness = Harness(event_clock=event_clock)
    play(harness, script)

    for step_ms in {kline.interval for kline in harness.klines}:
        starts = [k.timestamp for k in harness.klines if k.interval == step_ms and k.revision == 0]

        assert starts == list(range(starts[0], starts[0] + len(starts) * step_ms, step_ms))


def values(kline):
    return (kline.open, kline.high, kline.low, kline.close, kline.volume, kline.turnover, kline.trade_count)
