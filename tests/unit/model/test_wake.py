"""The wake signal, set before, during and after a wait; and what long work does for the thread that reads."""

import threading
import time

from model.wake import ReadRound, WakeSignal


def test_signal_set_before_the_wait_ends_it_at_once():
    """What is set while the sleeper is awake is not lost."""
    signal = WakeSignal()
    signal.set()

    assert signal.wait(10.0)
    assert not signal.wait(0.0)


def test_signal_set_twice_wakes_once():
    """Two putters wake the sleeper for one look, not two."""
    signal = WakeSignal()
    signal.set()
    signal.set()

    assert signal.wait(0.0)
    assert not signal.wait(0.0)


def test_signal_wakes_a_waiting_thread():
    """A thread that has armed the signal and waits is woken by another."""
    signal, woken = WakeSignal(), threading.Event()
    signal.arm()

    def sleep():
        if signal.wait(10.0):
            woken.set()

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    signal.set()
    sleeper.join(10.0)

    assert woken.is_set()


def test_signal_is_armed_only_while_nobody_has_set_it():
    """Setting and the end of a wait both disarm, so that a putter pays for one look."""
    signal = WakeSignal()
    signal.arm()
    assert signal.is_armed
    signal.set()
    assert not signal.is_armed
    signal.arm()
    signal.wait(0.0)
    assert not signal.is_armed


def test_work_goes_on_when_the_round_is_over():
    """It waits until then, however long its limit is."""
    reads = ReadRound()
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


def test_no_round_is_not_waited_for():
    """The GIL is given up for a moment, no more."""
    looks = []

    class Looked(ReadRound):
        goes_on = property(lambda _: looks.append(1), lambda *_: None)

    Looked().give_way(60.0)
    assert len(looks) == 1
