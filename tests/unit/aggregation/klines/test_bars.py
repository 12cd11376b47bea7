"""Bars: exact products, and merging that does not depend on how trades were cut into bars."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation.klines import bars as b
from aggregation.klines.windows import turnover_of

factors = st.integers(0, 2**50 - 1)
traded = st.tuples(
    st.integers(0, 2),  # row
    st.integers(0, 3),  # window
    st.integers(0, 9),  # ms
    st.integers(0, 3),  # sequence
    st.integers(1, 2**50 - 1),
    st.integers(1, 2**50 - 1),
)


def ints(values):
    return np.array(list(values), np.int64)


def bars_of(rows):
    row, start, ms, seq, price, size = (ints(column) for column in zip(*rows, strict=True))
    return b.bars_of_trades(row, start * 10, start * 10 + ms, seq, price, size)


def as_plain(bars):
    """(row, start) -> everything a candle is made of, in Python integers."""
    out = {}
    for bar in bars.T.tolist():
        turnover = turnover_of(bar[b.TURNOVER_HIGH], bar[b.TURNOVER_LOW])
        out[bar[b.ROW], bar[b.START]] = (
            *(bar[c] for c in (b.FIRST, b.HIGH, b.LOW, b.CLOSE, b.VOLUME, b.COUNT)),
            turnover,
        )
    return out


def reference(rows):
    out = {}
    for key in sorted({(row, start * 10) for row, start, *_ in rows}):
        inside = [r for r in rows if (r[0], r[1] * 10) == key]
        inside.sort(key=lambda r: (r[2], r[3]))  # stable: equal ones stay in stream order
        prices, sizes = [r[4] for r in inside], [r[5] for r in inside]
        out[key] = (
            prices[0],
            max(prices),
            min(prices),
            prices[-1],
            sum(sizes),
            len(inside),
            sum(p * s for p, s in zip(prices, sizes, strict=True)),
        )
    return out


@given(st.lists(st.tuples(factors, factors), min_size=1, max_size=20))
def test_products_are_exact_up_to_a_hundred_bits(pairs):
    """Two limbs hold what 64 bits do not."""
    high, low = b.products(ints(p for p, _ in pairs), ints(s for _, s in pairs))

    assert [turnover_of(h, lo) for h, lo in zip(high.tolist(), low.tolist(), strict=True)] == [p * s for p, s in pairs]
    assert low.min() >= 0
    assert low.max() < 2**b.LIMB_BITS


@settings(deadline=None)
@given(st.lists(traded, min_size=1, max_size=40))
def test_bars_of_trades_equal_plain_python(rows):
    """One bar per symbol and window, whatever the order of arrival."""
    assert as_plain(bars_of(rows)) == reference(rows)


@settings(deadline=None)
@given(st.lists(traded, min_size=2, max_size=40), st.integers(1, 39))
def test_merging_equals_counting_at_once(rows, cut):
    """Trades counted in two batches and merged are the trades counted in one."""
    first, second = rows[:cut], rows[cut:]
    if not second:
        return
    parts = np.concatenate((bars_of(first), bars_of(second)), axis=1)
    merged, _ = b.merge(parts, parts[b.START])

    assert as_plain(merged) == reference(rows)


@settings(deadline=None)
@given(st.lists(traded, min_size=1, max_size=40), st.lists(traded, min_size=1, max_size=40))
def test_adding_bar_to_bar_is_merging_them(rows, more):
    """Column by column, whichever of the two came first or is empty."""
    bars, later = bars_of(rows), bars_of(more)
    for one, other in ((bars, later), (b.empty_bars(later[b.ROW], later[b.START]), later)):
        keys = list(zip(one[b.ROW], one[b.START], strict=True))
        others = enumerate(zip(other[b.ROW], other[b.START], strict=True))
        pairs = [(keys.index(key), i) for i, key in others if key in keys]
        left, right = one[:, [i for i, _ in pairs]], other[:, [i for _, i in pairs]]
        if pairs:
            merged, _ = b.merge(np.concatenate((left, right), axis=1), np.tile(left[b.START], 2))

            assert b.added(left, right).tolist() == merged.tolist()


@settings(deadline=None)
@given(st.lists(traded, min_size=1, max_size=40))
def test_empty_bars_change_nothing(rows):
    """A bar without trades only shows that the window exists."""
    bars = bars_of(rows)
    empty = b.empty_bars(bars[b.ROW], bars[b.START])
    merged, _ = b.merge(np.concatenate((empty, bars, empty), axis=1), np.tile(bars[b.START], 3))

    assert as_plain(merged) == as_plain(bars)


def test_merge_returns_the_latest_part_of_each_window():
    """It is what shows that the last child of a window has come."""
    parts = b.empty_bars(ints([0, 0, 1]), ints([0, 60, 60]))
    merged, last = b.merge(parts, ints([0, 0, 60]))

    assert (merged[b.START].tolist(), last.tolist()) == ([0, 60], [60, 60])


@pytest.mark.parametrize(("rows", "expected"), [([5], [0]), ([1, 1, 2, 2, 2], [0, 2]), ([1, 2, 3], [0, 1, 2])])
def test_segments_begin_where_the_key_changes(rows, expected):
    """For reduceat: the index of each run's first."""
    assert b.segments(ints(rows), ints([0] * len(rows))).tolist() == expected
