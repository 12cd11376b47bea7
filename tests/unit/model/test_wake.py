"""The wake signal: set before, during and after a wait."""

import threading

from model.wake import WakeSignal


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
