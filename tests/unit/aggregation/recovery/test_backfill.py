"""Between two runs: what closed meanwhile goes out first, nothing twice, nothing out of order."""

from decimal import Decimal

from msgspec.structs import replace

from aggregation.klines.arithmetic import PLAIN, Arithmetic
from aggregation.recovery.backfill import HOLD_S, Backfill
from aggregation.recovery.backfill_spans import (
    ASK_CAP_S,
    ASK_IDLE_S,
    BACK_MS,
    TRADES_REACH_MS,
    TRADES_SETTLED_MS,
    UNSEEN_REVISIONS,
    EarlierRun,
    Span,
    TradeSpan,
    revision_after,
    spans_of,
)
from aggregation.recovery.repair import SETTLED_MS
from model.intervals import parse_interval
from model.records import Candle, Kline, LastPublished, Published
from tests.support.arithmetic import FIRST_TRADE
from tests.support.history import FakeHistory
from tests.support.trades import past_trade

MINUTE = 60_000
T0 = 1_700_000_040_000


def kline(minute, *, revision=0, symbol="X", interval_ms=MINUTE, complete=True, **changes):
    one = Decimal(1)
    start_ms = T0 + minute * MINUTE
    made = Kline(symbol, interval_ms, start_ms, one, one, one, one, one, 1, one, complete, "trades", revision)
    return replace(made, **changes)


