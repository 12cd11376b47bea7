"""The table of klines, against the obvious reference and rule by rule."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation.klines.table import KlineTable
from model.intervals import parse_interval
from model.records import Kline, TradeBatch
from tests.support.arithmetic import FIRST_TRADE
from tests.unit.aggregation.reference import Row, Trade, candles

T0 = 1_700_000_040_000  # a full minute
MINUTE = 60_000


def table(*names: str, **options) -> KlineTable:
    return KlineTable([parse_interval(name) for name in names], **options)


def trades(*rows: tuple[Any, ...]) -> TradeBatch:
    """Rows of (ms after T0, price, size[, symbol[, seq]])."""
    full = [(row + ("BTCUSDT", 0)[len(row) - 3 :]) for row in rows]
    return TradeBatch(
        symbols=[row[3] for row in full],
        event_ms=[T0 + row[0] for row in full],
        prices=[float(row[1]) for row in full],
        sizes=[float(row[2]) for row in full],
        seqs=[row[4] for row in full],
        ids=["" for _ in full],
    )


def values(kline: Kline) -> Row:
    return (
        kline.timestamp,
        kline.open,
        kline.high,
        kline.low,
        kline.close,
        kline.volume,
        kline.turnover,
        kline.trade_count,
    )


def ohlc(kline: Kline) -> tuple[float, ...]:
    return tuple(float(v) for v in (kline.open, kline.high, kline.low, kline.close))


prices = st.decimals("0.0001", "99999", places=4)
sizes = st.decimals("0.000001", "100000", places=6)
streams = st.lists(
    st.tuples(st.integers(0, 90_000), prices, sizes, st.sampled_from(["A", "B"])), min_size=1, max_size=60
)


@settings(max_examples=150, deadline=None)
@given(streams, st.lists(st.integers(1, 20), max_size=8), st.booleans())
def test_table_equals_the_decimal_reference(rows, cuts, tick):
    """However trades are cut into batches, every window of every interval equals the reference to the last digit."""
    steps, now = [], 0
    for gap, price, size, symbol in rows:
        now += gap
        steps.append(Trade(symbol, T0 + now, price, size))
    klines, kt, position = [], table("1s", "5s", "1m", "3m", "5m"), 0
    for cut in [*cuts, len(steps)]:
        batch = steps[position : position + cut]
        position += cut
        if batch:
            if tick:
                klines += kt.close_until(batch[0].event_ms)
            klines += kt.add(
                TradeBatch(
                    [t.symbol for t in batch],
                    [t.event_ms for t in batch],
                    [float(t.price) for t in batch],
                    [float(t.size) for t in batch],
                    [0] * len(batch),
                    [""] * len(batch),
                )
            )
    until = steps[-1].event_ms + 10 * MINUTE
    klines += kt.close_until(until)
    for symbol in {t.symbol for t in steps}:
        own = [t for t in steps if t.symbol == symbol]
        for step_ms in (1_000, 5_000, MINUTE, 3 * MINUTE, 5 * MINUTE):
            got = [values(k) for k in klines if k.symbol == symbol and k.interval == step_ms]

            assert candles(own, step_ms, until) == got


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20_000), prices, sizes), min_size=2, max_size=30),
    st.randoms(use_true_random=False),
)
def test_late_trades_end_at_the_reference(rows, random):
    """Delivered in any order within the window of revision, the last revision of every candle is the right one."""
    now, steps = 0, []
    for gap, price, size in rows:
        now = min(now + gap, 2 * MINUTE - 1)
        steps.append((now, price, size))
    steps = [(ms, *rest) for ms, rest in {ms: rest for ms, *rest in steps}.items()]
    first, *others = steps
    random.shuffle(others)
    kt = table("30s", "1m", "3m")
    klines = kt.add(trades(first))
    for row in others:
        klines += kt.add(trades(row))
    klines += kt.close_until(T0 + 9 * MINUTE)
    own = [Trade("BTCUSDT", T0 + ms, price, size) for ms, price, size in steps]
    for step_ms in (30_000, MINUTE, 3 * MINUTE):
        latest = {k.timestamp: values(k) for k in klines if k.interval == step_ms}

        assert candles(own, step_ms, T0 + 9 * MINUTE) == [latest[start] for start in sorted(latest)]


def test_open_is_the_previous_close_and_inside_high_and_low():
    """Bybit's rule: a candle opens at the close before it, and its high and low include that price."""
    kt = table("1m")
    kt.add(trades((0, 10, 1), (1, 12, 1)))
    kt.add(trades((MINUTE, 8, 1), (MINUTE + 1, 9, 1)))

    (kline,) = kt.close_until(T0 + 2 * MINUTE)

    assert ohlc(kline) == (12, 12, 8, 9)


