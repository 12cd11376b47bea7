"""Computed history: without holes, the same again, and every interval the roll-up of its minutes."""

from itertools import pairwise
from typing import Any

import pytest

from exchanges.simulated.bybit.instruments import list_instruments
from exchanges.simulated.bybit.topics import INTERVALS
from exchanges.simulated.candles import LAUNCH_MS, PastCandles
from exchanges.simulated.klines import Klines
from exchanges.simulated.truth import DAY_MS, MINUTE_MS, Interval, end_of

from .conftest import Harness

JOIN_MS = 1_760_000_040_000
JOIN_TICKS = 700_000


def past(category: str = "linear") -> PastCandles:
    """Of the first symbol."""
    return PastCandles(list_instruments(category, 1)[0], JOIN_MS, JOIN_TICKS)


def rows(candles: PastCandles, interval: Interval, first_ms: int, last_ms: int, limit: int = 10_000) -> list[Any]:
    """Oldest first."""
    return candles.rows(interval, candles.starts(interval, first_ms, last_ms, limit, True))


def test_each_open_is_the_close_before_it_up_to_the_first_price() -> None:
    """The last close is where the market begins."""
    found = rows(past(), MINUTE_MS, JOIN_MS - 3 * DAY_MS, JOIN_MS)
    assert len(found) == 3 * 1440
    assert all(later[1] == earlier[4] for earlier, later in pairwise(found))
    assert all(low <= min(o, c) and max(o, c) <= h and lots > 0 for _, o, h, low, c, lots, _ in found)
    assert found[-1][4] == JOIN_TICKS


def test_history_is_the_same_for_every_request() -> None:
    """In another run, in other pages, from another start of the market."""
    first = JOIN_MS - 40 * DAY_MS
    whole = rows(past(), MINUTE_MS, first, first + DAY_MS)
    halves = rows(past(), MINUTE_MS, first, first + DAY_MS // 2 - 1) + rows(
        past(), MINUTE_MS, first + DAY_MS // 2, first + DAY_MS
    )
    later = PastCandles(list_instruments("linear", 1)[0], JOIN_MS + DAY_MS, 1)
    assert whole == halves == rows(later, MINUTE_MS, first, first + DAY_MS)


@pytest.mark.parametrize("category", ["linear", "inverse"])
@pytest.mark.parametrize("name", ["3", "60", "720", "D", "W", "M"])
def test_long_candles_are_the_sum_of_their_minutes(category: str, name: str) -> None:
    """Exactly, the one that is cut by the market's start as well."""
    candles, interval = past(category), INTERVALS[name]
    for long in rows(candles, interval, JOIN_MS - 65 * DAY_MS, JOIN_MS)[-3:]:
        end = min(end_of(long[0], interval), JOIN_MS)
        minutes = rows(candles, MINUTE_MS, long[0], end - 1, limit=50_000)
        assert len(minutes) == (end - long[0]) // MINUTE_MS
        assert long[1:] == (
            minutes[0][1], max(m[2] for m in minutes), min(m[3] for m in minutes), minutes[-1][4],
            sum(m[5] for m in minutes), sum(m[6] for m in minutes),
        )  # fmt: skip


def test_nothing_is_older_than_the_launch() -> None:
    """The first month begins on the launch day."""
    assert rows(past(), MINUTE_MS, 0, LAUNCH_MS - 1) == []
    assert rows(past(), MINUTE_MS, 0, JOIN_MS, limit=1)[0][0] == LAUNCH_MS
    assert rows(past(), "M", 0, JOIN_MS, limit=1)[0][0] < LAUNCH_MS


@pytest.mark.parametrize("name", ["1", "60", "D", "M"])
def test_rest_joins_history_and_market_without_a_seam(harness: Harness, name: str) -> None:
    """Neither a hole nor a double, whichever way it is asked."""
    harness.run(3000, step_ms=500)
    symbol, klines = harness.market.symbols["linear", "BTCUSDT"], Klines()
    interval = INTERVALS[name]
    newest = klines.rows(symbol, interval, None, None, 1000, harness.now_ms)
    first = int(newest[-1][0])
    assert first >= LAUNCH_MS - 31 * DAY_MS
    starts = [int(row[0]) for row in reversed(newest)]
    assert all(end_of(earlier, interval) == later for earlier, later in pairwise(starts))
    assert all(newer[1] == older[4] for newer, older in pairwise(newest))
    assert klines.rows(symbol, interval, first, None, 1000, harness.now_ms) == newest
    assert klines.rows(symbol, interval, first, harness.now_ms, 5, harness.now_ms) == newest[:5]
