"""app.signals."""

import signal
import threading

import pytest
import structlog

from app.signals import stop_on_signals


@pytest.fixture(autouse=True)
def _default_hangup():
    """Whoever runs the tests may have done so under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


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


def test_run_in_a_thread_of_ones_own_catches_no_signals():
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


def test_a_hangup_acts_once_and_does_not_count():
    """A closed terminal sends it twice, systemd after SIGTERM; SIGTERM after it still stops in order."""
    with structlog.testing.capture_logs() as logs, stop_on_signals() as stop:
        for _ in range(3):
            signal.raise_signal(signal.SIGHUP)
        assert stop.is_set()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert [entry["signal"] for entry in logs] == ["SIGHUP", "SIGTERM"]
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_a_hangup_that_is_ignored_stays_so():
    """nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert not stop.is_set()
