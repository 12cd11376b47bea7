"""When the log of the store goes to its places in the file."""

import sqlite3

import pytest

from consumers.store.checkpoint import EVERY_S, QUIET_S, RECORDS, RECORDS_MOST, RETRY_S, WAIT_MOST_S, Checkpoint


class Connection(sqlite3.Connection):
    """Counts checkpoints; a reader may keep them from their end."""

    count = 0
    has_reader = False

    def execute(self, *_):
        self.count += 1
        return super().execute(f"SELECT 0, 10, {9 if self.has_reader else 10}")


@pytest.fixture
def connection():
    with sqlite3.connect(":memory:", factory=Connection) as opened:
        yield opened
    opened.close()


@pytest.fixture
def checkpoint():
    made = Checkpoint()
    made.begin(0.0)
    return made


@pytest.mark.parametrize(
    ("records", "waited_s", "quiet_s", "is_due"),
    [
        (0, 10 * EVERY_S, 10 * EVERY_S, False),
        (1, EVERY_S - 1, QUIET_S, False),
        (1, EVERY_S, QUIET_S, True),
        (RECORDS, QUIET_S, QUIET_S, True),
        (RECORDS, QUIET_S, 0.0, False),
        (RECORDS_MOST, 1.0, 0.0, True),
        (1, WAIT_MOST_S, 0.0, True),
    ],
)
def test_it_waits_for_a_quiet_moment_but_not_for_ever(checkpoint, connection, records, waited_s, quiet_s, is_due):
    """Klines come together at a boundary, and a commit must not wait for the disk then."""
    checkpoint.wrote(records, waited_s - quiet_s)
    checkpoint.step(connection, waited_s)
    checkpoint.step(connection, waited_s)
    assert connection.count == int(is_due)


def test_one_that_a_reader_keeps_from_its_end_is_tried_again(checkpoint, connection):
    """After a pause: a reader may take its time."""
    connection.has_reader = True
    checkpoint.wrote(RECORDS, 0.0)
    for now_s in (QUIET_S, QUIET_S + RETRY_S - 1, QUIET_S + RETRY_S):
        checkpoint.step(connection, now_s)
    assert connection.count == 2
