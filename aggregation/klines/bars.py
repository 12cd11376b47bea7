"""Bars: the trades of a window summed up, as columns of one integer matrix.

Pure numpy. A matrix of shape (COLUMNS, n) holds n bars, one per column index. Prices are ticks, sizes lots
(integers, see decimals.py), so that sums are exact; turnover is held in two limbs. int64 for nearly all symbols; the
same in Python's integers (dtype object) for those whose numbers it does not hold. Nothing here checks for overflow:
see rollup.IntervalRollup.ensure_headroom.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

# The columns. Sums stand together, so that one reduceat does them all.
ROW, START, FIRST, HIGH, LOW, CLOSE = 0, 1, 2, 3, 4, 5
FIRST_MS, FIRST_SEQ, LAST_MS, LAST_SEQ = 6, 7, 8, 9
VOLUME, TURNOVER_HIGH, TURNOVER_LOW, COUNT, COVERED_MS = 10, 11, 12, 13, 14
VERIFIED = 15
COLUMNS = 16
SUMS = slice(VOLUME, COVERED_MS + 1)

FAR = 2**62  # beyond every time, sequence and int64 price
WIDE_FAR = 2**1000  # beyond every price
LIMB_BITS = 40  # 2**22 trades of one go add up in the low limb before it must be carried
REST_DIGITS = 12  # figures of a quotient that are divided on their own where an int64 does not hold all
SHORT = 2**16
HALF_BITS = 25  # halves of a 50-bit factor
LIMB_MASK = 2**LIMB_BITS - 1
TENS = 10 ** np.arange(19)  # all that an int64 holds


def far_of(dtype: "np.dtype[Any] | type") -> int:
    """A number beyond every price in a matrix of this type."""
    return WIDE_FAR if np.dtype(dtype) == np.object_ else FAR


def ints(column: Ints) -> Ints:
    """Rows, starts or times of any matrix as int64: indexes, and what intervals take."""
    return column.astype(np.int64, copy=False)


def floats(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Prices or sizes as an array."""
    return np.frombuffer(struct.pack(f"{len(values)}d", *values))  # a third of the time of an array of the list


def int64s(values: Sequence[int], instead: int) -> Ints:
    """Times or sequence numbers as an array, with `instead` for what no int64 holds."""
    try:
        return np.fromiter(values, np.int64, len(values))  # a third quicker than an array of the list
    except OverflowError:
        return np.array([value if -FAR < value < FAR else instead for value in values], np.int64)


def empty_bars(rows: Ints, starts: Ints, dtype: "np.dtype[Any] | type" = np.int64) -> Ints:
    """Windows in which nothing was traded: count 0, high below and low above every price."""
    bars: Ints = np.zeros((COLUMNS, len(rows)), dtype)
    bars[ROW] = rows
    bars[START] = starts
    bars[HIGH] = -far_of(dtype)
    bars[LOW] = far_of(dtype)
    bars[FIRST_MS] = FAR
    bars[LAST_MS] = -1
    bars[VERIFIED] = 1
    return bars


def bars_of_trades(
    rows: Ints,
    starts: Ints,
    ms: Ints,
    seq: Ints,
    prices: Ints,
    sizes: Ints,
    digits: Ints | None = None,
    matches: Ints | None = None,
) -> Ints:
    """Bars of the given trades (equal lengths, n > 0), one per row and start, sorted by both.

    Within a bar the order is (time, seq, position). Prices and sizes are below 2**50, or Python's integers.
    Turnover is price times size; of inverse contracts, whose size is money, what `quotients` make with `digits`.
    `matches` is how many each counts for; None: one.
    """
    given = rows, starts, ms, seq, prices, sizes
    order = _grouped(rows, starts)
    rows, starts, ms, seq, prices, sizes = (a[order] for a in given)
    if not _is_ordered(rows, starts, ms, seq):
        order = np.lexsort((given[3], given[2], given[1], given[0]))
        rows, starts, ms, seq, prices, sizes = (a[order] for a in given)
    first = segments(rows, starts)
    last = np.append(first[1:], len(rows)) - 1
    turnover_high, turnover_low = products(prices, sizes) if digits is None else quotients(prices, sizes, digits[order])
    bars: Ints = np.empty((COLUMNS, len(first)), prices.dtype)
    bars[ROW], bars[START] = rows[first], starts[first]
    bars[FIRST], bars[CLOSE] = prices[first], prices[last]
    bars[HIGH], bars[LOW] = np.maximum.reduceat(prices, first), np.minimum.reduceat(prices, first)
    bars[FIRST_MS], bars[FIRST_SEQ] = ms[first], seq[first]
    bars[LAST_MS], bars[LAST_SEQ] = ms[last], seq[last]
    bars[VOLUME] = np.add.reduceat(sizes, first)
    bars[TURNOVER_HIGH] = np.add.reduceat(turnover_high, first)
    bars[TURNOVER_LOW] = np.add.reduceat(turnover_low, first)
    bars[COUNT] = last - first + 1 if matches is None else np.add.reduceat(matches[order], first)
    bars[COVERED_MS] = 0
    bars[VERIFIED] = 1
    return bars