def test_first_trade_rule_opens_at_the_first_trade():
    """KLINE_OPEN=first_trade: open, high and low come from the window's own trades alone."""
    kt = table("1m", arithmetic=FIRST_TRADE)
    kt.add(trades((0, 10, 1), (1, 12, 1), (MINUTE, 8, 1), (MINUTE + 1, 9, 1)))

    (kline,) = kt.close_until(T0 + 2 * MINUTE)

    assert ohlc(kline) == (8, 9, 8, 9)


def test_window_without_trades_is_flat():
    """No trade, and a feed that was alive: open, high, low and close are the previous close, volume 0."""
    kt = table("1m")
    kt.feed.up(["BTCUSDT"], T0)
    kt.add(trades((0, 10, 1)))

    flat = kt.close_until(T0 + 3 * MINUTE)[1]

    assert ohlc(flat) == (10, 10, 10, 10)
    assert (flat.volume, flat.trade_count, flat.complete) == (0, 0, True)


def test_equal_ids_of_two_symbols_are_two_trades():
    """In one batch, and again in the next: each symbol counts its own, and only its own duplicate is left out."""
    kt, batch = table("1m"), trades((0, 10, 1, "A"), (0, 20, 1, "B"))
    batch.ids = ["1", "1"]
    kt.add(batch)
    kt.add(batch)

    assert [(k.symbol, k.close, k.trade_count) for k in kt.close_until(T0 + MINUTE)] == [("A", 10, 1), ("B", 20, 1)]
    assert kt.counts.duplicates == 2


def test_later_trade_closes_the_window_without_the_clock():
    """The first trade of the next window proves the last one over."""
    kt = table("1m")
    kt.add(trades((0, 10, 1)))

    (kline,) = kt.add(trades((MINUTE, 11, 1)))

    assert kline.timestamp == T0


def test_three_and_five_minutes_share_a_base_that_is_not_published():
    """3m with 5m are rolled up from a minute that is not sent itself."""
    kt = table("3m", "5m")
    kt.add(trades(*((i * MINUTE, 10 + i, 1) for i in range(31))))

    assert {3 * MINUTE, 5 * MINUTE} == {k.interval for k in kt.close_until(T0 + 60 * MINUTE)}


def test_late_trade_reissues_the_candle():
    """A trade that comes after its window closed sends the window again, revision one higher."""
    kt = table("1m")
    kt.add(trades((0, 10, 1)))
    kt.close_until(T0 + MINUTE)

    (kline,) = kt.add(trades((5, 14, 2)))

    assert (kline.close, kline.revision, kline.trade_count) == (14, 1, 2)
    assert kt.counts.late_amended == 1


def test_late_trade_moves_the_open_of_the_candle_after_it():
    """A changed close is the next candle's open: that one is sent again too."""
    kt = table("1m")
    kt.add(trades((0, 10, 1), (MINUTE, 11, 1)))
    kt.close_until(T0 + 2 * MINUTE)

    first, second = kt.add(trades((9, 14, 1)))

    assert (first.close, first.revision) == (14, 1)
    assert (second.open, second.high, second.revision) == (14, 14, 1)


def test_late_trade_of_a_forgotten_window_is_counted():
    """Too late to correct anything: dropped, and counted."""
    kt = table("1m")
    kt.add(trades((0, 10, 1), (30 * MINUTE, 11, 1)))
    kt.close_until(T0 + 60 * MINUTE)

    assert kt.add(trades((5 * MINUTE, 14, 2))) == []
    assert kt.counts.late_dropped == 1


