"""Candles of the years before the start, computed from their time alone: nothing is stored but one row per day.

Pure and deterministic. The price at a minute's border is noise of many wavelengths, so that each open is the close
before it; only the last day before `join_ms` is bent to meet the price the market starts at.
"""

import hashlib
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from .instruments import Instrument, step_text
from .truth import DAY_MS, INVERSE_TURNOVER_STEP, MINUTE_MS, Candle, Interval, end_of, start_of

LAUNCH_MS = 1_585_526_400_000  # 2020-03-30, a Monday: what instruments-info calls launchTime
LAUNCH_MINUTE = LAUNCH_MS // MINUTE_MS
OCTAVES = range(0, 20, 2)  # wavelengths of 1 minute to 2**18 minutes, half a year
AMPLITUDE = 0.0002  # of the shortest wavelength, as a share of the price; others grow as a random walk does
BEND_MINUTES = 1440
MAX_WICK_TICKS = 13
MAX_LOTS = 500
DAYS_AT_ONCE = 100  # 144,000 minutes: about ten megabytes while they are computed

Ints = NDArray[np.int64]
Row = tuple[int, ...]  # start ms, open, high, low, close in ticks, lots, turnover units


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash integers with splitmix64: neighbours become unrelated."""
    x = numbers * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class PastCandles:
    """One symbol's candles from LAUNCH_MS to `join_ms`, where its price is `join_ticks`."""

    def __init__(self, instrument: Instrument, join_ms: int, join_ticks: int) -> None:
        name = f"{instrument.category}:{instrument.symbol}".encode()
        self._seed = int.from_bytes(hashlib.sha256(name).digest()[:7], "big")
        self._base = int(instrument.first_price / instrument.tick)
        self._instrument = instrument
        self._is_inverse = instrument.category == "inverse"
        self.join_ms = join_ms
        self._join = join_ms // MINUTE_MS
        self._bend = join_ticks - int(self._walk(np.array([self._join]))[0])
        self._days: dict[int, Ints] = {}
        self._price, self._size = instrument.price_text(), instrument.size_text()
        unit = instrument.tick * instrument.lot * instrument.contract_size
        unit = INVERSE_TURNOVER_STEP if self._is_inverse else unit
        self._turnover = step_text(unit, is_stripped=not self._is_inverse)

    # the price

    def _noise(self, minutes: Ints, octave: int) -> NDArray[np.float64]:
        """Noise, smooth between the values at every 2**octave minutes, from -1 to 1."""
        places = minutes >> octave
        first = int(places.min())
        lattice = np.arange(first, int(places.max()) + 2, dtype=np.uint64) + np.uint64(self._seed * 31 + octave)
        values = (_mixed(lattice) >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1
        share = (minutes & ((1 << octave) - 1)) / float(1 << octave)
        share = share * share * (3 - 2 * share)
        at = places - first
        noise: NDArray[np.float64] = values[at] * (1 - share) + values[at + 1] * share
        return noise

    def _walk(self, minutes: Ints) -> Ints:
        total = np.zeros(len(minutes))
        for octave in OCTAVES:
            total += AMPLITUDE * 2.0 ** (octave / 2) * self._noise(minutes, octave)
        return np.maximum(np.rint(self._base * (1 + total)), 1).astype(np.int64)

    def _prices(self, minutes: Ints) -> Ints:
        """Prices in ticks at the borders before these minutes."""
        weight = np.clip((minutes - (self._join - BEND_MINUTES)) / BEND_MINUTES, 0.0, 1.0)
        return np.maximum(self._walk(minutes) + np.rint(weight * self._bend).astype(np.int64), 1)

    def _minutes(self, first: int, last: int) -> Ints:
        """Columns open, high, low, close, lots, turnover of the minutes first .. last - 1."""
        borders = self._prices(np.arange(first, last + 1))
        opens, closes = borders[:-1], borders[1:]
        dice = _mixed(np.arange(first, last, dtype=np.uint64) ^ np.uint64(self._seed))
        up = (dice % np.uint64(MAX_WICK_TICKS)).astype(np.int64)
        down = ((dice >> np.uint64(8)) % np.uint64(MAX_WICK_TICKS)).astype(np.int64)
        lots = ((dice >> np.uint64(16)) % np.uint64(MAX_LOTS)).astype(np.int64) + 1
        highs = np.maximum(opens, closes) + up
        lows = np.maximum(np.minimum(opens, closes) - down, 1)
        return np.stack([opens, highs, lows, closes, lots, self._turnovers(opens + closes, lots)], axis=1)

    def _turnovers(self, twice_price: Ints, lots: Ints) -> Ints:
        """Whole units, so that a long candle's turnover is exactly the sum of its minutes'."""
        if not self._is_inverse:
            return lots * twice_price // 2
        price = twice_price * float(self._instrument.tick) / 2
        dollars = lots * float(self._instrument.lot * self._instrument.contract_size)
        return np.maximum(np.rint(dollars / price * 1e8), 1).astype(np.int64)

    # longer candles

    def _whole_days(self, first: int, last: int) -> list[Ints]:
        """Rows of the days first .. last - 1, counted from the launch; each hundred is computed once."""
        found = []
        for chunk in range(first // DAYS_AT_ONCE, -(-last // DAYS_AT_ONCE)):
            if chunk not in self._days:
                day, end = chunk * DAYS_AT_ONCE, min((chunk + 1) * DAYS_AT_ONCE, (self.join_ms - LAUNCH_MS) // DAY_MS)
                minutes = self._minutes(LAUNCH_MINUTE + day * 1440, LAUNCH_MINUTE + end * 1440)
                self._days[chunk] = _rolled(minutes, np.arange(0, len(minutes), 1440))
            begin = chunk * DAYS_AT_ONCE
            found.append(self._days[chunk][max(first - begin, 0) : last - begin])
        return found

    def _long(self, start: int, end: int) -> list[int]:
        """One row of whole days and the minutes of a day begun."""
        rows = self._whole_days((start - LAUNCH_MS) // DAY_MS, (end - LAUNCH_MS) // DAY_MS)
        if end % DAY_MS:
            rows.append(self._minutes((end - end % DAY_MS) // MINUTE_MS, end // MINUTE_MS))
        row: list[int] = _rolled(np.concatenate(rows), np.array([0]))[0].tolist()
        return row

    def starts(self, interval: Interval, first_ms: int, last_ms: int, limit: int, is_forward: bool) -> list[int]:
        """Starts of at most `limit` candles that begin in first_ms .. last_ms and before the join, oldest first."""
        first_ms = max(first_ms, start_of(LAUNCH_MS, interval))
        last_ms = min(last_ms, self.join_ms - 1)
        if first_ms > last_ms:
            return []
        if isinstance(interval, int):
            first = start_of(first_ms + interval - 1, interval)
            found: Sequence[int] = range(first, last_ms + 1, interval)
        else:
            found = _months(first_ms, last_ms)
        return list(found[:limit] if is_forward else found[-limit:])

    def rows(self, interval: Interval, starts: list[int]) -> list[Row]:
        """The candles that begin at `starts`, which are neighbours; one that reaches over the join ends there."""
        if not starts:
            return []
        if isinstance(interval, str) or interval >= DAY_MS:
            bounds = [(max(s, LAUNCH_MS), min(end_of(s, interval), self.join_ms)) for s in starts]
            table = [self._long(start, end) for start, end in bounds]
        else:
            first, end = starts[0] // MINUTE_MS, min(starts[-1] + interval, self.join_ms) // MINUTE_MS
            minutes = self._minutes(first, end)
            table = _rolled(minutes, np.arange(0, end - first, interval // MINUTE_MS)).tolist()
        return [(start, *row) for start, row in zip(starts, table, strict=True)]

    # what others see

    def text(self, row: Row) -> list[str]:
        """Seven texts, as in a kline answer."""
        price = self._price
        return [
            str(row[0]), price(row[1]), price(row[2]), price(row[3]), price(row[4]),
            self._size(row[5]), self._turnover(row[6]),
        ]  # fmt: skip

    def candle(self, row: Row) -> Candle:
        """With Decimals, to be merged with what was traded since."""
        o, h, low, c, volume, turnover = (Decimal(text) for text in self.text(row)[1:])
        return Candle(row[0], o, h, low, c, volume, turnover, row[5])


def _rolled(rows: Ints, at: Ints) -> Ints:
    """Roll rows up from each index in `at` to the next."""
    ends = np.append(at[1:], len(rows)) - 1
    highs, lows = np.maximum.reduceat(rows[:, 1], at), np.minimum.reduceat(rows[:, 2], at)
    lots, turnovers = np.add.reduceat(rows[:, 4], at), np.add.reduceat(rows[:, 5], at)
    return np.stack([rows[at, 0], highs, lows, rows[ends, 3], lots, turnovers], axis=1)


def _months(first_ms: int, last_ms: int) -> list[int]:
    start = start_of(first_ms, "M")
    found = []
    while start <= last_ms:
        if start >= first_ms:
            found.append(start)
        start = end_of(start, "M")
    return found
