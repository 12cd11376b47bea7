"""Outages: told once, again at growing distances, and when they are over."""

import pytest
from structlog.testing import capture_logs

from app.outages import DETAIL_CHARACTERS, GATHER_S, LASTING_S, Outages, duration, sentence_of
from model.pacing import OUTAGE_LINES_S
from model.problems import MEANINGS, Problem
from tests.support.clock import FakeClock

NO_NAME = Problem("name_not_found", "stream.test", "gaierror: [Errno -2] Name or service not known")
BLOCKED = Problem("http_451", "stream.test", status=451)
LOST = Problem("closed", detail="ConnectionLostError: closed by the other side")
STREAMS = [f"Trades_linear_{number}" for number in range(1, 41)]


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def outages(clock):
    return Outages(clock)


@pytest.fixture
def lines():
    with capture_logs() as logs:
        yield logs


def events(lines):
    return [line["event"] for line in lines]


def fail_for(outages, clock, seconds, problem, parts=("T",), every_s=5.0):
    """Have each part fail every few seconds, as streams do that try again; main ticks between."""
    end_s = clock.now_s + seconds
    while clock.now_s < end_s:
        for part in parts:
            outages.failed(part, problem)
        clock.now_s += every_s
        outages.tick()


def test_forty_streams_without_a_name_are_one_line_at_once(outages, lines):
    """Their REST host too: it is one outage, of the network."""
    outages.failed("REST linear", Problem("name_not_found", "api.test"))
    for name in STREAMS * 3:
        outages.failed(name, NO_NAME)
    (line,) = lines
    assert (line["event"], line["cause"], line["log_level"]) == ("outage_began", "name_not_found", "warning")
    assert "the name api.test is not found" in line["sentence"].lower()
    assert "DNS" in line["remedy"]


def test_an_outage_that_lasts_is_told_at_growing_distances_with_counts(outages, clock, lines):
    """Six hours without network: a line at once, after 1, 5, 15 and 60 minutes, then every hour."""
    fail_for(outages, clock, 6 * 3600 + 60, NO_NAME, STREAMS[:2], every_s=30.0)
    assert events(lines) == ["outage_began", *["outage_lasts"] * 9]
    ages_s = [line["down_s"] for line in lines[1:]]
    assert ages_s[:4] == list(OUTAGE_LINES_S)
    assert ages_s[4:] == [2 * 3600, 3 * 3600, 4 * 3600, 5 * 3600, 6 * 3600]
    assert lines[2]["attempts"] == 2 * 10
    assert "Still after 5 min and 20 attempts" in lines[2]["sentence"]


def test_the_end_is_one_line_when_the_last_part_works(outages, clock, lines):
    """With how long it was away; what works already is told no more."""
    for name in STREAMS:
        outages.failed(name, NO_NAME)
    clock.now_s += 75
    for name in STREAMS:
        assert events(lines) == ["outage_began"]
        outages.works(name)
        outages.works(name)
    assert events(lines) == ["outage_began", "outage_over"]
    assert (lines[1]["away_s"], lines[1]["count_of_parts"], lines[1]["log_level"]) == (75, 40, "info")
    assert lines[1]["sentence"].startswith("Back after 75 s: 40 streams")


def test_streams_lost_together_are_one_line_and_those_back_together_too(outages, clock, lines):
    """The exchange closes all: they are gathered for a second."""
    for name in STREAMS:
        outages.failed(name, LOST)
    outages.tick()
    assert lines == []
    clock.now_s += GATHER_S
    outages.tick()
    outages.tick()
    assert events(lines) == ["outage_began"]
    assert "40 streams" in lines[0]["sentence"]
    assert "closed by the other side" in lines[0]["sentence"]
    assert "Error" not in lines[0]["sentence"]


def test_a_stream_that_is_back_at_once_is_one_line(outages, clock, lines):
    """Which says why it was away."""
    outages.failed("T", LOST)
    clock.now_s += 0.4
    outages.works("T")
    clock.now_s += 60
    outages.tick()
    assert events(lines) == ["outage_over"]
    assert lines[0]["sentence"] == "Back after 0.4 s: T; it was closed by the other side."


