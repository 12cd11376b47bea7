"""Ticks and lots that become finer while candles are open, and numbers that no int64 holds: nothing is lost."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation.klines.arithmetic import PLAIN, Arithmetic
from aggregation.klines.symbols import Symbols
from aggregation.recovery.candles import candles_of_trades, rolled_up
from aggregation.trade_queue import FeedGap
from model.records import Candle
from tests.support.trades import past_trade
from tests.unit.aggregation.klines.test_table import MINUTE, T0, table, trades, values
from tests.unit.aggregation.reference import Trade, candles, sums_of

HOUR = 60 * MINUTE
any_price = st.integers(1, 10**9).flatmap(lambda n: st.integers(0, 9).map(lambda s: Decimal(n).scaleb(-s)))
any_size = st.integers(1, 10**7).flatmap(lambda n: st.integers(0, 6).map(lambda s: Decimal(n).scaleb(-s)))
wide = st.integers(1, 10**15 - 1).flatmap(lambda n: st.integers(-12, 25).map(lambda s: Decimal(n).scaleb(-s)))
usual = st.integers(1, 10**6).map(lambda n: Decimal(n).scaleb(-3))
numbers = st.one_of(wide, usual, usual)
streams = st.lists(
    st.tuples(st.integers(0, 90_000), numbers, numbers, st.sampled_from(["A", "B"])), min_size=1, max_size=30
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(any_price, any_size), min_size=1, max_size=20))
def test_what_is_counted_is_exact_at_any_mix_of_scales(rows):
    """Every trade is counted to the last digit."""
    kt = table("1m")
    for i, (price, size) in enumerate(rows):
        kt.add(trades((i, price, size)))

    own = [Trade("BTCUSDT", T0 + i, price, size) for i, (price, size) in enumerate(rows)]
    assert [values(k) for k in kt.close_until(T0 + MINUTE)] == candles(own, MINUTE, T0 + MINUTE)


@settings(max_examples=80, deadline=None)
@given(streams, st.integers(1, 8), st.booleans(), st.booleans())
def test_numbers_of_any_size_equal_the_decimal_reference(rows, cut, inverse, tick):
    """From 1e-25 to 1e27, mixed with usual ones, in two symbols, at every interval, linear and inverse."""
    now, steps, kt, klines = 0, [], table("1s", "5s", "1m", "3m", arithmetic=Arithmetic(is_inverse=inverse)), []
    for gap, price, size, symbol in rows:
        now += gap
        steps.append((now, price, size, symbol))
    for first in range(0, len(steps), cut):
        if tick:
            klines += kt.close_until(T0 + steps[first][0])
        klines += kt.add(trades(*steps[first : first + cut]))
        kt.open_klines()
    until = T0 + now + 10 * MINUTE
    klines += kt.close_until(until)
    for symbol in {row[3] for row in steps}:
        own = [Trade(symbol, T0 + ms, price, size) for ms, price, size, name in steps if name == symbol]
        for step_ms in (1_000, 5_000, MINUTE, 3 * MINUTE):
            got = [values(k) for k in klines if k.symbol == symbol and k.interval == step_ms]

            assert candles(own, step_ms, until, inverse) == got
    assert kt.counts.refused == 0


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20_000), numbers, numbers), min_size=2, max_size=20),
    st.randoms(use_true_random=False),
)
def test_late_trades_of_any_size_end_at_the_reference(rows, random):
    """Delivered in any order within the window of revision."""
    now, by_ms = 0, {}
    for gap, price, size in rows:
        now = min(now + gap, 2 * MINUTE - 1)
        by_ms[now] = (now, price, size)
    first, *others = by_ms.values()
    random.shuffle(others)
    kt = table("30s", "1m", "3m")
    klines = kt.add(trades(first))
    for row in others:
        klines += kt.add(trades(row))
    klines += kt.close_until(T0 + 9 * MINUTE)
    own = [Trade("BTCUSDT", T0 + ms, price, size) for ms, price, size in by_ms.values()]
    for step_ms in (30_000, MINUTE, 3 * MINUTE):
        latest = {k.timestamp: values(k) for k in klines if k.interval == step_ms}

        assert candles(own, step_ms, T0 + 9 * MINUTE) == [latest[start] for start in sorted(latest)]


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("batch", [1_000, 40_000])
@pytest.mark.parametrize(
    ("price", "size"), [("0.00001234", "99999999999999"), ("9999999999.99", "99999999999.99"), ("0.000001", "1e13")]
)
def test_sums_beyond_an_integer_of_the_machine_do_not_wrap(price, size, batch, inverse):
    """In one batch, over many, and in the longer interval alone; the neighbour's candle is not concerned."""
    price, size, count = Decimal(price), Decimal(size), 120_000
    kt, klines, begin = table("1m", "1h", arithmetic=Arithmetic(is_inverse=inverse)), [], -T0 % HOUR
    for first in range(0, count, batch):
        rows = [(begin + n * 25, price, size) for n in range(first, first + batch)]
        klines += kt.add(trades(*rows, (rows[-1][0], 2, 3, "B")))
    klines += kt.close_until(T0 + begin + HOUR)
    own = [k for k in klines if k.symbol == "BTCUSDT" and k.trade_count]
    trade = Trade("BTCUSDT", T0, price, size)

    for length, traded in ((MINUTE, 2_400), (HOUR, count)):
        sums = sums_of([trade] * traded, inverse)
        assert {(k.volume, k.turnover, k.trade_count) for k in own if k.interval == length} == {(*sums, traded)}
    assert {k.high for k in klines if k.symbol == "B"} == {2}


