"""The first and the last moment of the process: standard streams and signals at the start, an end that nothing delays.

Main thread. Imports nothing but the standard library's quickest, for it runs before the imports that take a second, and
may find that they fail: on an older Python too.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from types import TracebackType
from typing import NoReturn

from app import PYTHON_OLDEST

BEGUN_S = time.monotonic()  # when the process began, but for some 20 ms
STANDARD_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))  # descriptors 0, 1, 2
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
EXIT_LIMIT_S = 1.0  # after the stop: for a user's exit handlers, and threads that the interpreter waits for
WRONG_EXIT = 2  # app.exits.Exit.SETTINGS, which needs an import
UNWRITTEN_EXIT = 3  # app.exits.Exit.OUTPUT_UNREACHABLE
SIGNAL_EXIT = 128  # and the signal's number: how a shell names a program that a signal ended


def begin(interrupted: int | None = 0) -> None:
    """Hold the standard streams, and let a signal end the program at once, without a traceback.

    The exit code is then `interrupted`, or for None the one by which shells name the signal. A Python that is too old,
    or a package that is missing, ends it with a sentence; `imported` follows the imports.
    """
    gc.disable()  # imports make much and leave no garbage: looking for it took a tenth of their time
    hold_standard_streams()
    if sys.version_info < PYTHON_OLDEST:
        sys.stderr.write(f"Python {'.'.join(map(str, PYTHON_OLDEST))} or later is needed, this is {sys.version}\n")
        os._exit(WRONG_EXIT)
    sys.excepthook = _end_with_missing_package
    for each in STOP_SIGNALS:
        if not is_ignored_hangup(each):
            end_on_signal(each, SIGNAL_EXIT + each if interrupted is None else interrupted)


def imported() -> None:
    """Have exceptions end the program as usual, and garbage be collected: all that it imports is there, and stays."""
    gc.freeze()
    gc.enable()
    sys.excepthook = sys.__excepthook__


def _end_with_missing_package(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End with the packages that are not installed, where that is why an import failed; else as usual."""
    if isinstance(error, ModuleNotFoundError):
        from app.doctor.installation import check_packages, check_python
        from app.doctor.report import TextReport

        packages = check_packages("requirements.txt")
        if not all(finding.is_passed for finding in packages):
            is_asked = "doctor" in sys.argv[1:]
            title = "The collector cannot start without its packages:"
            checks = (("Python", [check_python()]), ("packages", packages))
            TextReport(sys.stdout if is_asked else sys.stderr).write(title, checks)
            os._exit(WRONG_EXIT)
    sys.__excepthook__(kind, error, trace)


def hold_standard_streams() -> None:
    """Open the null device where stdin, stdout or stderr is closed: the next file or socket would get its number."""
    for number, (name, mode) in enumerate(STANDARD_STREAMS):
        is_closed = _is_closed(number)
        if is_closed:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            target = number if is_closed else os.devnull  # that number is another file by now
            setattr(sys, name, open(target, mode, closefd=not is_closed, encoding="utf-8", errors="backslashreplace"))  # noqa: SIM115


def is_ignored_hangup(number: signal.Signals) -> bool:
    """Whether this is SIGHUP under nohup, which must go on being ignored."""
    return number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


def end_on_signal(number: signal.Signals, code: int) -> None:
    """Have a signal end the process at once with `code`: while nothing is to be flushed."""
    signal.signal(number, lambda *_: os._exit(code))


def leave(code: int) -> NoReturn:
    """End the program with `code`, also where a thread of the user's or a pipe nobody reads would hold it up."""
    for each in STOP_SIGNALS:
        end_on_signal(each, code)
    end_after(EXIT_LIMIT_S, code)
    try:
        if not getattr(sys.stdout, "closed", True):  # none, or one that the program closed, has nothing to lose
            sys.stdout.flush()  # here it may hang: at the interpreter's end it would be a fatal error
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # whose reader wanted no more
            sys.stderr.write(f"What was printed last is not written: {error.strerror}.\n")
            code = code or UNWRITTEN_EXIT
    sys.exit(code)


def end_after(limit_s: float, code: int, since: threading.Event | None = None) -> None:
    """End the process with `code` `limit_s` seconds from now, or from `since`; a daemon thread does."""

    def wait_and_end() -> None:
        if since:
            since.wait()
        time.sleep(limit_s)
        os._exit(code)

    threading.Thread(target=wait_and_end, name="exit-limit", daemon=True).start()


def interpreter_end() -> threading.Event:
    """An event that is set when the main thread has ended, before the interpreter waits for other threads."""
    ending = threading.Event()
    # The one hook before concurrent.futures waits for its workers; CPython 3.9 to 3.14 have it.
    threading._register_atexit(ending.set)  # type: ignore[attr-defined]
    return ending


def _is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False