def test_trades_of_one_millisecond_close_by_sequence():
    """Equal match times: the higher cross sequence is the later trade, however they arrive."""
    kt = table("1m")
    kt.add(trades((5, 14, 1, "BTCUSDT", 8)))
    kt.add(trades((5, 13, 1, "BTCUSDT", 7)))

    (kline,) = kt.close_until(T0 + MINUTE)

    assert kline.close == 14


def test_finer_ticks_keep_what_was_counted():
    """A price with more decimals than before rescales the symbol: no digit is lost."""
    kt = table("1m")
    kt.add(trades((0, 10, 1), (1, 11.5, 2)))
    kt.add(trades((2, 10.0025, 0.000001)))

    (kline,) = kt.close_until(T0 + MINUTE)

    assert Decimal("3.000001") == kline.volume
    assert Decimal("33.0000100025") == kline.turnover


def test_turnover_passes_64_bits_exactly():
    """A month of a busy pair overflows one integer and must not be rounded."""
    kt = table("1h")
    price, size = Decimal("98765.43"), Decimal("8765.432109")
    for i in range(3_000):
        kt.add(trades((i, price, size)))

    (kline,) = kt.close_until(T0 + 60 * MINUTE)

    assert price * size * 3_000 == kline.turnover


@pytest.mark.parametrize(
    ("price", "size"),
    [(-1, 1), (1, -1), (1, 0), (float("nan"), 1), (float("inf"), 1), (1e300, 1), (1, 1.1e30), (9e-31, 1), (1 / 3, 1)],
)
def test_impossible_trade_is_refused_and_admitted(price, size):
    """Garbage is not counted, is reported, and its candle no longer claims to be complete."""
    causes = []
    kt = table("1m", report=lambda cause, _sample: causes.append(cause))
    kt.feed.up(["BTCUSDT"], T0 - MINUTE)
    kt.add(trades((-MINUTE, 10, 1), (0, 10, 1)))
    kt.add(trades((1, price, size)))

    (kline,) = kt.close_until(T0 + MINUTE)

    assert (causes, kline.trade_count, kline.complete) == (["bad_trade"], 1, False)


def test_first_candle_is_not_complete_and_the_second_is():
    """Trades of a window before the connection were not seen."""
    kt = table("1m", "5m")
    kt.feed.up(["BTCUSDT"], T0 + 10)
    kt.add(trades((20, 10, 1), (MINUTE, 11, 1)))

    minutes = [k for k in kt.close_until(T0 + 10 * MINUTE) if k.interval == MINUTE]
    fives = [k for k in kt.close_until(T0 + 20 * MINUTE) if k.interval == 5 * MINUTE]

    assert minutes[0].complete
    assert fives


def test_gap_makes_candles_incomplete_from_its_begin_to_its_end():
    """Between the last sign of life and the reconnect nothing is proven; before and after it is."""
    kt = table("1m")
    kt.feed.up(["BTCUSDT"], T0 - MINUTE)
    kt.add(trades((-MINUTE, 10, 1)))
    klines = kt.close_until(T0 + MINUTE)
    klines += kt.feed.down(["BTCUSDT"], T0 + MINUTE + 5)
    klines += kt.close_until(T0 + 2 * MINUTE)
    kt.feed.up(["BTCUSDT"], T0 + 3 * MINUTE + 5)
    klines += kt.add(trades((3 * MINUTE + 6, 10, 1)))
    klines += kt.close_until(T0 + 6 * MINUTE)

    assert {(k.timestamp - T0) // MINUTE: k.complete for k in klines if k.timestamp >= T0} == {
        0: True,
        1: False,
        2: False,
        3: False,
        4: True,
        5: True,
    }


def test_gap_found_later_takes_back_what_was_called_complete():
    """A stall is noticed after candles over it have closed: they are sent again as incomplete."""
    kt = table("1m")
    kt.feed.up(["BTCUSDT"], T0 - MINUTE)
    kt.add(trades((-MINUTE, 10, 1)))
    kt.close_until(T0 + MINUTE)

    (kline,) = kt.feed.down(["BTCUSDT"], T0 + 30_000)

    assert (kline.timestamp, kline.complete, kline.revision) == (T0, False, 1)


