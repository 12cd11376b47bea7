"""Times of candles: what may be written, what is closed, what is missing."""

import itertools
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.bybit.client.data_times import Span, begins_ms, count_starts, merged, missing, settled_until
from exchanges.bybit.client.errors import RequestError
from exchanges.bybit.client.times import to_ms

NEW_YEAR = 1_672_531_200_000
MINUTE, DAY = 60_000, 86_400_000
SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=6)


@pytest.mark.parametrize(
    "when",
    [
        "2023-01-01",
        "2023-01-01T00:00:00Z",
        "2023-01-01T01:00:00+01:00",
        str(NEW_YEAR),
        NEW_YEAR,
        float(NEW_YEAR),
        date(2023, 1, 1),
        datetime(2023, 1, 1),
        datetime(2023, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_every_way_to_write_a_time_means_the_same(when: object) -> None:
    """Without a zone it is UTC."""
    assert to_ms(when) == NEW_YEAR  # type: ignore[arg-type]


@pytest.mark.parametrize("when", ["yesterday", "", "1672531200.", 1_672_531_200, "1672531200"])
def test_what_is_no_time_is_refused(when: str | int) -> None:
    """Seconds too: they would mean 1970."""
    with pytest.raises(RequestError, match="is no time"):
        to_ms(when)


@pytest.mark.parametrize(
    ("interval", "begin"),
    [
        ("1", "2023-03-15T13:47"),
        ("60", "2023-03-15T13:00"),
        ("D", "2023-03-15"),
        ("W", "2023-03-13"),
        ("M", "2023-03-01"),
    ],
)
def test_candles_begin_where_bybits_do(interval: str, begin: str) -> None:
    """Weeks on Monday, months on the first, the rest on multiples since 1970."""
    assert begins_ms(to_ms("2023-03-15T13:47:11Z"), interval) == to_ms(begin)


def test_a_candle_just_closed_is_not_settled() -> None:
    """Its last trades may still come for five seconds."""
    assert settled_until(NEW_YEAR + 4_999, "1") == NEW_YEAR - MINUTE
    assert settled_until(NEW_YEAR + 5_000, "1") == NEW_YEAR
    assert settled_until(NEW_YEAR + DAY, "M") == NEW_YEAR


def test_candles_of_a_span_are_counted_by_their_start() -> None:
    """Borders that are no starts count none."""
    assert count_starts((NEW_YEAR, NEW_YEAR + 60 * MINUTE), "1") == 60
    assert count_starts((NEW_YEAR + 1, NEW_YEAR + 60 * MINUTE), "1") == 59
    assert count_starts((NEW_YEAR, NEW_YEAR + 1), "60") == 1
    assert count_starts((NEW_YEAR, NEW_YEAR), "60") == 0
    assert count_starts((NEW_YEAR, NEW_YEAR + 14 * DAY), "W") == 2
    assert count_starts((NEW_YEAR, NEW_YEAR + 365 * DAY), "M") == 0


def _moments(spans: list[Span]) -> set[int]:
    return {moment for begin, end in spans for moment in range(begin, end)}


@given(SPANS)
def test_merged_spans_cover_the_same_and_do_not_touch(spans: list[Span]) -> None:
    """No moment is lost, none is covered twice."""
    whole = merged(spans)
    assert _moments(whole) == _moments(spans)
    assert all(first[1] < second[0] for first, second in itertools.pairwise(whole))


@given(st.tuples(st.integers(0, 60), st.integers(0, 60)), SPANS)
def test_what_is_missing_is_what_is_not_there(wanted: Span, have: list[Span]) -> None:
    """Exactly that, oldest first."""
    gaps = missing(wanted, merged(have))
    assert _moments(gaps) == _moments([wanted]) - _moments(have)
    assert gaps == sorted(gaps)


def test_midnight_of_utc_is_meant() -> None:
    """Whatever the zone of this machine is."""
    assert to_ms("2023-01-01") == round(datetime(2023, 1, 1, tzinfo=UTC).timestamp() * 1000)