class Harness:
    """An exchange with a candle for every minute, some trades, a clock, and what was sent."""

    def __init__(
        self,
        known,
        now_minute,
        intervals=("1m",),
        recent=(),
        trades=(),
        arithmetic=PLAIN,
        size_of=None,
        unconfirmed=(),
        certain_until_ms=1 << 62,
    ):
        self.now_ms = T0 + now_minute * MINUTE + SETTLED_MS
        self.now_s = 0.0
        self.reachable = True
        self.left_out = set()
        self.flat: dict[int, Decimal] = {}  # start -> price of candles without a trade
        self.trades = [past_trade(*trade) for trade in trades]
        self.asked = []
        self.sent: list[Kline] = []
        self.backfill = Backfill(
            Published(
                known,
                [("linear", kline) for kline in recent],
                [("linear", kline) for kline in unconfirmed],
                certain_until_ms,
            ),
            [parse_interval(name) for name in intervals],
            [("linear", "X"), ("linear", "Y")],
            FakeHistory(
                candles=self.read,
                recent_trades=self.read_trades,
                steps_ms=(MINUTE, 5 * MINUTE, 0),
                now_ms=lambda: self.now_ms,
            ),
            self,
            arithmetic_of=lambda _: arithmetic,
            contract_sizes=lambda _market, symbol: size_of(symbol),
            monotonic=lambda: self.now_s,
        )

    def put(self, _market, klines):
        """The outputs: a KlineSink."""
        self.sent.extend(map(self.without_age, klines))

    def without_age(self, kline):
        """As it was sent, but for what its age in seconds adds to the revision of what goes out again."""
        age_s = (self.now_ms - kline.timestamp - kline.interval) // 1000
        return replace(kline, revision=kline.revision - age_s) if kline.revision >= UNSEEN_REVISIONS else kline

    def read(self, market, symbol, step_ms, start_ms, end_ms):
        self.asked.append((symbol, step_ms, start_ms, end_ms))
        if not self.reachable:
            return None
        one = Decimal(1)
        starts = (start for start in range(start_ms, end_ms, step_ms) if start not in self.left_out)
        found = [Candle(start, one, one, one, one, one, one) for start in starts]
        prices = ((candle, self.flat.get(candle.start_ms)) for candle in found)
        return [c if p is None else Candle(c.start_ms, p, p, p, p, Decimal(0), Decimal(0)) for c, p in prices]

    def read_trades(self, market, symbol):
        self.asked.append((symbol, "trades"))
        return self.trades if self.reachable else None

    def step(self, later_s=ASK_IDLE_S):
        """The next step that reads every span."""
        self.now_s += later_s
        self.backfill.step()

    def offer(self, *klines):
        self.backfill.put("linear", list(klines))

    @property
    def minutes(self):
        return [(k.timestamp - T0) // MINUTE for k in self.sent]

    @property
    def seconds(self):
        """What was sent of an interval of seconds: start in s, count of trades, complete, revision."""
        return [((k.timestamp - T0) // 1000, k.trade_count, k.complete, k.revision) for k in self.sent]


def test_what_closed_meanwhile_goes_out_before_what_closes_now():
    """Minutes 1 to 4 were not collected; 5 is the new run's first."""
    harness = Harness({("linear", "X", MINUTE): (T0, 0, True)}, now_minute=6)
    harness.offer(kline(5), kline(6))
    harness.step()
    harness.offer(kline(7))

    assert harness.minutes == [1, 2, 3, 4, 5, 6, 7]
    assert [k.source for k in harness.sent[:4]] == ["exchange"] * 4
    assert harness.backfill.is_over


def test_only_a_market_whose_candles_are_too_long_is_filled_in_from_trades():
    """Seconds of Binance: the exchange has candles of them in spot, in futures the trades alone."""
    markets = ("spot", "linear")
    known = {(market, "X", 1_000): LastPublished(T0, 0, True) for market in markets}
    earlier = EarlierRun(known, [], [parse_interval("1s")], [(market, "X") for market in markets])
    steps: dict[str, tuple[int, ...]] = {"spot": (1_000, MINUTE), "linear": (MINUTE,)}

    spans = spans_of(earlier, steps.__getitem__, lambda _market: PLAIN, lambda _market, _symbol: None)

    assert {span.key[0]: type(span) for span in spans} == {"spot": Span, "linear": TradeSpan}


def test_symbol_without_a_trade_is_filled_in_all_the_same():
    """It has no kline of its own yet, and its candles still close."""
    harness = Harness({("linear", "X", MINUTE): (T0, 0, True)}, now_minute=4)
    harness.step()
    harness.now_ms += MINUTE
    harness.step()
    harness.offer(kline(5), kline(6))
    harness.step()

    assert harness.minutes == [1, 2, 3, 4, 5, 6]


def test_nothing_is_sent_twice():
    """What the earlier run sent is dropped, wherever it comes from."""
    harness = Harness({("linear", "X", MINUTE): (T0 + 2 * MINUTE, 0, True)}, now_minute=3)
    harness.offer(kline(1), kline(2), kline(3))
    harness.step()
    harness.offer(kline(2, revision=1))

    assert harness.minutes == [3]


def test_candles_that_are_not_final_are_waited_for():
    """The minute before the first own one ended just now."""
    harness = Harness({("linear", "X", MINUTE): (T0, 0, True)}, now_minute=2)
    harness.now_ms -= SETTLED_MS
    harness.offer(kline(2))
    harness.step()

    assert harness.minutes == []

    harness.now_ms += SETTLED_MS
    harness.step()

    assert harness.minutes == [1, 2]


def test_unreachable_exchange_is_not_waited_for_without_end():
    """What could not be read goes out incomplete and in its order, and is repaired when the exchange answers."""
    harness = Harness({("linear", s, MINUTE): (T0, 0, True) for s in "XY"}, now_minute=3)
    harness.reachable = False
    harness.offer(kline(3))
    harness.step(0)
    harness.step(HOLD_S - 1)
    assert (harness.minutes, len(harness.asked)) == ([], 4)

    harness.step(2)
    assert [(k.timestamp - T0, k.complete, k.revision) for k in harness.sent] == [
        (MINUTE, False, UNSEEN_REVISIONS), (2 * MINUTE, False, UNSEEN_REVISIONS), (3 * MINUTE, True, 0),
    ]  # fmt: skip
    assert harness.backfill.holes == 1

    harness.reachable = True
    harness.step()
    repaired = [
        (k.timestamp - T0, k.complete, k.revision > UNSEEN_REVISIONS) for k in harness.sent[3:] if k.symbol == "X"
    ]
    assert repaired == [(MINUTE, True, True), (2 * MINUTE, True, True)]


def test_failures_between_answers_release_nothing():
    """One question in many fails, for longer than is waited for an exchange that never answers."""
    harness = Harness({("linear", s, MINUTE): (T0, 0, True) for s in "XY"}, now_minute=3)
    harness.offer(kline(30))
    harness.reachable = False
    harness.step(0)
    harness.reachable = True
    harness.step(HOLD_S - 1)
    harness.reachable = False
    harness.step(2)

    assert (30 in harness.minutes, harness.backfill.holes) == (False, 0)


# -- what went out before the end -----------------------------------------------------------------------------


def test_kline_that_was_not_complete_yet_is_repaired_whatever_followed_it():
    """The run ended before it could be repaired; a newer one was out already."""
    harness = Harness(
        {}, now_minute=4, recent=[kline(0, revision=3, complete=False), kline(1), kline(2, volume=Decimal(1))]
    )
    harness.step()

    assert [(k.timestamp - T0, k.revision, k.complete) for k in harness.sent] == [
        (0, 3 + UNSEEN_REVISIONS, True), (3 * MINUTE, UNSEEN_REVISIONS, True)
    ]  # fmt: skip


def test_kline_that_nothing_vouches_for_is_held_against_the_exchange():
    """A stall that was not noticed: the newest candle lacks trades. What equals the exchange's is not sent again."""
    harness = Harness({}, now_minute=2, recent=[kline(0, symbol="Y"), kline(0, volume=Decimal("0.5"), revision=1)])
    harness.step()

    ours = [(k.timestamp - T0, k.volume, k.revision, k.source) for k in harness.sent if k.symbol == "X"]
    assert ours == [(0, 1, 1 + UNSEEN_REVISIONS, "exchange"), (MINUTE, 1, UNSEEN_REVISIONS, "exchange")]
    assert [k.timestamp - T0 for k in harness.sent if k.symbol == "Y"] == [MINUTE]


def test_new_klines_wait_until_what_is_unverified_was_read():
    """Else a second kill would find newer ones, and nothing unverified."""
    harness = Harness({}, now_minute=1, recent=[kline(0, volume=Decimal("0.5"))])
    harness.now_ms -= SETTLED_MS
    harness.offer(kline(1))
    harness.step()
    assert harness.sent == []

    harness.now_ms += SETTLED_MS
    harness.step()
    assert [(k.timestamp - T0, k.revision) for k in harness.sent] == [(0, UNSEEN_REVISIONS), (MINUTE, 0)]


def test_kline_that_cannot_be_verified_is_marked_incomplete():
    """The exchange does not answer: the kline is called incomplete before the next one goes out."""
    harness = Harness({}, now_minute=1, recent=[kline(0)])
    harness.reachable = False
    harness.offer(kline(1))
    harness.step(0)
    harness.step(HOLD_S)

    assert [(k.timestamp - T0, k.complete, k.revision) for k in harness.sent] == [
        (0, False, UNSEEN_REVISIONS), (MINUTE, True, 0)
    ]  # fmt: skip


def test_open_that_is_no_close_is_not_compared():
    """With KLINE_OPEN=first_trade the exchange's candles open otherwise."""
    harness = Harness({}, now_minute=1, recent=[kline(0, open=Decimal(2), high=Decimal(2))], arithmetic=FIRST_TRADE)
    harness.step()

    assert harness.sent == []


def test_open_of_an_exchange_that_opens_at_the_first_trade_is_compared():
    """It is the rule of the exchange that klines are made by."""
    own = Arithmetic("first_trade", "first_trade")
    harness = Harness({}, now_minute=1, recent=[kline(0, open=Decimal(2), high=Decimal(2))], arithmetic=own)
    harness.step()

    assert [(k.open, k.source) for k in harness.sent] == [(1, "exchange")]


def test_minutes_of_an_interval_of_ones_own_are_rolled_up_by_the_rule_of_the_exchange():
    """Two minutes, the first of which is a flat filler: it gives no open, high or low."""
    own = Arithmetic("first_trade", "first_trade")
    start = T0 - T0 % (2 * MINUTE)
    known = {("linear", "X", 2 * MINUTE): (start, 0, True)}
    harness = Harness(known, (start - T0) // MINUTE + 4, ("2m",), arithmetic=own)
    two = start + 2 * MINUTE
    harness.flat = {two: Decimal(9)}
    harness.step()

    (filled,) = [k for k in harness.sent if k.timestamp == two]
    assert (filled.open, filled.high, filled.low, filled.close) == (1, 1, 1, 1)


def test_interval_that_had_published_nothing_yet_begins_with_the_window_it_was_in():
    """Five minutes were not over when the process was killed, or had waited: their candle must not be missing."""
    five = 5 * MINUTE
    start = T0 + MINUTE - 1 - BACK_MS
    start -= start % five
    harness = Harness({("linear", "X", MINUTE): (T0, 0, True)}, now_minute=11, intervals=("1m", "5m"))
    harness.step()

    fives = [k.timestamp for k in harness.sent if k.interval == five]
    assert fives == [start, start + five, start + 2 * five, start + 3 * five]


def test_what_may_have_been_sent_unnoted_goes_out_higher():
    """The checkpoint may lack what was under way at the end; a first own kline from before may be part of it."""
    harness = Harness({("linear", "X", MINUTE): (T0, 0, True)}, 5)
    harness.offer(kline(1, complete=False))
    harness.step()

    assert [(k.timestamp - T0, k.complete, k.revision) for k in harness.sent][:2] == [
        (MINUTE, True, UNSEEN_REVISIONS), (2 * MINUTE, True, UNSEEN_REVISIONS)
    ]  # fmt: skip


def test_two_runs_never_give_one_revision_twice():
    """Killed before it noted what it had sent again, and again a second later."""
    first = [revision_after(known, T0, T0 + 5_000) for known in (0, 1, 2)]
    second = [revision_after(known, T0, T0 + 6_000) for known in (0, 1, 2)]

    assert min(second) > 2
    assert all(later > earlier for later, earlier in zip(second, first, strict=True))


def test_what_nobody_confirmed_goes_out_again_as_it_is_and_first():
    """The correction of an old kline waited for Redis when the process was killed: nobody may have seen it."""
    corrected = kline(0, revision=1, volume=Decimal(7), source="exchange")
    known = {("linear", "X", MINUTE): LastPublished(T0 + 4 * MINUTE, 0, True)}
    other = kline(0, symbol="GONE")
    harness = Harness(known, 6, recent=[kline(0), kline(4)], unconfirmed=[corrected, other])
    harness.step()
    harness.step()

    assert harness.sent[0] == replace(corrected, revision=1 + UNSEEN_REVISIONS)
    assert harness.minutes == [0, 5]


def test_what_nobody_confirmed_and_is_incomplete_is_repaired_too():
    """Sent as it is at once, and as the exchange has it when that is known."""
    known = {("linear", "X", MINUTE): LastPublished(T0 + 4 * MINUTE, 0, True)}
    harness = Harness(known, 6, recent=[kline(4)], unconfirmed=[kline(1, revision=1, complete=False)])
    harness.step()

    assert [(m, k.complete) for m, k in zip(harness.minutes, harness.sent, strict=True)] == [
        (1, False), (1, True), (5, True)
    ]  # fmt: skip
    assert harness.sent[0].revision < harness.sent[1].revision


def test_what_a_kill_may_have_left_behind_is_sent_again_though_it_is_right():
    """Taken back in the last moment, which the store does not know: the newest is issued anew, the proven one not."""
    recent = [kline(0), kline(1), kline(2, revision=3)]
    harness = Harness({}, 3, recent=recent, certain_until_ms=T0 + 2 * MINUTE)
    harness.step()
    assert harness.sent == [kline(2, revision=3 + UNSEEN_REVISIONS)]

    harness = Harness({}, 3, recent=recent, certain_until_ms=T0 + 3 * MINUTE)
    harness.step()
    assert harness.sent == []


# -- seconds: only trades can fill them in --------------------------------------------------------------------


def second(number, **changes):
    return kline(0, **{"interval_ms": 1000, "timestamp": T0 + number * 1000} | changes)


def seconds(recent, trades=(), known=None, now_ms=20_000, **market):
    harness = Harness(known or {}, 0, ("1s",), recent, [(T0 + ms, *rest) for ms, *rest in trades], **market)
    harness.now_ms = T0 + now_ms
    return harness


def test_seconds_between_two_runs_are_made_of_trades():
    """Where the exchange's trades reach back, nothing is missing and nothing incomplete."""
    harness = seconds(
        [second(0), second(9)], [(5_000,), (9_500,), (12_100, 2.0), (12_300, 3.0, 2.0), (13_500,), (14_900,)]
    )
    harness.offer(second(14, trade_count=7))
    harness.step()

    assert harness.seconds == [
        (10, 0, True, UNSEEN_REVISIONS), (11, 0, True, UNSEEN_REVISIONS), (12, 2, True, UNSEEN_REVISIONS),
        (13, 1, True, UNSEEN_REVISIONS),
        (14, 7, True, 0),
    ]  # fmt: skip
    twelve = harness.sent[2]
    assert [str(v) for v in (twelve.open, twelve.high, twelve.low, twelve.close, twelve.volume, twelve.turnover)] == [
        "1", "3", "1", "3", "3", "8"
    ]  # fmt: skip


def test_seconds_of_contracts_wait_for_their_size():
    """Trades are in contracts: nothing is made of them before it is known how much that is."""
    sizes: dict[str, Decimal] = {}
    own = Arithmetic("first_trade", "first_trade", has_contracts=True)
    trades = [(5_000,), (9_500,), (12_100, 2.0), (12_300, 3.0, 2.0), (13_500,), (14_900,)]
    harness = seconds([second(0), second(9)], trades, arithmetic=own, size_of=sizes.get)
    harness.step()
    assert harness.sent == []
    sizes["X"] = Decimal(10)
    harness.step()

    twelve = next(k for k in harness.sent if k.timestamp == T0 + 12_000)
    prices = (twelve.open, twelve.high, twelve.low, twelve.close)
    assert (*prices, twelve.volume, twelve.turnover, twelve.trade_count) == (2, 3, 2, 3, 30, 80, 2)


def test_seconds_that_trades_do_not_reach_go_out_incomplete():
    """In their order, flat at the oldest price known; the window of the oldest trade is one of them."""
    harness = seconds([second(9)], [(11_500, 5.0), (12_100, 6.0), (13_500,), (14_100,)])
    harness.offer(second(14))
    harness.step()

    assert [(s, n, c) for s, n, c, _ in harness.seconds] == [
        (9, 1, False), (10, 0, False), (11, 0, False), (12, 1, True), (13, 1, True), (14, 1, True)
    ]  # fmt: skip
    assert [int(k.open) for k in harness.sent[1:4]] == [5, 5, 5]


def test_an_empty_list_of_trades_holds_nothing_up_and_is_read_again():
    """Seconds go out incomplete at once; should the exchange have its trades after all, they are repaired."""
    harness = seconds([second(9)], [])
    harness.offer(second(14))
    harness.step(later_s=1.0)

    assert [(s, c) for s, _, c, _ in harness.seconds] == [*((s, False) for s in range(9, 14)), (14, True)]
    before = len(harness.sent)
    harness.trades = [past_trade(T0 + ms) for ms in (8_900, 9_500, 12_100, 14_100)]
    harness.step()
    assert [(s, n, c) for s, n, c, _ in harness.seconds[before:]] == [
        (9, 1, True), (10, 0, True), (11, 0, True), (12, 1, True), (13, 0, True)
    ]  # fmt: skip


def test_second_with_a_later_trade_is_verified():
    """Trades come in their order: only what closed since the last one may lack some."""
    harness = seconds(
        [second(5), second(6, trade_count=0), second(7), second(8, trade_count=0), second(9, trade_count=0)],
        [(12_000,)],
    )
    harness.offer(second(13))
    harness.step()

    revoked = [(start, complete) for start, _, complete, revision in harness.seconds if start < 10]
    assert revoked == [(6, False), (7, False), (8, False), (9, False)]


def test_second_that_lacks_a_trade_is_corrected():
    """The feed had fallen silent when the process was killed."""
    harness = seconds([second(7), second(9, trade_count=0)], [(500,), (7_500,), (9_400, 2.0), (12_000,)])
    harness.offer(second(12))
    harness.step()

    assert harness.seconds[0] == (9, 1, True, UNSEEN_REVISIONS)
    assert [start for start, *_ in harness.seconds] == [9, 10, 11, 12]


def test_first_own_seconds_that_are_incomplete_are_made_of_trades_too():
    """The new run's first window began before it; its trades are known to the exchange."""
    harness = seconds([second(9)], [(500,), (9_500,), (12_100,), (12_900,), (14_500,)])
    harness.offer(second(12, complete=False), second(13, complete=False, trade_count=0), second(14))
    harness.step()

    own = [(s, n, c) for s, n, c, _ in harness.seconds if s >= 12]
    assert own == [(12, 2, True), (13, 0, True), (14, 1, True)]
    harness.offer(second(13, revision=1), second(14, revision=1))
    assert harness.seconds[-1] == (14, 1, True, 1)
    assert len(harness.seconds) == 6


def test_own_seconds_that_no_trade_reaches_go_out_as_they_were_seen():
    """Incomplete, but better than a flat line."""
    harness = seconds([second(9)], [(13_500, 5.0), (14_500,)])
    harness.offer(second(12, complete=False, trade_count=3), second(13, complete=False), second(14))
    harness.step()

    own = [(s, n, c) for s, n, c, _ in harness.seconds if s >= 12]
    assert own == [(12, 3, False), (13, 1, False), (14, 1, True)]


def test_trades_are_waited_for_until_they_are_settled():
    """REST may lag behind the stream, unless it has a later trade."""
    harness = seconds([second(9)], [(500,), (9_500,)], now_ms=12_000)
    harness.offer(second(12, trade_count=0))
    harness.step()
    assert harness.sent == []

    harness.now_ms += TRADES_SETTLED_MS
    harness.step()
    assert [start for start, *_ in harness.seconds] == [10, 11, 12]


def test_quiet_symbol_is_filled_in_before_its_first_trade():
    """It has no kline of its own yet."""
    harness = seconds([second(9)], [(500,), (9_500,)], now_ms=12_000 + TRADES_SETTLED_MS)
    harness.step()
    harness.now_ms += 2_000
    harness.step()
    harness.offer(second(14))
    harness.step()

    assert [start for start, *_ in harness.seconds] == [10, 11, 12, 13, 14]


def test_long_pause_is_not_filled_with_seconds():
    """An hour of them at most; it goes on where that begins."""
    harness = seconds([second(9)], [(7_200_000,), (7_201_000,), (7_202_500,)], now_ms=7_210_000)
    harness.offer(second(7_202))
    harness.step()

    starts = [start for start, *_ in harness.seconds if start >= 10]
    assert (starts[0], starts[-1], len(starts)) == (7_202 - 3_600, 7_202, TRADES_REACH_MS // 1000 + 1)
    assert harness.backfill.holes == 1


def test_a_symbol_goes_on_in_its_own_market_only():
    """Collected as linear now, and once as spot, too: nothing of spot is asked for or sent."""
    last = (T0, 0, True)
    harness = Harness({("spot", "X", MINUTE): last, ("linear", "X", MINUTE): last}, now_minute=3)
    harness.step()

    assert harness.minutes == [1, 2]


def test_first_run_passes_everything():
    """Nothing is known of an earlier one."""
    harness = Harness({}, now_minute=6)
    harness.offer(kline(1), kline(0))

    assert harness.minutes == [1, 0]


def test_ten_minutes_are_made_of_fives():
    """An interval of one's own is filled in from the exchange's."""
    ten = 10 * MINUTE
    start = T0 - T0 % ten
    harness = Harness({("linear", "X", ten): (start, 0, True)}, now_minute=40, intervals=("10m",))
    harness.step()

    assert [k.timestamp for k in harness.sent] == [start + ten, start + 2 * ten, start + 3 * ten]
    assert {step for _, step, _, _ in harness.asked} == {5 * MINUTE}


# -- REST is held against what was counted here ---------------------------------------------------------------


def test_recent_trades_that_lack_the_newest_of_ours_prove_nothing_after_their_last():
    """A cached answer: no second after its end is a quiet one, and when the right answer comes all are."""
    harness = seconds([second(9)], [(500,), (9_500,), (11_200,)])
    harness.offer(second(14))
    harness.step()
    assert [start for start, *_ in harness.seconds] == [10]

    harness.trades += [past_trade(T0 + ms) for ms in (12_500, 14_500)]
    harness.step()
    assert [(s, n, c) for s, n, c, _ in harness.seconds[1:]] == [
        (11, 1, True),
        (12, 1, True),
        (13, 0, True),
        (14, 1, True),
    ]


def test_a_trade_that_could_not_be_read_costs_its_own_second():
    """And the one that it opens."""
    harness = seconds([second(9)], [(500,), (9_500,), (10_500,), (11_500, 0.0, 0.0), (13_500,), (14_500,)])
    harness.offer(second(14))
    harness.step()

    assert [(s, c) for s, _, c, _ in harness.seconds] == [(10, True), (11, False), (12, False), (13, False), (14, True)]


def test_a_candle_that_lacks_trades_that_were_counted_before_revises_nothing():
    """What the killed run counted the exchange must have, too: until then it is waited for, and then unverified."""
    harness = Harness({}, now_minute=3, recent=[kline(0, volume=Decimal(5), trade_count=3), kline(1, trade_count=0)])
    harness.offer(kline(3))
    for _ in range(8):
        harness.step(later_s=HOLD_S / 4)
    assert [((k.timestamp - T0) // MINUTE, k.complete, k.volume) for k in harness.sent] == [
        (2, True, 1), (0, False, 5), (3, True, 1)
    ]  # fmt: skip


def test_a_candle_that_is_left_out_costs_itself():
    """Its row made no sense: it goes out incomplete, drawn at the next one's open, and is read again further on."""
    harness = Harness({("linear", "X", MINUTE): (T0, 0, True)}, now_minute=6)
    harness.left_out = {T0 + 3 * MINUTE}
    for _ in range(20):
        harness.step(later_s=1)
    assert [(minute, k.complete) for minute, k in zip(harness.minutes, harness.sent, strict=True)] == [
        (1, True), (2, True), (3, False), (4, True), (5, True)
    ]  # fmt: skip
    harness.left_out = set()
    harness.step(later_s=ASK_CAP_S)
    assert (harness.minutes[-1], harness.sent[-1].complete) == (3, True)
    assert harness.sent[-1].revision > harness.sent[2].revision


def test_what_answers_go_on_to_leave_out_is_read_less_and_less_and_then_no_more():
    """It stays incomplete; the questions end."""
    harness = Harness({("linear", "X", MINUTE): (T0, 0, True)}, now_minute=3, recent=[kline(0, complete=False)])
    harness.left_out = {T0}
    harness.offer(kline(3))
    for _ in range(6_000):
        harness.step()
    assert harness.minutes == [1, 2, 3]
    assert 10 < len(harness.asked) < 60
    assert harness.backfill.is_over