def test_second_connection_keeps_the_feed_alive():
    """Losing one of two connections proves nothing lost."""
    kt = table("1m")
    kt.feed.up(["BTCUSDT"], T0 - MINUTE)
    kt.feed.up(["BTCUSDT"], T0 - MINUTE)
    kt.add(trades((-MINUTE, 10, 1)))
    kt.feed.down(["BTCUSDT"], T0 + 5)

    assert kt.close_until(T0 + MINUTE)[-1].complete


def test_overflow_marks_every_symbol():
    """Dropped payloads could have been anybody's."""
    kt = table("1m")
    kt.feed.up(["A", "B"], T0 - MINUTE)
    kt.add(trades((-MINUTE, 10, 1, "A"), (-MINUTE, 10, 1, "B")))
    kt.close_until(T0)
    kt.feed.mark_lost(T0 + 1, T0 + 2)
    kt.add(trades((3, 10, 1, "A"), (3, 10, 1, "B")))

    klines = kt.close_until(T0 + 2 * MINUTE)

    assert {("A", False), ("B", False)} == {(k.symbol, k.complete) for k in klines if k.timestamp == T0}
    assert {("A", True), ("B", True)} == {(k.symbol, k.complete) for k in klines if k.timestamp > T0}


def test_event_clock_closes_by_trades_alone():
    """In a replay the wall does not count; a gap reaches to the first trade after it."""
    kt = table("1m", event_clock=True)
    kt.feed.up(["BTCUSDT"], 2 * T0)
    klines = kt.add(trades((0, 10, 1), (MINUTE, 11, 1), (3 * MINUTE, 12, 1)))
    klines += kt.feed.down(["BTCUSDT"], 2 * T0)
    kt.feed.up(["BTCUSDT"], 2 * T0)
    klines += kt.add(trades((5 * MINUTE + 1, 12, 1), (7 * MINUTE, 12, 1)))

    assert kt.close_until(3 * T0) == []
    assert [k.complete for k in klines] == [False, True, True, False, False, False, True]


def test_month_and_week_follow_the_calendar():
    """1w closes on Monday, 1M on the first, both rolled up from days."""
    day = 86_400_000
    kt = table("1w", "1M")
    start = 1_706_745_600_000  # 2024-02-01, a Thursday
    klines = []
    for i in range(40):
        klines += kt.add(trades((start - T0 + i * day, 10 + i, 1)))

    assert [1_707_091_200_000 - 7 * day, 1_707_091_200_000] == [k.timestamp for k in klines if k.interval == 7 * day][
        :2
    ]
    assert [(start, 29 * day, 29)] == [
        (k.timestamp, k.interval, k.trade_count) for k in klines if k.interval == 29 * day
    ]


def test_symbol_silent_for_too_long_starts_anew():
    """A hole of a million windows is not filled one by one; what follows it is not called complete."""
    kt = table("1s", event_clock=True)
    kt.add(trades((0, 10, 1), (1000, 10, 1)))

    klines = kt.add(trades((10**9, 11, 1), (10**9 + 1000, 11, 1)))

    assert len(klines) == 2
    assert (klines[-1].complete, kt.skipped_windows) == (False, 10**6 - 2)


def test_turnover_beyond_63_bits_is_exact():
    """A thousand large trades add up to more than one integer of the machine holds."""
    price, size = Decimal("999999.9999"), Decimal("99999.999999")
    many = table("1m")
    many.add(trades(*[(number, price, size) for number in range(1000)], (0, "0.0001", "0.000001", "B")))
    klines = {kline.symbol: kline for kline in many.close_until(T0 + MINUTE)}

    assert klines["BTCUSDT"].turnover == price * size * 1000 > Decimal(2**63).scaleb(-10)
    assert klines["B"].turnover == Decimal("0.0000000001")


def test_what_closes_together_leaves_in_batches_each_once():
    """The first batch can go out while the next is being made; it is the same klines in the same order."""
    rows = [(0, 100 + number, 1, f"S{number}") for number in range(5)]
    one, two = (table("1s", "2s", "1m", klines_at_once=3) for _ in range(2))
    one.add(trades(*rows))
    two.add(trades(*rows))
    batches = list(one.closing(T0 + MINUTE))

    assert len(batches) > 2
    assert [kline for batch in batches for kline in batch] == two.close_until(T0 + MINUTE)
    assert one.counts == two.counts
