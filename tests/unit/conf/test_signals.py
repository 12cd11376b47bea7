"""conf.signals."""

import signal
import threading

import pytest
import structlog

from conf.signals import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_asks_and_the_second_ends(number):
    """After the first, the system's own handling is back; after the run, the handlers of before."""
    before = signal.getsignal(number)
    with structlog.testing.capture_logs(), stop_on_signals() as stop:
        signal.raise_signal(number)

        assert stop.is_set()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(number) is before


def test_run_in_a_thread_of_ones_own_hears_no_signals():
    """A user's script may run the collector beside its own main thread: its handlers stay."""
    before = signal.getsignal(signal.SIGTERM)
    inside = []

    def run():
        with stop_on_signals() as stop:
            inside.append((stop.is_set(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert inside == [(False, before)]
