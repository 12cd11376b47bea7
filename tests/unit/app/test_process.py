"""app.process: which code a process ends with, and what it logs on the way."""

import threading
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from app import process
from app.exits import Exit
from conf.settings import SettingsError
from consumers.manager import ConsumerSettingsError
from tests.support.settings import settings_of


class FakeService:
    """Records its calls; asked to stop while it starts where it `ticks` not once."""

    def __init__(self, settings, problem=None, ticks=(), stopped=Exit.ASKED):
        self.settings, self.problem, self.ticks, self.done = settings, problem, iter(ticks), []
        self.stopped, self.is_asked = stopped, not ticks

    def start(self, stop):
        self.done.append("start")
        if self.is_asked:
            stop.set()
        return self.problem

    def tick(self):
        self.done.append("tick")
        return next(self.ticks)

    def log_status(self):
        self.done.append("status")

    def stop(self):
        self.done.append("stop")
        return self.stopped


def settings(**environ):
    return settings_of(**environ)


def run_once(given=None, **service):
    """The code, what was done and what was logged."""
    built = []
    with capture_logs() as logs:
        code = process.run_service(
            given or settings(), lambda settings: built.append(FakeService(settings, **service)) or built[0], 0.0
        )
    return code, built[0].done, logs


def test_watch_ends_when_asked_or_when_a_thread_is_lost():
    """Asked: no problem; lost: its exit code. The status line comes at its interval."""
    stop = threading.Event()
    seen = []
    ticks = iter([None, None, Exit.THREAD_LOST])
    collector = SimpleNamespace(tick=lambda: next(ticks), log_status=lambda: seen.append("status"))

    assert process.watch(collector, stop, 0.0, 0.0) is Exit.THREAD_LOST
    assert seen == ["status", "status"]
    stop.set()
    assert process.watch(collector, stop, 60.0) is None


def test_what_is_asked_to_stop_is_stopped_and_logs_its_end():
    """The last line has the code and the reason; what is odd about the settings is logged at the start."""
    code, done, logs = run_once(settings(SILENCE_TIMEOUT="10"))

    assert (code, done) == (0, ["start", "stop"])
    assert [entry["event"] for entry in logs] == ["setting_suspicious", "ended"]
    assert (logs[0]["name"], logs[1]["code"], logs[1]["reason"]) == ("SILENCE_TIMEOUT", 0, Exit.ASKED.reason)


def test_what_cannot_start_is_stopped_too():
    """What has started by then is to be flushed; the code is the first problem's."""
    code, done, logs = run_once(problem=Exit.OUTPUT_UNREACHABLE)

    assert (code, done, logs[-1]["code"]) == (3, ["start", "stop"], 3)


def test_what_nobody_expected_is_raised_after_everything_was_stopped():
    """Python ends with 1 and a traceback; what was collected is flushed before."""
    service = FakeService(settings(), ticks=(1 / 0 for _ in "x"))
    with pytest.raises(ZeroDivisionError):
        process.run_service(service.settings, lambda _: service, 0.0)
    assert service.done == ["start", "tick", "stop"]


def test_what_cannot_go_on_ends_with_its_own_code():
    """A restart mends it."""
    code, done, _ = run_once(ticks=[None, Exit.THREAD_LOST])

    assert (code, done) == (4, ["start", "tick", "tick", "stop"])


@pytest.mark.parametrize("error", [SettingsError("A: wrong\nB: wrong"), OSError("A: wrong\nB: wrong")])
def test_wrong_settings_are_refused_line_by_line(capsys, error):
    """On stderr, for a person; nothing is started and nothing logged."""

    def build(_settings):
        raise error

    with capture_logs() as logs:
        assert process.run_service(settings(), build) == Exit.SETTINGS
    assert capsys.readouterr().err == "The settings are wrong:\n  A: wrong\n  B: wrong\n"
    assert logs == []


def test_errors_that_are_listed_are_lines_of_their_own(capsys):
    """As the outputs have them."""
    error = ConsumerSettingsError(["A: wrong", "B: wrong"])

    assert process.exit_with_settings_error(error) == 2
    assert capsys.readouterr().err == "The settings are wrong:\n  A: wrong\n  B: wrong\n"


def test_a_stop_that_left_threads_behind_names_them():
    """Exit code 5."""
    with capture_logs() as logs:
        assert process.exit_of_stop([], 5.0) is Exit.ASKED
        assert process.exit_of_stop(["relay"], 5.0) is Exit.STOP_DEADLINE
    assert [(entry["event"], entry["threads"]) for entry in logs] == [("stop_deadline_passed", ["relay"])]


@pytest.mark.parametrize(("stopped", "limits"), [(Exit.ASKED, []), (Exit.STOP_DEADLINE, [5])])
def test_threads_left_behind_do_not_hold_the_program_up(monkeypatch, stopped, limits):
    """Only where some are: a script that goes on after run() is not ours to end."""
    seen = []
    monkeypatch.setattr(process, "end_after", lambda _limit_s, code, since: seen.append(code))

    assert run_once(stopped=stopped)[0] == stopped
    assert seen == limits