def products(prices: Ints, sizes: Ints) -> tuple[Ints, Ints]:
    """`prices * sizes` in two limbs; neither factor may reach 2**50."""
    if prices.dtype == object or int(prices.max()) * int(sizes.max()) < FAR:
        product = prices * sizes
        return product >> LIMB_BITS, product & LIMB_MASK
    half = (1 << HALF_BITS) - 1
    price_high, price_low, size_high, size_low = prices >> HALF_BITS, prices & half, sizes >> HALF_BITS, sizes & half
    cross = price_high * size_low + price_low * size_high
    shift = LIMB_BITS - HALF_BITS
    high = (price_high * size_high << 2 * HALF_BITS - LIMB_BITS) + (cross >> shift)
    low = price_low * size_low + ((cross & (1 << shift) - 1) << HALF_BITS)
    return high + (low >> LIMB_BITS), low & LIMB_MASK


def quotients(prices: Ints, sizes: Ints, digits: Ints) -> tuple[Ints, Ints]:
    """`sizes * 10**digits / prices`, each cut to an integer, in two limbs.

    Bybit's turnover of an inverse candle is the sum of size over price of its trades, each cut (not rounded) to 8
    decimals: so it was in candles and trade files of 2021 and 2022; no later ones were at hand. That is what comes out
    where `digits` are 8 and the difference of the scales. Divided as on paper, so that nothing leaves 64 bits.
    """
    if prices.dtype == object:
        return _whole_quotients(prices, sizes, digits)
    largest = float((sizes / prices * 10.0**digits).max())
    if largest < FAR:
        quotient, _ = _divided(prices, sizes, digits)
        return quotient >> LIMB_BITS, quotient & LIMB_MASK
    if largest >= 2.0**49 * 10.0**REST_DIGITS or int(digits.min()) < REST_DIGITS:
        return _whole_quotients(prices, sizes, digits)
    quotient, rest = _divided(prices, sizes, digits - REST_DIGITS)
    figures, _ = _divided(prices, rest, np.full(len(rest), REST_DIGITS))
    high, low = products(quotient, np.full(len(quotient), 10**REST_DIGITS))
    low += figures
    return high + (low >> LIMB_BITS), low & LIMB_MASK


