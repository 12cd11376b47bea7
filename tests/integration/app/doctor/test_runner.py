"""Checks at once, under one deadline."""

import threading
import time

import pytest

from app.doctor.findings import Check, State, ok, unreachable
from app.doctor.runner import Runner


@pytest.fixture
def over():
    """Set at the end, so that what hangs ends with the test."""
    event = threading.Event()
    yield event
    event.set()


def run(*checks, limit_s=10.0):
    return {name: findings[0] for name, findings in Runner(checks, limit_s).results()}


def test_what_does_not_end_is_a_red_line_with_its_cure(over):
    """All others are there, and the whole ends."""
    hanging = Check("DNS", lambda: ok(str(over.wait())), "see the resolver")
    needing = Check("TLS", lambda: ok(""), "", needs=[hanging])
    begun_s = time.monotonic()
    found = run(hanging, needing, Check("disk", lambda: ok("room"), ""), limit_s=0.3)
    assert time.monotonic() - begun_s < 5
    assert (found["DNS"].state, found["DNS"].cure) == (State.FAILED, "see the resolver")
    assert found["DNS"].text == "no answer within 1 s"
    assert (found["TLS"].state, found["TLS"].text) == (State.SKIPPED, "DNS failed")
    assert found["disk"].state is State.OK


def test_what_needs_a_failed_check_is_skipped_with_its_root():
    """Not run, and the reason is the first that failed."""
    ran = []
    first = Check("DNS", lambda: unreachable("gone", "wait"), "")
    second = Check("TLS", lambda: ran.append(1) or ok(""), "", needs=[first])
    third = Check("REST", lambda: ran.append(2) or ok(""), "", needs=[second])
    found = run(first, second, third)
    assert [found[name].text for name in ("TLS", "REST")] == ["DNS failed", "DNS failed"]
    assert ran == []


def test_what_only_waits_for_a_failed_check_is_run():
    """A stream without a listing."""
    first = Check("symbols", lambda: unreachable("gone", "wait"), "")
    found = run(first, Check("stream", lambda: ok("data"), "", after=[first]))
    assert found["stream"].state is State.OK


def test_checks_run_at_once():
    """Each waits for the other."""
    barrier = threading.Barrier(2, timeout=10)
    found = run(*(Check(name, lambda: ok(str(barrier.wait())), "") for name in "ab"))
    assert {finding.state for finding in found.values()} == {State.OK}


def test_a_check_that_raises_hides_no_other():
    """A mistake of ours is a red line too."""
    found = run(Check("clock", lambda: ok(str(1 / 0)), ""), Check("disk", lambda: ok("room"), ""))
    assert "ZeroDivisionError" in found["clock"].text
    assert found["disk"].state is State.OK
