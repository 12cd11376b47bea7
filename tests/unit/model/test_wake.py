"""What long work does for the thread that reads: it waits for a round's end, and never for long."""

import threading
import time

from model.wake import ReadRound


def test_work_goes_on_when_the_round_is_over():
    """It waits until then, however long its limit is."""
    reads = ReadRound()
    reads.give_way(60.0)  # none goes on
    reads.goes_on = True
    work = threading.Thread(target=reads.give_way, args=(60.0,))
    work.start()
    work.join(0.05)
    assert work.is_alive()
    reads.goes_on = False
    work.join(20.0)
    assert not work.is_alive()


def test_a_round_that_does_not_end_is_not_waited_for():
    """In a flood it never does."""
    reads = ReadRound()
    reads.goes_on = True
    begin_s = time.monotonic()
    reads.give_way(0.05)
    assert time.monotonic() - begin_s >= 0.05