def _whole_quotients(prices: Ints, sizes: Ints, digits: Ints) -> tuple[Ints, Ints]:
    """`quotients` in Python's integers."""
    given = zip(prices.tolist(), sizes.tolist(), digits.tolist(), strict=True)
    wide = [size * 10 ** max(n, 0) // (price * 10 ** max(-n, 0)) for price, size, n in given]
    high, low = [q >> LIMB_BITS for q in wide], [q & LIMB_MASK for q in wide]
    return np.array(high, prices.dtype), np.array(low, prices.dtype)


def _divided(prices: Ints, sizes: Ints, digits: Ints) -> tuple[Ints, Ints]:
    """Quotients that an int64 holds, and what is left of `sizes` after the last figure."""
    rest = sizes // TENS[np.maximum(-digits, 0)]
    left = np.maximum(digits, 0)
    quotient = rest // prices
    rest -= quotient * prices
    at_once = len(str((2**63 - 1) // int(prices.max()))) - 1  # a rest is less than its price
    while left.any():
        step = np.minimum(left, at_once)
        rest *= TENS[step]
        figures = rest // prices
        quotient = quotient * TENS[step] + figures
        rest -= figures * prices
        left -= step
    return quotient, rest


def added(bars: Ints, more: Ints) -> Ints:
    """`merge` of each bar with the one at the same place in `more`, which is of the same row and window and came later.

    It takes a sixth of the time of `merge`, for nothing is sorted.
    """
    later = (more[LAST_MS] > bars[LAST_MS]) | ((more[LAST_MS] == bars[LAST_MS]) & (more[LAST_SEQ] >= bars[LAST_SEQ]))
    earlier = more[FIRST_MS] < bars[FIRST_MS]
    earlier |= (more[FIRST_MS] == bars[FIRST_MS]) & (more[FIRST_SEQ] < bars[FIRST_SEQ])
    total = np.where(later, more, bars)
    for column in (FIRST, FIRST_MS, FIRST_SEQ):
        total[column] = np.where(earlier, more[column], bars[column])
    total[HIGH] = np.maximum(bars[HIGH], more[HIGH])
    total[LOW] = np.minimum(bars[LOW], more[LOW])
    total[SUMS] = bars[SUMS] + more[SUMS]
    total[VERIFIED] = bars[VERIFIED] & more[VERIFIED]
    return _carried(total)


def merge(bars: Ints, starts: Ints) -> tuple[Ints, Ints]:
    """Merge bars (n > 0) that share a row and one of `starts`, the windows they fall into.

    Returns the merged bars, sorted by row and start, and for each the largest START among its parts.
    The close is that of the latest trade, the first that of the earliest; bars without trades yield both.
    """
    order = np.lexsort((bars[LAST_SEQ], bars[LAST_MS], starts, bars[ROW]))
    given, bars, starts = bars, bars[:, order], starts[order]
    first = segments(bars[ROW], starts)
    last = np.append(first[1:], len(starts)) - 1
    merged = bars[:, last]
    merged[START] = starts[first]
    earliest = _earliest(bars, first, order)
    merged[FIRST], merged[FIRST_MS], merged[FIRST_SEQ] = given[[FIRST, FIRST_MS, FIRST_SEQ]][:, earliest]
    merged[HIGH] = np.maximum.reduceat(bars[HIGH], first)
    merged[LOW] = np.minimum.reduceat(bars[LOW], first)
    merged[SUMS] = np.add.reduceat(bars[SUMS], first, axis=1)
    merged[VERIFIED] = np.minimum.reduceat(bars[VERIFIED], first)
    return _carried(merged), ints(np.maximum.reduceat(bars[START], first))


def _carried(bars: Ints) -> Ints:
    bars[TURNOVER_HIGH] += bars[TURNOVER_LOW] >> LIMB_BITS
    bars[TURNOVER_LOW] &= LIMB_MASK
    return bars


def segments(rows: Ints, starts: Ints) -> Ints:
    """Positions at which a new (row, start) begins in arrays sorted by both."""
    changes = (rows[1:] != rows[:-1]) | (starts[1:] != starts[:-1])
    return np.concatenate((np.zeros(1, np.int64), np.flatnonzero(changes) + 1))


def _grouped(rows: Ints, starts: Ints) -> Ints:
    """The order by row and start, stable."""
    if (starts != starts[0]).any() or rows.max() >= SHORT:
        return np.lexsort((starts, rows))
    return np.argsort(rows.astype(np.uint16), kind="stable")  # by radix, which numpy does for 16 bits: half the time


def _is_ordered(rows: Ints, starts: Ints, ms: Ints, seq: Ints) -> bool:
    same = (rows[1:] == rows[:-1]) & (starts[1:] == starts[:-1])
    back = (ms[1:] < ms[:-1]) | ((ms[1:] == ms[:-1]) & (seq[1:] < seq[:-1]))
    return not bool((same & back).any())


def _earliest(bars: Ints, first: Ints, position: Ints) -> Ints:
    """Position of the bar with the earliest first trade in each segment, by (time, seq, position)."""
    lengths = np.diff(np.append(first, bars.shape[1]))
    candidates = np.ones(bars.shape[1], np.bool_)
    for key in (bars[FIRST_MS], bars[FIRST_SEQ]):
        lowest = np.minimum.reduceat(np.where(candidates, key, FAR), first)
        candidates &= key == np.repeat(lowest, lengths)
    return np.minimum.reduceat(np.where(candidates, position, FAR), first)
