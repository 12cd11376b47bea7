"""Closed windows as the records that leave the package. Pure."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from aggregation.klines import bars as b
from aggregation.klines.arithmetic import Arithmetic
from aggregation.klines.bars import Ints
from aggregation.klines.closed import CONTRACT, FROM_EXCHANGE, OPEN, REVISION
from aggregation.klines.decimals import exact, exact_all
from aggregation.klines.symbols import Symbols
from aggregation.klines.windows import IntervalWindows, turnover_of
from model.records import Kline

WIDE_LIMB = 2 ** (63 - b.LIMB_BITS) - 1  # a turnover whose high limb is at least this is left to Python's integers
SOURCES = ("trades", "exchange")


def klines_of(
    level: IntervalWindows, windows: Ints, symbols: Symbols, arithmetic: Arithmetic, sizes: Sequence[Decimal | None]
) -> list[Kline]:
    """One kline per window, in their order; `windows` has the shape (level.CLOSED_COLUMNS, n).

    `sizes` of contracts, by the index that windows have; where one is None volume and turnover stay those of contracts.
    """
    rows, starts = b.ints(windows[b.ROW]), b.ints(windows[b.START])
    lengths = level.interval.end_of(starts) - starts
    price_scales, size_scales = symbols.price_scale[rows], symbols.size_scale[rows]
    units = (windows[OPEN], *_high_low(level, windows), windows[b.CLOSE], windows[b.VOLUME])
    numbers = exact_all(np.concatenate(units), np.concatenate((*[price_scales] * 4, size_scales)))
    opens, highs, lows, closes, volumes = (numbers[i : i + len(rows)] for i in range(0, len(numbers), len(rows)))
    turnovers = _turnovers(windows, _turnover_scales(price_scales, size_scales, arithmetic))
    if arithmetic.is_raw:
        volumes, turnovers = _settled(windows, volumes, turnovers, arithmetic, sizes)
    return list(
        map(
            Kline,
            [symbols.names[row] for row in rows.tolist()],
            lengths.tolist(),
            starts.tolist(),
            opens,
            highs,
            lows,
            closes,
            volumes,
            windows[b.COUNT].tolist(),
            turnovers,
            ((windows[b.VERIFIED] == 1) & (windows[b.COVERED_MS] == lengths)).tolist(),
            [SOURCES[from_exchange] for from_exchange in windows[FROM_EXCHANGE].tolist()],
            windows[REVISION].tolist(),
        )
    )


def turnover_scale(price_scale: int, size_scale: int, arithmetic: Arithmetic) -> int:
    """The scale of the integer that `klines_of` makes a turnover from."""
    return arithmetic.quotient_digits if arithmetic.is_inverse else price_scale + size_scale


def _high_low(level: IntervalWindows, windows: Ints) -> tuple[Ints, Ints]:
    opens, traded = windows[OPEN], (windows[b.COUNT] > 0) | (windows[FROM_EXCHANGE] == 1)
    highs, lows = windows[b.HIGH], windows[b.LOW]
    if level.prev_close_opens:
        highs, lows = np.maximum(highs, opens), np.minimum(lows, opens)
    return np.where(traded, highs, opens), np.where(traded, lows, opens)


def _turnover_scales(price_scales: Ints, size_scales: Ints, arithmetic: Arithmetic) -> Ints:
    if not arithmetic.is_inverse:
        return price_scales + size_scales
    return np.full(len(price_scales), arithmetic.quotient_digits)


def _settled(
    windows: Ints,
    volumes: list[Decimal],
    turnovers: list[Decimal],
    arithmetic: Arithmetic,
    sizes: Sequence[Decimal | None],
) -> tuple[list[Decimal], list[Decimal]]:
    """Volumes and turnovers of contracts in the units of klines; those of the exchange are in them already."""
    columns = (windows[column].tolist() for column in (CONTRACT, FROM_EXCHANGE, b.COUNT))
    for i, (contract, from_exchange, count) in enumerate(zip(*columns, strict=True)):
        if (size := sizes[contract]) is not None and not from_exchange:
            volumes[i] = arithmetic.volume_of(volumes[i], size)
            turnovers[i] = arithmetic.turnover_of(turnovers[i], count, size)
    return volumes, turnovers


def _turnovers(windows: Ints, scales: Ints) -> list[Decimal]:
    """Turnovers as decimals; one that needs more than 63 bits is converted alone."""
    highs, lows = windows[b.TURNOVER_HIGH], windows[b.TURNOVER_LOW]
    if highs.dtype == object:
        return exact_all((highs << b.LIMB_BITS) + lows, scales)
    is_wide = highs >= WIDE_LIMB
    turnovers = exact_all((np.where(is_wide, 0, highs) << b.LIMB_BITS) + lows, scales)
    for i in np.flatnonzero(is_wide).tolist():
        turnovers[i] = exact(turnover_of(int(highs[i]), int(lows[i])), int(scales[i]))
    return turnovers
