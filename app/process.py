"""The life of a process: settings, logs, start, ticks, stop, exit code. What it does in between is handed in.

Runs on the thread that calls; signals are heard where that is the main thread.
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

TICK_S = 0.25  # how often the list of streams is read again and the threads are looked at

log = structlog.get_logger()


class Job(Protocol):
    """What runs until it is asked to stop."""

    settings: Settings

    def start(self, stop: threading.Event) -> Exit | None:
        """Start everything; an exit code where that cannot be. `stop` ends what it waits for."""

    def tick(self) -> Exit | None:
        """Look after everything; an exit code where it cannot go on."""

    def log_status(self) -> None:
        """Log how everything does."""

    def stop(self) -> Exit:
        """End everything, started or not, within the stop deadline."""


AnyJob = TypeVar("AnyJob", bound=Job)
T = TypeVar("T")


def set_up(settings: Settings | None, build: Callable[[Settings], AnyJob]) -> AnyJob:
    """Build a job of the settings, None: of the environment and .env; logs work from here on.

    Raises ValueError or OSError where the settings are wrong: of all that can be found, what the job finds included.
    """
    hold_standard_streams()
    given = settings
    try:
        settings = given or load_settings()
    except SettingsError as error:
        further = _errors_of_job(error.sound, build) if error.sound else []
        raise SettingsError("\n".join([str(error), *_not_told(further, str(error))])) from error
    configure_logging(settings.log_level, settings.log_format, settings.log_file)
    if given is None:
        log.info("settings_read", env_file=str(settings.env_file.absolute()) if settings.env_file else None)
    job = build(settings)
    for warning in job.settings.warnings:
        log.warning("setting_suspicious", **warning._asdict())
    return job


def all_or_errors(build: Callable[[], T], *checks: Callable[[], object]) -> T:
    """Build something where neither that nor any of `checks` raises ValueError; else one with every line of all."""
    results: list[T] = []
    errors: list[str] = []
    for step in (lambda: results.append(build()), *checks):
        try:
            step()
        except ValueError as error:
            errors += lines_of(error)
    if errors:
        raise SettingsError("\n".join(errors))
    return results[0]


def _errors_of_job(sound: Settings, build: Callable[[Settings], Job]) -> list[str]:
    try:
        build(sound).stop()
    except (ValueError, OSError) as error:
        return lines_of(error)
    return []


def _not_told(lines: Sequence[str], told: str) -> list[str]:
    """Those lines whose setting has none among those `told`: a default in its place may not suit."""
    names = {_setting_of(line) for line in told.splitlines()}
    return [line for line in lines if _setting_of(line) not in names]


def _setting_of(line: str) -> str:
    return re.split("[=: ]", line, maxsplit=1)[0]


def carry_out(settings: Settings | None, build: Callable[[Settings], Job]) -> int:
    """Set a job up and run it until SIGTERM, SIGINT, SIGHUP or its own end; returns the exit code.

    Where the stop left threads behind, a program that ends now is not held up by what the interpreter waits for. An
    exception that nobody expected is raised, and ends the program with 1, after everything was stopped in order.
    """
    try:
        job = set_up(settings, build)
    except (ValueError, OSError) as error:
        return refuse(error)
    with stop_on_signals() as stop:
        try:
            problem = job.start(stop) or watch(job, stop, job.settings.status_interval)
        finally:
            stopped = job.stop()
    code = problem or stopped
    log.info("ended", code=int(code), reason=code.reason)
    if stopped is Exit.STOP_DEADLINE:
        end_after(EXIT_LIMIT_S, int(code), since=interpreter_end())
    return int(code)


def watch(job: Job, stop: threading.Event, status_interval_s: float) -> Exit | None:
    """Tick until `stop` is set (None) or the job cannot go on (its exit code)."""
    status_due_s = time.monotonic() + status_interval_s
    while not stop.wait(TICK_S):
        if problem := job.tick():
            return problem
        if time.monotonic() >= status_due_s:
            job.log_status()
            status_due_s += status_interval_s
    return None


def exit_of_stop(alive: Sequence[str], limit_s: float) -> Exit:
    """How a stop within `limit_s` seconds ended, which some threads may have outlived: those are logged."""
    if alive:
        log.error("stop_deadline_passed", threads=alive, limit_s=limit_s)
    return Exit.STOP_DEADLINE if alive else Exit.ASKED


def refuse(error: Exception) -> int:
    """Say on stderr, for a person, what is wrong with the settings; returns the exit code.

    One line per mistake: `lines_of`.
    """
    sys.stderr.write("The settings are wrong:\n" + "".join(f"  {line}\n" for line in lines_of(error)))
    return int(Exit.SETTINGS)


def lines_of(error: Exception) -> list[str]:
    """What an error says, a line per mistake: `error.errors` where it has a list, else its text."""
    listed = getattr(error, "errors", None)
    return listed if isinstance(listed, list) else str(error).splitlines()