def test_a_stream_that_flaps_for_hours_is_counted(outages, clock, lines):
    """A line for the first, then counts at growing distances."""
    for _ in range(6 * 360):
        outages.failed("T", LOST)
        clock.now_s += 0.5
        outages.works("T")
        clock.now_s += 9.5
        outages.tick()
    assert events(lines) == ["outage_over", *["outages_short"] * (len(lines) - 1)]
    assert 8 <= len(lines) <= 12
    assert sum(line["count"] for line in lines[1:]) + 1 + 360 >= 6 * 360


def test_of_a_stream_that_flaps_an_outage_that_lasts_has_its_own_line(outages, clock, lines):
    """It must not look as if it were back."""
    for _ in range(2):
        outages.failed("T", LOST)
        clock.now_s += 1
        outages.works("T")
    outages.failed("T", LOST)
    clock.now_s += LASTING_S
    outages.tick()
    assert events(lines) == ["outage_over", "outage_began"]


def test_what_was_lost_is_told_before_why_it_does_not_come_back(outages, lines):
    """In the order in which it happened."""
    outages.failed("T", LOST)
    outages.failed("T", NO_NAME)
    assert [line["cause"] for line in lines] == ["closed", "name_not_found"]


def test_another_cause_is_another_line_and_one_that_was_before_is_none(outages, clock, lines):
    """A network that comes and goes between two errors is not told again with each attempt."""
    for problem in (NO_NAME, BLOCKED) * 50:
        outages.failed("T", problem)
        clock.now_s += 0.5
        outages.tick()
    outages.works("T")
    assert events(lines) == ["outage_began", "outage_began", "outage_over"]
    assert [line["cause"] for line in lines[:2]] == ["name_not_found", "http_451"]
    assert lines[2]["causes"] == ["http_451", "name_not_found"], "each that began is over"


def test_what_is_removed_ends_no_outage_aloud(outages, clock, lines):
    """A stream that nobody wants any more is not back."""
    outages.failed("T", NO_NAME)
    outages.removed("T")
    outages.removed("never failed")
    outages.tick()
    assert events(lines) == ["outage_began"]


def test_what_works_is_not_locked(outages):
    """Every REST answer asks."""
    outages._lock.acquire()  # held: a call that took it would hang
    outages.works("REST linear")
    outages._lock.release()


@pytest.mark.parametrize("cause", MEANINGS)
def test_every_cause_says_what_it_means_and_what_to_do(cause):
    """In whole sentences, that name the host."""
    text = sentence_of(Problem(cause, "stream.test", "x" * 1000), ["T"])
    assert text.endswith(".")
    assert "{" not in text
    assert len(text) < 2 * DETAIL_CHARACTERS + 200
    assert MEANINGS[cause][1].lower() in text.lower()


def test_a_ban_says_for_how_long():
    """And what the exchange's own refusals mean is the venue's to say."""
    banned = Problem("http_403", "stream.test", pause_s=600.0, status=403, meant="this address is banned, or blocked")
    assert sentence_of(banned).startswith(
        "stream.test answers HTTP 403: this address is banned, or blocked. "
        "It is left alone for 10 min, then tried again. What to do: "
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (12.3, "12 s"), (119, "119 s"), (180, "3 min"), (7200, "2 h"), (7500, "2 h 5 min")],
)
def test_durations_are_as_people_say_them(seconds, text):
    """One unit, two beyond two hours."""
    assert duration(seconds) == text


def test_why_a_part_does_not_work_is_its_newest_problem(outages):
    """A connection that is lost, and then not let in again."""
    assert outages.problem_of("T") is None
    outages.failed("T", LOST)
    outages.failed("T", BLOCKED)
    outages.failed("U", LOST)
    assert (outages.problem_of("T"), outages.problem_of("U")) == (BLOCKED, LOST)
    outages.works("T")
    assert (outages.problem_of("T"), outages.problem_of("U")) == (None, LOST)
