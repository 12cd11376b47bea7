"""The life of a process: settings, logs, start, ticks, stop, exit code.

Runs a Service on the calling thread; signals are caught where that is the main thread.
"""

import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import structlog

from app.exits import Exit
from app.signals import stop_on_signals
from app.startup import EXIT_LIMIT_S, end_after, hold_standard_streams, interpreter_end
from conf.logs import configure_logging
from conf.settings import Settings, SettingsError, load_settings

TICK_S = 0.25  # how often the STREAMS list is read again and threads are checked

log = structlog.get_logger()


class Service(Protocol):
    """The port of what runs until it is asked to stop: Collector, OutputRelay."""

    settings: Settings

    def start(self, stop: threading.Event) -> Exit | None:
        """Start everything; an exit code where that cannot be. `stop` ends what it waits for."""

    def tick(self) -> Exit | None:
        """Revive and follow changes; an exit code where it cannot go on."""

    def log_status(self) -> None:
        """Log one line with the figures of all parts."""

    def stop(self) -> Exit:
        """End everything, started or not, within the stop deadline."""


AnyService = TypeVar("AnyService", bound=Service)
T = TypeVar("T")


def prepare(
    settings: Settings | None, build: Callable[[Settings], AnyService], *, logs_to_file: bool = True
) -> AnyService:
    """Build a service from the settings, None: from the environment and .env; logs work from here on.

    `logs_to_file`: LOG_FILE is opened, where there is one. Raises ValueError or OSError with every mistake in the
    settings, those that the service finds included.
    """
    hold_standard_streams()
    given = settings
    try:
        settings = given or load_settings()
    except SettingsError as error:
        further = _errors_of_job(error.sound, build) if error.sound else []
        raise SettingsError("\n".join([str(error), *other_errors(further, str(error))])) from error
    configure_logging(settings.log_level, settings.log_format, settings.log_file if logs_to_file else None)
    if given is None:
        path = str(settings.env_file.absolute()) if settings.env_file else None
        sentence = f"Settings from {path}." if path else "Settings from the environment; there is no .env here."
        log.info("settings_read", sentence=sentence, env_file=path)
    service = build(settings)
    for warning in service.settings.warnings:
        log.warning("setting_suspicious", **warning._asdict())
    return service


def build_or_every_error(build: Callable[[], T], *checks: Callable[[], object]) -> T:
    """Return what `build` makes; SettingsError with the lines of every ValueError that it and `checks` raise."""
    results: list[T] = []
    errors: list[str] = []
    for step in (lambda: results.append(build()), *checks):
        try:
            step()
        except ValueError as error:
            errors += error_lines(error)
    if errors:
        raise SettingsError("\n".join(errors))
    return results[0]


def _errors_of_job(sound: Settings, build: Callable[[Settings], Service]) -> list[str]:
    try:
        build(sound).stop()
    except (ValueError, OSError) as error:
        return error_lines(error)
    return []


def other_errors(lines: Sequence[str], reported: str) -> list[str]:
    """Return the lines whose setting has none in `reported`: a default in its place may not suit."""
    names = {_setting_of(line) for line in reported.splitlines()}
    return [line for line in lines if _setting_of(line) not in names]


def _setting_of(line: str) -> str:
    return re.split("[=: ]", line, maxsplit=1)[0]


def run_service(settings: Settings | None, build: Callable[[Settings], Service], tick_s: float = TICK_S) -> int:
    """Prepare a service and run it until SIGTERM, SIGINT, SIGHUP or its own end; returns the exit code.

    Where the stop left threads behind, a program that ends now is not held up by what the interpreter waits for. An
    unexpected exception is raised, and ends the program with 1, after everything was stopped in order.
    """
    try:
        service = prepare(settings, build)
    except (ValueError, OSError) as error:
        return exit_with_settings_error(error)
    with stop_on_signals() as stop:
        try:
            problem = service.start(stop) or watch(service, stop, service.settings.status_interval, tick_s)
        finally:
            stopped = service.stop()
    code = problem or stopped
    log.info("ended", sentence=f"Ended with {int(code)}: {code.reason}.", code=int(code), reason=code.reason)
    if stopped is Exit.STOP_DEADLINE:
        end_after(EXIT_LIMIT_S, int(code), since=interpreter_end())
    return int(code)


def watch(service: Service, stop: threading.Event, status_interval_s: float, tick_s: float = TICK_S) -> Exit | None:
    """Tick until `stop` is set (None) or the service cannot go on (its exit code)."""
    status_due_s = time.monotonic() + status_interval_s
    while not stop.wait(tick_s):
        if problem := service.tick():
            return problem
        if time.monotonic() >= status_due_s:
            service.log_status()
            status_due_s += status_interval_s
    return None


def exit_of_stop(alive: Sequence[str], limit_s: float) -> Exit:
    """Return the exit code of a stop within `limit_s` seconds; logs the threads `alive` that outlived it."""
    if alive:
        log.error("stop_deadline_passed", threads=alive, limit_s=limit_s)
    return Exit.STOP_DEADLINE if alive else Exit.ASKED


def exit_with_settings_error(error: Exception) -> int:
    """Write what is wrong with the settings to stderr, a line per mistake; returns the exit code."""
    sys.stderr.write("The settings are wrong:\n" + "".join(f"  {line}\n" for line in error_lines(error)))
    return int(Exit.SETTINGS)


def error_lines(error: Exception) -> list[str]:
    """Return an error's text, a line per mistake: `error.errors` where it has a list."""
    listed = getattr(error, "errors", None)
    return listed if isinstance(listed, list) else str(error).splitlines()
