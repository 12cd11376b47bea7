"""When an output is said to be down, and when to work again."""

import pytest

from consumers.health import LASTING_S, REASON_CHARACTERS, SinkNews

ERROR = OSError("disk full")


@pytest.fixture
def told():
    return []


@pytest.fixture
def news(told):
    found = SinkNews("file")
    found.tell = lambda event, **fields: told.append((event, fields))
    return found


def test_a_single_failure_is_no_outage(news, told):
    """One odd envelope is counted elsewhere."""
    news.failed(ERROR, 0, 1.0)
    news.works(1)
    news.failed(ERROR, 1, 1.0 + LASTING_S)
    assert told == []


def test_failures_that_last_are_told_once(news, told):
    """However many follow."""
    for second in range(int(3 * LASTING_S)):
        news.failed(ERROR, second, float(second))
    [(event, fields)] = told
    assert (event, fields["sink"], fields["reason"]) == ("sink_down", "file", "OSError: disk full")
    assert fields["from"] > 0


def test_the_first_success_tells_what_was_lost(news, told):
    """From the first failure of the row on."""
    for second in range(int(LASTING_S) + 5):
        news.failed(ERROR, 7 + second, float(second))
    news.works(7 + int(LASTING_S) + 5)
    news.works(99)
    event, fields = told[-1]
    assert (len(told), event, fields["sink"], fields["lost"]) == (2, "sink_up", "file", LASTING_S + 5)
    assert told[0][1]["from"] == fields["from"] <= fields["until"]


def test_a_failed_set_up_is_told_at_once(news, told):
    """Nothing can be delivered before it succeeds."""
    news.failed(ERROR, 0, 1.0, lasting_s=0.0)
    assert [event for event, _ in told] == ["sink_down"]


def test_it_can_go_down_again(news, told):
    """Each outage is told on its own."""
    for _ in range(2):
        news.failed(ERROR, 0, 1.0, lasting_s=0.0)
        news.works(0)
    assert [event for event, _ in told] == ["sink_down", "sink_up"] * 2


def test_reasons_are_cut(news, told):
    """A page of text is no reason."""
    news.failed(OSError("x" * 10_000), 0, 1.0, lasting_s=0.0)
    assert len(told[0][1]["reason"]) == REASON_CHARACTERS
