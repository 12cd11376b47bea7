"""Candles of REST under the rules of several exchanges: what rows look like, how pages lead on, what is left out."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import structlog

from exchanges.candles import (
    CandleShape,
    LastTrade,
    OlderPages,
    Page,
    page_of,
    quiet_end,
    read_backward,
    read_forward,
    read_windows,
    with_quiet,
)
from exchanges.rest_rows import SIZES_S, ContractSizes, RowLog, dollars_of, size_of
from model.ports import HistoryError
from model.records import Candle
from tests.support.clock import FakeClock

MINUTE_MS, BEGIN_MS = 60_000, 1_800_000_000_000
COUNT = 50
ALL = range(BEGIN_MS, BEGIN_MS + COUNT * MINUTE_MS, MINUTE_MS)


def candle(start_ms: int, close: int = 2, volume: int = 1) -> Candle:
    return Candle(start_ms, *map(Decimal, (2, 3, 1, close, volume, 2 * volume)))


def page(starts: Any) -> Page:
    found = list(starts)
    return Page([candle(start) for start in found], found, len(found))


@pytest.mark.parametrize(
    ("shape", "row"),
    [
        (CandleShape(unit_ms=1000), ["1800000000", "2", "3", "1", "2.5", "4", "9"]),
        (CandleShape(1, 6, 4, 5, 3, 7, 2, unit_ms=1000), [0, 1800000000, "9", "2.5", "3", "1", "2", "4", "true"]),
        (
            CandleShape("t", "o", "h", "l", "c", "v", "sum"),
            {"t": BEGIN_MS, "o": "2", "h": "3", "l": "1", "c": "2.5", "v": 4, "sum": "9"},
        ),
    ],
)
def test_a_row_is_read_by_the_places_of_its_values(shape: CandleShape, row: object) -> None:
    """Columns in any order, names, seconds; volume in contracts becomes one in coins."""
    assert shape.read(row) == Candle(BEGIN_MS, *map(Decimal, ("2", "3", "1", "2.5", "4", "9")))
    assert shape.read(row, Decimal("0.01")) == Candle(BEGIN_MS, *map(Decimal, ("2", "3", "1", "2.5", "0.04", "9")))


def test_without_a_turnover_it_is_near_volume_times_close() -> None:
    """A few exchanges have none."""
    found = CandleShape(turnover=None).read([BEGIN_MS, "2", "3", "1", "2.5", "4"])
    assert found is not None
    assert found.turnover == 10


NO_CANDLES: list[object] = [
    *(None, 7, "", [], {}, [BEGIN_MS], ["x"] * 9),
    [BEGIN_MS, "2", "3", "4", "2", "1", "1"],
    [BEGIN_MS, "2", "3", "1", "2", "1E+999999999", "1"],
    [5, "2", "3", "1", "2", "1", "1"],
]


@pytest.mark.parametrize("row", NO_CANDLES)
def test_a_row_that_makes_no_sense_is_none(row: object) -> None:
    """And raises nothing, whether columns or names are asked for."""
    assert CandleShape().read(row) is None
    assert CandleShape("t", "o", "h", "l", "c", "v").read(row) is None


def test_a_page_tells_the_starts_of_rows_that_make_no_sense() -> None:
    """They lead on all the same, and are logged once."""
    rows = [[BEGIN_MS, "2", "3", "1", "2", "1", "2"], [BEGIN_MS + MINUTE_MS, "x"], ["x"]]
    with structlog.testing.capture_logs() as logs:
        found = page_of(rows, CandleShape(), RowLog(structlog.get_logger(), "spot"), "/candles", "A")
    assert found == Page([candle(BEGIN_MS)], [BEGIN_MS, BEGIN_MS + MINUTE_MS], 3)
    assert [(line["event"], line["rows"]) for line in logs] == [("rest_rows_odd", 2)]


def forward(cut: int) -> list[Candle]:
    """The oldest `cut` of a window."""
    read = lambda first_ms, end_ms: page([start for start in ALL if first_ms <= start < end_ms][:cut])  # noqa: E731
    return read_forward(read, 10, MINUTE_MS, BEGIN_MS, ALL.stop, "candles")


def windows(cut: int) -> list[Candle]:
    """The newest `cut` of a window."""
    read = lambda first_ms, end_ms: page([start for start in ALL if first_ms <= start < end_ms][-cut:])  # noqa: E731
    return read_windows(read, 10, MINUTE_MS, BEGIN_MS, ALL.stop, "candles")


def backward(cut: int) -> list[Candle]:
    """The newest 20 by one path, all by another."""

    def older(since: int) -> Callable[[int, int], Page]:
        return lambda before_ms, most: page([s for s in ALL[since:] if s < before_ms][-min(cut, most) :])

    readers = [OlderPages(older(-20), 10), OlderPages(older(0), 5)]
    return read_backward(readers, MINUTE_MS, BEGIN_MS, ALL.stop, "candles")


@pytest.mark.parametrize("cut", [10, 7, 3])
@pytest.mark.parametrize("read", [forward, windows, backward])
def test_a_span_is_read_whole_however_answers_are_cut(read: Callable[[int], list[Candle]], cut: int) -> None:
    """Oldest first, each once."""
    assert [each.start_ms for each in read(cut)] == list(ALL)


def test_pages_that_lead_nowhere_end_in_an_error() -> None:
    """An exchange whose candles begin one a millisecond would be asked for ever."""
    read = lambda first_ms, _end_ms: page([first_ms])  # noqa: E731
    with pytest.raises(HistoryError, match="candles of A: 2 pages do not end"):
        read_forward(read, 1000, MINUTE_MS, BEGIN_MS, BEGIN_MS + 10**8, "candles of A")
    readers = [OlderPages(lambda before_ms, _most: page([before_ms - 1]), 1000)]
    with pytest.raises(HistoryError, match="candles of A: 2 pages do not end"):
        read_backward(readers, MINUTE_MS, BEGIN_MS, BEGIN_MS + 10**8, "candles of A")


def test_minutes_that_are_left_out_are_flat_at_the_close_before() -> None:
    """Only between two that there are: at the newest end they may be late, at the oldest nothing is known."""
    found = with_quiet([candle(BEGIN_MS, close=3), candle(BEGIN_MS + 3 * MINUTE_MS)], MINUTE_MS)
    flat = [Candle(BEGIN_MS + n * MINUTE_MS, *map(Decimal, (3, 3, 3, 3, 0, 0))) for n in (1, 2)]
    assert found == [candle(BEGIN_MS, close=3), *flat, candle(BEGIN_MS + 3 * MINUTE_MS)]
    assert with_quiet([], MINUTE_MS) == []
    assert with_quiet(found, 0) == found


def test_what_is_over_since_the_last_trade_is_flat_at_its_price() -> None:
    """As far as trades are known; where one came since, a candle is late. Nothing is asked where none is missing."""
    there = [candle(BEGIN_MS + n * MINUTE_MS) for n in (0, 1)]
    end_ms = BEGIN_MS + 5 * MINUTE_MS

    def ends(candles: list[Candle], known_ms: int, event_ms: int, start_ms: int = BEGIN_MS) -> list[int]:
        found = quiet_end(
            candles,
            MINUTE_MS,
            start_ms,
            end_ms,
            lambda: LastTrade(BEGIN_MS + known_ms, BEGIN_MS + event_ms, Decimal(7)),
        )
        assert all((each.open, each.close, each.volume, each.turnover) == (7, 7, 0, 0) for each in found)
        return [(each.start_ms - BEGIN_MS) // MINUTE_MS for each in found]

    assert ends(there, 5 * MINUTE_MS, MINUTE_MS) == [2, 3, 4]
    assert ends(there, 4 * MINUTE_MS - 1, MINUTE_MS) == [2]
    assert ends(there, 5 * MINUTE_MS, 2 * MINUTE_MS) == []
    assert ends([], 5 * MINUTE_MS, -1) == [0, 1, 2, 3, 4]
    assert ends([], 5 * MINUTE_MS, -1, BEGIN_MS + 1) == [1, 2, 3, 4]
    assert quiet_end(there, MINUTE_MS, BEGIN_MS, end_ms, lambda: None) == []
    assert quiet_end(there, MINUTE_MS, BEGIN_MS, BEGIN_MS + 3 * MINUTE_MS - 1, lambda: pytest.fail("asked")) == []


def test_sizes_of_contracts_are_products_of_what_is_given() -> None:
    """None where one cannot be."""
    assert size_of("0.01", "1") == Decimal("0.01")
    assert [size_of(text) for text in ("0", "-1", "", "x", None, "NaN", "1E+99")] == [None] * 7


def test_sizes_of_contracts_are_read_again_when_they_may_have_changed() -> None:
    """And for a symbol that was not there; one without a size is refused for good."""
    clock, listing = FakeClock(), dict[str, Decimal | None]({"A": Decimal(1), "B": None})
    reads: list[int] = []
    sizes = ContractSizes(lambda: reads.append(1) or dict(listing), clock)
    assert [sizes.of("A"), sizes.of("A")] == [1, 1]
    listing |= {"A": Decimal(10), "C": Decimal(3)}
    assert (sizes.of("A"), len(reads)) == (1, 1)
    assert (sizes.of("C"), sizes.of("A"), len(reads)) == (3, 10, 2)
    listing["A"] = Decimal(100)
    clock.now_s += SIZES_S
    assert (sizes.of("A"), len(reads)) == (100, 3)
    for symbol in ("B", "Z"):
        with pytest.raises(HistoryError, match="does not list its contract size") as error:
            sizes.of(symbol)
        assert error.value.is_final


def test_a_quote_is_worth_what_a_pair_with_dollars_says() -> None:
    """Whichever of the two comes first in the pair; 0 where there is none."""
    last = {("BTC", "USDT"): 50_000.0, ("USDT", "TRY"): 40.0}
    assert [dollars_of(quote, last) for quote in ("USDC", "BTC", "TRY", "DAI")] == [1.0, 50_000.0, 1 / 40, 0.0]
