"""consumers.files.disk_errors: what is logged of a disk that refuses."""

import pytest
from structlog.testing import capture_logs

from consumers.files.disk_errors import DiskErrorTracker
from model.pacing import LOG_EVERY_S

FULL = OSError(28, "No space left on device")


@pytest.fixture
def errors():
    return DiskErrorTracker("file")


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