def test_only_the_symbol_concerned_leaves_the_machines_integers():
    """What a symbol showed once decides about its numbers alone."""
    left: list[int] = []
    symbols = Symbols(lambda _rows: None, lambda *_: True, left.append)
    rows = symbols.rows(["A", "B", "A", "B"])
    units = symbols.units(rows, np.array([100000.5, 7, 1e-25, 8]), np.array([1.25, 7, 1, 8]))

    assert (left, symbols.is_wide.tolist()) == ([0], [True, False])
    assert [units[0][i] // units[0][2] for i in (0, 2)] == [1000005 * 10**24, 1]
    usual = symbols.units(rows[1:2], np.array([9.0]), np.array([9.0]))
    assert (usual.dtype, usual.tolist()) == (np.int64, [[9], [9]])


def test_a_repeated_trade_that_no_int64_holds_changes_nothing_for_the_others_of_its_message():
    """They are counted where all of their symbol is: one kline of each window, with every trade."""
    kt = table("1m")
    large = trades((1, 1e-25, 1e25, "A"))
    large.ids = ["a"]
    both = trades((1, 1e-25, 1e25, "A"), (2, 7, 3, "B"))
    both.ids = ["a", "b"]
    usual = trades((3, 8, 1, "B"))
    usual.ids = ["c"]
    klines = [k for batch in (large, both, usual) for k in kt.add(batch)] + kt.close_until(T0 + MINUTE)

    assert [(k.symbol, k.high, k.volume, k.trade_count) for k in klines if k.symbol == "B"] == [("B", 8, 4, 2)]


def test_a_symbol_that_went_begins_anew_as_a_usual_one():
    """What it once showed is forgotten with its windows."""
    kt = table("1m")
    kt.feed.up(["A"], T0)
    kt.add(trades((1, 1e-25, 1e25, "A"), (1, 1, 1, "B")))
    kt.feed.drop(["A"])
    kt.feed.down(["A"], T0 + 2)
    kt.feed.drop([], ["A"])
    kt.feed.up(["A"], T0 + MINUTE)
    klines = kt.add(trades((MINUTE + 1, "7.5", 3, "A"))) + kt.close_until(T0 + 2 * MINUTE)

    assert [(k.low, k.high, k.volume) for k in klines if k.symbol == "A"] == [(Decimal("7.5"), Decimal("7.5"), 3)]
    assert not kt.symbols.has_wide


def test_one_odd_trade_does_not_shut_out_the_ones_after_it():
    """Nor is it shut out itself."""
    kt = table("1m")
    kt.add(trades((0, "100000.5", "1.25")))
    kt.add(trades((1, "0.00000000001", "1"), (2, "100000.5", "0.00000000000001")))
    kt.add(trades((3, "120000.5", "300")))

    (kline,) = kt.close_until(T0 + MINUTE)

    assert (kline.trade_count, kline.close, kt.counts.refused) == (4, Decimal("120000.5"), 0)
    assert (kline.low, kline.volume) == (Decimal("0.00000000001"), Decimal("302.25000000000001"))


@pytest.mark.parametrize("are_known", [True, False])
def test_numbers_of_more_digits_than_a_double_has(are_known):
    """They are counted where their text is at hand; else the trade is refused, and its kline is not complete."""
    rows = [("12345678901234567.89", "0.1000000000000000055"), ("5", "7"), ("5", "12345678901234567.8912345")]
    kt, batch = table("1m"), trades((-MINUTE, 5, 5), *((n, *row) for n, row in enumerate(rows)))
    kt.feed.up(["BTCUSDT"], T0 - MINUTE - 1)
    if are_known:
        batch.written = lambda: [(Decimal(price), Decimal(size)) for price, size in (("5", "5"), *rows)]
    kt.add(batch)
    kline = kt.close_until(T0 + MINUTE)[-1]

    own = [Trade("", T0, Decimal(price), Decimal(size)) for price, size in (rows if are_known else rows[1:2])]
    assert (kline.volume, kline.turnover) == sums_of(own)
    assert (kline.trade_count, kline.complete) == (len(own), are_known)


@pytest.mark.parametrize(
    ("numbers", "inverse"),
    [
        (("1", "99999999999999999999.5", "0.1", "1e19", "99999999999999999999.5", "1e40"), False),
        (("1", "2", "1", "1.000000000000000000000000000001", "9223372036854775807", "9223372036854775808.25"), False),
        (("1", "2", "1", "1.5", "3.5", "0.000000000000000000000000000000001"), False),
        (("1", "2", "1", "1.5", "9e16", "3"), False),
        (("1", "2", "1", "1.5", "1e25", "1e25"), True),
        (("1", "2", "1", "1.5", "3.5", "0.000000000000000001"), True),
    ],
)
def test_a_candle_of_the_exchange_is_taken_as_it_is(numbers, inverse):
    """However many digits it has, and whatever is counted after it."""
    kt, numbers = table("1m", "1h", arithmetic=Arithmetic(is_inverse=inverse)), tuple(map(Decimal, numbers))
    kt.add(trades((0, 1, 1)))
    (kline,) = kt.close_until(T0 + MINUTE)

    revised = kt.correct(kline, Candle(T0, *numbers))
    klines = kt.add(trades(*[(MINUTE + n, 2, 10**12) for n in range(100)])) + kt.close_until(T0 + 2 * MINUTE)

    six = [(k.open, k.high, k.low, k.close, k.volume, k.turnover, k.source, k.revision) for k in revised]
    assert six == [(*numbers, "exchange", 1)]
    assert [k.volume for k in klines] == [10**14]


def flat_candle(start_ms, volume):
    one = Decimal(1)
    return Candle(start_ms, one, one, one, one, Decimal(volume), Decimal(volume))


def test_many_candles_of_the_exchange_do_not_slow_a_symbol_down():
    """What they hold is not added up over windows that are long over; one that is too large is another thing."""
    kt = table("1m")
    kt.add(trades((0, 1.5, 1.5)))
    (kline,) = kt.close_until(T0 + MINUTE)
    for _ in range(1_000):
        kt.correct(kline, flat_candle(T0, 10**13))
    assert not kt.symbols.has_wide
    kt.add(trades((MINUTE, 1, 1)))
    (kline, *_) = kt.close_until(T0 + 2 * MINUTE)
    kt.correct(kline, flat_candle(T0 + MINUTE, 10**18))
    assert kt.symbols.has_wide


def test_a_kline_whose_window_is_not_there_is_corrected_once_for_each_value():
    """Two that ask know the same revision; the second goes out above the first, or not at all where nothing changes."""
    kt, of_an_earlier_run = table("1m"), table("1m")
    of_an_earlier_run.add(trades((0, 1.5, 1.5)))
    (kline,) = of_an_earlier_run.close_until(T0 + MINUTE)

    revisions = [[k.revision for k in kt.correct(kline, flat_candle(T0, volume))] for volume in (7, 7, 8, 7, 7)]

    assert revisions == [[1], [], [2], [3], []]


def test_a_kline_that_was_revised_and_forgotten_meanwhile_is_corrected_above_that():
    """What asked for the correction knew the revision of before."""
    kt = table("1m")
    kt.add(trades((0, 1.5, 1)))
    flat = kt.close_until(T0 + 3 * MINUTE)[1]
    kt.add(trades((30_000, 2.5, 1)))
    kt.close_until(T0 + 60 * MINUTE)

    assert [k.revision for k in kt.correct(flat, flat_candle(T0 + MINUTE, 0))] == [2]


def test_past_trades_that_cannot_be_counted_prove_nothing():
    """A gap is not filled where one of its trades has a number that is not certain."""
    gaps: list[FeedGap] = []
    kt = table("1m", on_gap=gaps.append)
    kt.feed.up(["BTCUSDT"], T0 - MINUTE)
    before, after = trades((-MINUTE + 1, 10, 1)), trades((40, 10, 1))
    before.ids, after.ids = ["before"], ["after"]
    kt.add(before)
    kt.feed.down(["BTCUSDT"], T0 + 10)
    kt.feed.up(["BTCUSDT"], T0 + 30)
    kt.add(after)
    known = [past_trade(T0 - MINUTE, trade_id="old"), past_trade(T0 - MINUTE + 1, trade_id="before")]
    newest = past_trade(T0 + 40, 10.0, trade_id="after")

    assert kt.insert_trades(gaps[-1], [*known, past_trade(T0 + 20, 1 / 3, 1.0, "lost"), newest], T0 + 50) is None
    assert kt.insert_trades(gaps[-1], [*known, past_trade(T0 + 20, 1e-25, 1e25, "lost"), newest], T0 + 50) is not None
    kline = kt.close_until(T0 + MINUTE)[-1]
    assert (kline.low, kline.volume, kline.complete) == (Decimal("1e-25"), 10**25 + 1, True)


def test_past_trades_of_more_digits_than_a_double_has_make_no_candle():
    """What such a window was is not known, nor the next one, which opens at it."""
    past = [past_trade(T0 - 1), past_trade(T0, 1 / 3), past_trade(T0 + MINUTE, 5.0), past_trade(T0 + 2 * MINUTE, 5.5)]
    windows = [(T0 + n * MINUTE, T0 + (n + 1) * MINUTE) for n in range(3)]

    assert list(candles_of_trades(past, windows, PLAIN)) == [T0 + 2 * MINUTE]


def test_sums_of_many_digits_are_not_rounded_between_two_runs():
    """Decimal's own arithmetic rounds at 28 digits."""
    past = [
        past_trade(T0 - 1),
        past_trade(T0, 1e-14, 1e15),
        past_trade(T0 + 1, 1e15, 1e-14),
        past_trade(T0 + 2, 1e15, 1e15),
    ]
    (candle,) = candles_of_trades(past, [(T0, T0 + MINUTE)], PLAIN).values()
    parts = {T0: candle, T0 + MINUTE: Candle(T0 + MINUTE, *[Decimal("1e-20")] * 6)}
    two = rolled_up(parts, T0, T0 + 2 * MINUTE, MINUTE)

    assert candle.volume == Decimal("2000000000000000.00000000000001")
    assert candle.turnover == Decimal(10**30 + 20)
    assert two
    assert two.volume == Decimal("2000000000000000.00000000000001000001")
    assert two.turnover == Decimal("1000000000000000000000000000020.00000000000000000001")
