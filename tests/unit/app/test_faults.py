"""app.faults."""

import pytest
from structlog.testing import capture_logs

from app.faults import SAMPLE_CHARS, FaultLog
from model.pacing import KEYS_MOST, OTHER


@pytest.fixture
def faults(clock):
    return FaultLog(window_s=60.0, clock=clock)


def test_first_fault_of_a_cause_is_logged_at_once(faults):
    """A new kind of trouble is seen when it begins."""
    with capture_logs() as lines:
        faults.report("not_json", b"{oops")
    (line,) = lines
    remedy = line.pop("remedy")
    assert line == {
        "event": "fault", "log_level": "warning", "cause": "not_json", "count": 1, "total": 1, "sample": "{oops"
    }  # fmt: skip
    assert remedy == "see the sample; report it where it goes on"


def test_a_line_says_what_to_do(faults):
    """Of a cause that is known."""
    with capture_logs() as lines:
        faults.report("callback_error")
    assert lines[0]["remedy"] == "the traceback beside it names the line of the callback that raised"


def test_what_is_logged_as_an_outage_is_only_counted(faults):
    """A ban is one line, of app/outages.py."""
    with capture_logs() as lines:
        faults.report("http_451")
        faults.flush()
    assert (lines, faults.counts()) == ([], {"http_451": 1})


def test_within_the_window_faults_are_counted_in_silence(faults, clock):
    """A flood costs one line."""
    with capture_logs() as lines:
        for _ in range(1000):
            faults.report("not_json")
            clock.now_s += 0.05
    assert len(lines) == 1
    assert faults.counts() == {"not_json": 1000}


def test_after_the_window_the_line_has_the_count_since_the_last(faults, clock):
    """Nothing counted goes untold."""
    with capture_logs() as lines:
        faults.report("not_json")
        faults.report("not_json")
        clock.now_s += 60.0
        faults.report("not_json", b"newest")
    assert [(line["count"], line["total"]) for line in lines] == [(1, 1), (2, 3)]
    assert lines[1]["sample"] == "newest"


def test_causes_have_windows_of_their_own(faults):
    """One noisy cause does not hide another."""
    with capture_logs() as lines:
        faults.report("not_json")
        faults.report("unknown_topic")
    assert [line["cause"] for line in lines] == ["not_json", "unknown_topic"]


def test_flush_logs_what_no_later_fault_logged(faults, clock):
    """Faults that stop inside the window are still logged once it has passed, and only once."""
    with capture_logs() as lines:
        faults.report("not_json")
        faults.report("not_json")
        faults.flush()
        assert len(lines) == 1
        clock.now_s += 60.0
        faults.flush()
        faults.flush()
    assert [line["count"] for line in lines] == [1, 1]


@pytest.mark.parametrize("sample", [b"x" * 5_000_000, "x" * 5_000_000, "й".encode() * 1000])
def test_a_long_sample_is_cut(faults, sample):
    """A message of 5 MB does not reach the log."""
    with capture_logs() as lines:
        faults.report("too_long", sample)
    assert len(lines[0]["sample"]) == SAMPLE_CHARS
    assert "\ufffd" not in lines[0]["sample"]


def test_bytes_that_are_no_text_are_shown_with_replacements(faults):
    """Garbage is reported, not raised on."""
    with capture_logs() as lines:
        faults.report("not_text", b"\xff\xfe{")
    assert lines[0]["sample"] == "\ufffd\ufffd{"


def test_causes_made_from_input_do_not_grow_the_table(faults):
    """Past the bound everything new is counted under one name."""
    with capture_logs():
        for number in range(KEYS_MOST + 50):
            faults.report(f"cause {number}")
    counts = faults.counts()
    assert len(counts) == KEYS_MOST + 1
    assert counts[OTHER] == 50


def test_counts_is_a_copy(faults):
    """Who reads the counts cannot change them."""
    faults.counts()["x"] = 1
    assert faults.counts() == {}
