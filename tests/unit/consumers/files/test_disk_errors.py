"""What is said of a disk that refuses."""

import pytest
from structlog.testing import capture_logs

from consumers.files.disk_errors import WriteFaults
from model.pacing import LOG_EVERY_S

FULL = OSError(28, "No space left on device")


@pytest.fixture
def faults():
    return WriteFaults("refused", "works_again")


def test_each_is_counted_and_one_a_minute_logged(faults):
    """A disk full for a night fills no log."""
    with capture_logs() as logs:
        for second in range(int(LOG_EVERY_S) + 1):
            faults.failed(FULL, float(second), waiting_bytes=second)
    assert faults.count == LOG_EVERY_S + 1
    assert [(entry["event"], entry["waiting_bytes"], entry["held_back"]) for entry in logs] == [
        ("refused", 0, 0),
        ("refused", LOG_EVERY_S, LOG_EVERY_S - 1),
    ]


def test_the_end_is_logged_with_its_length(faults):
    """Once; a success without a failure says nothing."""
    with capture_logs() as logs:
        faults.works(1.0)
        faults.failed(FULL, 2.0)
        faults.failed(FULL, 5.0)
        faults.works(12.0)
        faults.works(13.0)
    assert [entry["event"] for entry in logs] == ["refused", "works_again"]
    assert (logs[1]["failed_s"], logs[1]["after"]) == (10.0, str(FULL))
    assert faults.error is None
