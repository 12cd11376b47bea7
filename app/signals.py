"""SIGTERM, SIGINT and SIGHUP as an event. Main thread only: Python delivers signals to no other."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

from app.startup import STOP_SIGNALS, is_ignored_hangup

log = structlog.get_logger()


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event set by the first signal; a second SIGTERM or SIGINT ends the process at once.

    SIGHUP acts once: a terminal that is closed sends it twice, and systemd may send it after SIGTERM. It counts
    as no first SIGTERM or SIGINT, and stays ignored where it was (nohup).
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def asked(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if number != signal.SIGHUP:
            for each in (signal.SIGTERM, signal.SIGINT):
                signal.signal(each, signal.SIG_DFL)
        name = signal.Signals(number).name
        log.info("stopping", sentence=f"Stopping, as {name} asks.", signal=name)

    caught = [each for each in STOP_SIGNALS if not is_ignored_hangup(each)]
    before = {each: signal.signal(each, asked) for each in caught}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
