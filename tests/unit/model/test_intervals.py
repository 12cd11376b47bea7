"""Intervals: how they are written, and where their windows begin, against the calendar of the standard library."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.intervals import (
    DAY_MS,
    MONTH,
    base_of,
    end_of_step,
    interval_name,
    legacy_name,
    longest_step,
    parse_interval,
    sources_of,
    step_name,
    step_of,
)

LATEST_MS = 4_102_444_800_000  # 2100
MAY_2026_MS = 1_777_593_600_000
moments = st.integers(0, LATEST_MS)
names = st.sampled_from(["1s", "7s", "1m", "3m", "5m", "15m", "1h", "4h", "7h", "1d", "3d", "1w", "1M"])
lists = st.lists(names, min_size=1, max_size=8, unique=True)


def window(name, ms):
    interval = parse_interval(name)
    start = interval.start_of(np.array([ms]))
    return int(start[0]), int(interval.end_of(start)[0]), int(interval.number_of(start)[0])


def utc_ms(moment):
    return int(moment.timestamp()) * 1_000


@pytest.mark.parametrize(
    ("text", "name", "step_ms"),
    [
        ("1s", "1s", 1_000),
        ("15s", "15s", 15_000),
        ("1m", "1m", 60_000),
        (" 3m ", "3m", 180_000),
        ("120m", "120m", 7_200_000),
        ("4h", "4h", 14_400_000),
        ("1d", "1d", 86_400_000),
        ("1D", "1d", 86_400_000),
        ("2D", "2d", 172_800_000),
        ("1w", "1w", 604_800_000),
        ("1W", "1w", 604_800_000),
        ("1M", "1M", 0),
    ],
)
def test_intervals_are_read_as_people_write_them(text, name, step_ms):
    """d and D are a day; m is a minute and M a month."""
    interval = parse_interval(text)

    assert (interval.name, interval.step_ms) == (name, step_ms)


def test_day_is_a_day_in_either_letter():
    """1d and 1D are one interval."""
    assert parse_interval("1d") == parse_interval("1D")


@pytest.mark.parametrize(
    "text",
    ["", "m", "1", "0m", "01m", "-1m", "1.5m", "1 m", "1x", "1H", "1S", "2w", "2M", "1mm", "1m,5m", "\u0661m"],
)
def test_what_is_no_interval_is_named_in_the_error(text):
    """Whoever wrote it finds it in the message, and what is allowed."""
    with pytest.raises(ValueError, match="no kline interval") as raised:
        parse_interval(text)

    assert repr(text) in str(raised.value)


@given(names, moments)
def test_window_holds_its_start_and_not_its_end(name, ms):
    """Every moment lies in exactly one window; the next window begins where it ends, with the next number."""
    start, end, number = window(name, ms)

    assert start <= ms < end
    assert window(name, end - 1) == (start, end, number)
    assert (window(name, end)[0], window(name, end)[2]) == (end, number + 1)


@given(moments)
def test_week_begins_on_monday(ms):
    """00:00 UTC, as the calendar has it."""
    day = datetime.fromtimestamp(ms / 1_000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    monday = day - timedelta(days=day.weekday())

    assert window("1w", ms)[:2] == (utc_ms(monday), utc_ms(monday + timedelta(days=7)))


@given(moments)
def test_month_begins_on_the_first(ms):
    """Leap years and the turn of the year included."""
    first = datetime.fromtimestamp(ms / 1_000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=31)).replace(day=1)

    assert window("1M", ms)[:2] == (utc_ms(first), utc_ms(following))


@given(st.sampled_from(["1s", "5m", "4h", "1d", "3d"]), moments)
def test_other_windows_are_multiples_of_the_epoch(name, ms):
    """As the exchange cuts them: UTC."""
    start, end, _ = window(name, ms)

    assert start % (end - start) == 0


@given(lists, moments)
def test_base_divides_every_interval(texts, ms):
    """Each window of each interval begins and ends where a window of the base does."""
    intervals = [parse_interval(text) for text in texts]
    base = base_of(intervals)

    for text in texts:
        start, end, _ = window(text, ms)
        assert start % base.step_ms == 0
        assert end % base.step_ms == 0


@given(lists)
def test_base_is_the_longest_that_divides(texts):
    """Nothing is counted finer than needed."""
    steps = [parse_interval(text).step_ms if text not in ("1w", "1M") else 86_400_000 for text in texts]

    assert base_of([parse_interval(text) for text in texts]).step_ms == math.gcd(*steps)


@given(lists, moments)
def test_sources_divide_what_they_feed(texts, ms):
    """Each interval is rolled up from an earlier one whose windows begin and end with its own."""
    intervals = [parse_interval(text) for text in texts]
    chain = sorted({base_of(intervals), *intervals}, key=lambda i: i.step_ms or 31 * 86_400_000)
    sources = sources_of(chain)

    assert sources[0] == -1
    for index, source in enumerate(sources[1:], start=1):
        start, end, _ = window(chain[index].name if chain[index].name[-2:] != "ms" else "1s", ms)
        assert source < index
        assert chain[source].divides(chain[index])
        step = chain[source].step_ms
        assert (start - chain[source].anchor_ms) % step == 0
        assert (end - chain[source].anchor_ms) % step == 0


def test_three_and_five_minutes_are_counted_in_minutes():
    """The base need not be one of those asked for."""
    base = base_of([parse_interval("3m"), parse_interval("5m")])

    assert (base.step_ms, base.name) == (60_000, "60000ms")


def test_weeks_and_months_do_not_divide_each_other():
    """Both are made of days."""
    week, month, day = (parse_interval(text) for text in ("1w", "1M", "1d"))

    assert [week.divides(month), month.divides(week), day.divides(week), day.divides(month)] == [
        False,
        False,
        True,
        True,
    ]


@given(names, moments)
def test_one_window_is_that_of_an_array(name, ms):
    """Plain integers and arrays have the same windows, months included."""
    start, end, _ = window(name, ms)
    interval = parse_interval(name)

    assert (interval.window_start(ms), interval.window_end(start)) == (start, end)


@given(names, moments)
def test_step_of_a_window_is_that_of_its_interval(name, ms):
    """A month has the step 0 whatever its length, every other window its own length."""
    start, end, _ = window(name, ms)

    assert step_of(end - start, start) == parse_interval(name).step_ms
    assert end_of_step(step_of(end - start, start), start) == end


@pytest.mark.parametrize("month", range(1, 13))
def test_months_end_by_the_calendar(month):
    """February after 28 days, in 2024 after 29; what has a length ends by that."""
    for year in (2023, 2024):
        start = datetime(year, month, 1, tzinfo=UTC)
        end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
        assert end_of_step(MONTH, utc_ms(start)) == parse_interval("1M").window_end(utc_ms(start)) == utc_ms(end)
    assert end_of_step(60_000, 0) == 60_000


@given(names)
def test_name_of_a_step_is_read_back(name):
    """What is named is what was parsed."""
    assert step_name(parse_interval(name).step_ms) == name


@pytest.mark.parametrize(
    ("length_ms", "start_ms", "name"),
    [
        (1_000, 0, "1s"),
        (90_000, 0, "90s"),
        (60_000, 0, "1m"),
        (14_400_000, 0, "4h"),
        (DAY_MS, 0, "1d"),
        (7 * DAY_MS, 0, "1w"),
        (31 * DAY_MS, MAY_2026_MS, "1M"),
        (31 * DAY_MS, MAY_2026_MS + DAY_MS, "31d"),
        (28 * DAY_MS, MAY_2026_MS, "28d"),
        (5, 0, "5ms"),
    ],
)
def test_intervals_have_the_names_people_write(length_ms, start_ms, name):
    """By the largest unit; a month by its place in the calendar."""
    assert interval_name(length_ms, start_ms) == name


@pytest.mark.parametrize(
    ("length_ms", "name"),
    [(1_000, "1s"), (60_000, "1m"), (180_000, "3m"), (14_400_000, "4h"), (86_400_000, "1D"), (604_800_000, "1w")]
    + [(2 * 604_800_000, "2w"), (3 * 86_400_000, "3D"), (5, "5ms")]
    + [(days * 86_400_000, "1M") for days in (28, 29, 30, 31)],
)
def test_legacy_names_have_a_capital_day(length_ms, name):
    """60000 means nothing to a person; storage keys and the console keep the spelling that users know."""
    assert legacy_name(length_ms) == name


def test_window_is_made_of_the_longest_step_that_fits():
    """Weeks are counted from a Monday, months by the calendar; three seconds are made of no minutes."""
    steps_ms = (60_000, 300_000, DAY_MS, 7 * DAY_MS, MONTH)

    assert longest_step(steps_ms, 600_000, 0) == 300_000
    assert longest_step(steps_ms, 7 * DAY_MS, 4 * DAY_MS) == 7 * DAY_MS
    assert longest_step(steps_ms, 7 * DAY_MS, 0) == DAY_MS
    assert longest_step(steps_ms, 31 * DAY_MS, MAY_2026_MS) == MONTH
    assert longest_step(steps_ms, 31 * DAY_MS, MAY_2026_MS + DAY_MS) == DAY_MS
    assert longest_step(steps_ms, 3_000, 0) is None
