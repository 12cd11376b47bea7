"""When an output counts as down, and when as up again; what is emitted and logged then."""

import pytest
from structlog.testing import capture_logs

from consumers.health import LASTING_S, FailureLog, SinkHealth
from model.events import REASON_CHARACTERS
from model.pacing import LOG_EVERY_S
from tests.support.events import RecordedEvents

ERROR = OSError("disk full")
GONE = ConnectionError("gone")


@pytest.fixture
def events() -> RecordedEvents:
    return RecordedEvents()


@pytest.fixture
def health(events: RecordedEvents) -> SinkHealth:
    return SinkHealth("file", events)


@pytest.fixture
def redis_health(events: RecordedEvents) -> SinkHealth:
    """As the outputs in Redis have it: down at once, and logged."""
    return SinkHealth("redis", events, lasting_s=0.0, is_logged=True)


def test_a_single_failure_is_no_outage(health: SinkHealth, events: RecordedEvents) -> None:
    """One odd envelope is counted elsewhere."""
    health.failed(ERROR, 0, 1.0)
    health.works(1)
    health.failed(ERROR, 1, 1.0 + LASTING_S)
    assert events.events == []
    assert not health.is_down


def test_failures_that_last_are_emitted_once(health: SinkHealth, events: RecordedEvents) -> None:
    """However many follow."""
    for second in range(int(3 * LASTING_S)):
        health.failed(ERROR, second, float(second))
    [fields] = events.fields
    assert (events.names, fields["sink"], fields["reason"]) == (["sink_down"], "file", "OSError: disk full")
    assert fields["from"] > 0
    assert health.is_down


def test_failures_last_after_ten_seconds(health: SinkHealth, events: RecordedEvents) -> None:
    """As docs/CHANNELS.md says of sink_down."""
    for at_s in (5.0, 14.9):
        health.failed(ERROR, 0, at_s)
    assert not health.is_down
    health.failed(ERROR, 0, 15.0)
    assert events.names == ["sink_down"]


def test_the_first_success_names_what_was_lost(health: SinkHealth, events: RecordedEvents) -> None:
    """From the first failure of the row on."""
    for second in range(int(LASTING_S) + 5):
        health.failed(ERROR, 7 + second, float(second))
    health.works(7 + int(LASTING_S) + 5)
    health.works(99)
    down, up = events.fields
    assert (events.names, up["sink"], up["lost"]) == (["sink_down", "sink_up"], "file", LASTING_S + 5)
    assert down["from"] == up["from"] <= up["until"]


def test_a_failed_set_up_is_emitted_at_once(health: SinkHealth, events: RecordedEvents) -> None:
    """Nothing can be delivered before it succeeds."""
    health.failed(ERROR, 0, 1.0, is_lasting=True)
    assert events.names == ["sink_down"]


def test_it_can_go_down_again(health: SinkHealth, events: RecordedEvents) -> None:
    """Each outage is emitted on its own."""
    for _ in range(2):
        health.failed(ERROR, 0, 1.0, is_lasting=True)
        health.works(0)
    assert events.names == ["sink_down", "sink_up"] * 2
    assert health.outages == 2


def test_reasons_are_cut(health: SinkHealth, events: RecordedEvents) -> None:
    """A page of text is no reason."""
    health.failed(OSError("x" * 10_000), 0, 1.0, is_lasting=True)
    assert len(events.fields[0]["reason"]) == REASON_CHARACTERS


def test_one_line_when_redis_goes_and_one_when_it_is_back(redis_health: SinkHealth, events: RecordedEvents) -> None:
    """However many attempts fail meanwhile."""
    with capture_logs() as logs:
        redis_health.works(0, 1.0, klines_waiting=0)
        for second in range(5):
            redis_health.failed(GONE, 7, 10.0 + second)
        redis_health.works(9, 20.0, klines_waiting=3)
    assert [line["event"] for line in logs] == ["redis_down", "redis_up"]
    assert (logs[1]["outage_s"], logs[1]["raw_dropped"], logs[1]["klines_waiting"]) == (10.0, 2, 3)
    assert events.names == ["sink_down", "sink_up"]
    assert list(events.fields[1]) == ["sink", "raw_dropped", "klines_waiting", "from", "until"]


def test_a_redis_that_flaps_is_one_outage_a_minute(redis_health: SinkHealth, events: RecordedEvents) -> None:
    """All are counted and emitted; the log has how many it left out."""
    with capture_logs() as logs:
        for second in range(120):
            redis_health.failed(GONE, 0, second)
            redis_health.works(0, second + 0.5, klines_waiting=0)
    assert [line["event"] for line in logs] == ["redis_down", "redis_up"] * 2
    assert [line["held_back"] for line in logs if "held_back" in line] == [0, 59]
    assert (redis_health.outages, len(events.events)) == (120, 240)


def test_the_flap_that_lasts_is_logged(redis_health: SinkHealth) -> None:
    """A Redis that stays away must not look as if it were back."""
    with capture_logs() as logs:
        redis_health.failed(GONE, 0, 0.0)
        redis_health.works(0, 1.0, klines_waiting=0)
        for second in range(5, 100, 5):
            redis_health.failed(GONE, 0, second)
    assert [line["event"] for line in logs] == ["redis_down", "redis_up", "redis_down"]
    assert (logs[2]["error"], logs[2]["down_s"]) == ("gone", 55)
    assert redis_health.is_down


FULL = OSError(28, "No space left on device")


@pytest.fixture
def errors():
    return FailureLog("file")


def test_each_is_counted_and_one_a_minute_logged(errors):
    """A disk full for a night fills no log."""
    with capture_logs() as logs:
        for second in range(int(LOG_EVERY_S) + 1):
            errors.failed(FULL, float(second), waiting_bytes=second)
    assert errors.count == LOG_EVERY_S + 1
    assert [(entry["event"], entry["waiting_bytes"], entry["held_back"]) for entry in logs] == [
        ("file_down", 0, 0),
        ("file_down", LOG_EVERY_S, LOG_EVERY_S - 1),
    ]


def test_the_end_is_logged_with_its_length(errors):
    """Once; a success without a failure logs nothing."""
    with capture_logs() as logs:
        errors.recovered(1.0)
        errors.failed(FULL, 2.0)
        errors.failed(FULL, 5.0)
        errors.recovered(12.0)
        errors.recovered(13.0)
    assert [entry["event"] for entry in logs] == ["file_down", "file_up"]
    assert (logs[1]["failed_s"], logs[1]["after"]) == (10.0, str(FULL))
    assert errors.error is None
