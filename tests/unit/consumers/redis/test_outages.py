"""Outages of Redis: counted and told each, logged once a minute where it flaps."""

import pytest
from structlog.testing import capture_logs

from consumers.redis.outages import Outages

GONE = ConnectionError("gone")


@pytest.fixture
def told():
    return []


@pytest.fixture
def outages(told):
    made = Outages()
    made.tell = lambda event, **_: told.append(event)
    return made


def test_one_line_when_it_goes_and_one_when_it_is_back(outages, told):
    """However many attempts fail meanwhile."""
    with capture_logs() as logs:
        outages.up(0, 0, 1.0)
        for second in range(5):
            outages.down(GONE, 7, 10.0 + second)
        outages.up(9, 3, 20.0)
    assert [line["event"] for line in logs] == ["redis_connected", "redis_down", "redis_up"]
    assert (logs[2]["outage_s"], logs[2]["raw_dropped"], logs[2]["klines_waiting"]) == (10.0, 2, 3)
    assert told == ["sink_down", "sink_up"]


def test_a_redis_that_flaps_is_one_outage_a_minute(outages, told):
    """All are counted and told; the log says how many it left out."""
    with capture_logs() as logs:
        for second in range(120):
            outages.down(GONE, 0, second)
            outages.up(0, 0, second + 0.5)
    assert [line["event"] for line in logs] == ["redis_down", "redis_up"] * 2
    assert [line["held_back"] for line in logs if "held_back" in line] == [0, 59]
    assert (outages.count, len(told)) == (120, 240)


def test_the_flap_that_lasts_is_logged(outages):
    """A Redis that stays away must not look as if it were back."""
    with capture_logs() as logs:
        outages.down(GONE, 0, 0.0)
        outages.up(0, 0, 1.0)
        for second in range(5, 100, 5):
            outages.down(GONE, 0, second)
    assert [line["event"] for line in logs] == ["redis_down", "redis_up", "redis_down"]
    assert outages.is_down
