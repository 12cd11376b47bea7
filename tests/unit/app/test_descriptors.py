"""app.descriptors, with limits that are handed in."""

import resource
import sys

import pytest
from structlog.testing import capture_logs

from app.descriptors import GROWTH, OWN, Descriptors

ENDLESS = resource.RLIM_INFINITY


@pytest.fixture
def limits(monkeypatch):
    """The limits of the process: [soft, hard]; `highest` is what the system grants, whatever it states."""

    class Limits(list[int]):
        highest = sys.maxsize

    limits = Limits([256, 1_024])

    def set_limits(_which, wanted):
        if wanted[0] > limits.highest:
            raise ValueError("current limit exceeds maximum limit")
        limits[:] = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda _which: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", set_limits)
    return limits


def planned(streams, clients):
    """The bounds, and the events logged."""
    descriptors = Descriptors()
    with capture_logs() as logs:
        descriptors.plan(streams, clients)
    return descriptors.for_streams, descriptors.for_clients, logs


def test_what_is_wanted_is_allowed_where_it_can_be(limits):
    """The usual soft limit is low for no reason of today's."""
    for_streams, for_clients, logs = planned(streams=200, clients=500)

    assert limits == [OWN + 200 + GROWTH + 500, 1_024]
    assert (for_streams, for_clients) == (500 + GROWTH + 200, 500)
    assert [entry["event"] for entry in logs] == ["open_files_limit_raised"]


@pytest.mark.parametrize("start", [[4_096, 4_096], [ENDLESS, ENDLESS], [1_024, 1_024]])
def test_what_is_allowed_already_is_left_alone(limits, start):
    """And nothing is logged."""
    limits[:] = start

    assert planned(streams=40, clients=100)[2] == []
    assert limits == start


def test_clients_have_what_the_streams_leave(limits):
    """The limit is the machine's: one line has what is missing, how much, and where it is set."""
    for_streams, for_clients, logs = planned(streams=100, clients=2_000)

    assert (limits, for_streams, for_clients) == ([1_024, 1_024], 1_024 - OWN, 1_024 - OWN - 100 - GROWTH)
    assert logs[-1]["event"] == "open_files_short"
    assert (logs[-1]["limit"], logs[-1]["wanted"]) == (1_024, OWN + 100 + GROWTH + 2_000)
    assert logs[-1]["streams"] == {"wanted": 100, "at_most": 100}
    assert "LimitNOFILE" in logs[-1]["remedy"]


def test_streams_have_what_the_process_does_not_need(limits):
    """Half of very little is the process's own; no client is let in then."""
    limits[:] = [64, 64]
    for_streams, for_clients, logs = planned(streams=240, clients=100)

    assert (for_streams, for_clients) == (32, 0)
    assert logs[-1]["websocket_clients"] == {"wanted": 100, "at_most": 0}


def test_a_system_that_grants_less_than_it_states_does_not_end_the_start(limits):
    """macOS."""
    limits[:], limits.highest = [256, ENDLESS], 256

    assert planned(streams=100, clients=1_000)[:2] == (256 - OWN, 256 - OWN - 100 - GROWTH)
    assert limits == [256, ENDLESS]


def test_without_a_plan_there_are_no_bounds():
    """As in tests, and in scripts that use a part."""
    assert Descriptors().for_streams == Descriptors().for_clients == sys.maxsize
