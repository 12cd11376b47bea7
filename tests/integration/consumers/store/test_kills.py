"""SIGKILL in the middle of the store's writes, in small; `python -m benchmarks.sigkill` is the long one."""

import random

from benchmarks.sigkill import kill_writers

KILLS = 5


def test_a_kill_within_a_transaction_costs_that_transaction_alone(tmp_path):
    """The store opens, what was committed is there, and of what was being written all or nothing."""
    found = kill_writers(tmp_path / "store.sqlite", KILLS, random.Random(5))
    assert found["within a transaction"] > 0
    assert (found["writers killed"], found["damaged"], found["batches lost or cut"]) == (KILLS, 0, 0)
