"""The list as a person and as a program reads it."""

import io
import json

import pytest

from app.doctor.findings import Finding, ok, unreachable, warning, wrong
from app.doctor.report import TextReport, write_json

RESULTS = [
    ("settings", [ok("right")]),
    ("REST linear", [unreachable("no answer within 5 s", "wait")]),
    ("Redis", [wrong("the password is refused", "mend REDIS_PASSWORD")]),
    ("disk", [warning("nearly full", "make room")]),
]


class Tty(io.StringIO):
    """A terminal."""

    def isatty(self):
        return True


def test_each_check_is_one_line_with_its_cure():
    """Elsewhere than on a terminal: for grep."""
    output = io.StringIO()
    found = TextReport(output).write("doctor", RESULTS)
    lines = output.getvalue().splitlines()
    assert lines[0] == "doctor"
    assert lines[2:6] == [
        "ok       settings                   right",
        "failed   REST linear                no answer within 5 s -> wait",
        "failed   Redis                      the password is refused -> mend REDIS_PASSWORD",
        "warning  disk                       nearly full -> make room",
    ]
    assert lines[-1] == "1 ok, 1 warning, 2 failed"
    assert len(found) == 4


def test_a_terminal_has_colours_and_lines_of_its_width(monkeypatch):
    """The cure begins a line of its own; nothing is cut off."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "70")
    output = Tty()
    TextReport(output).write(
        "doctor", [("Redis", [wrong("the password of the default user is refused there", "mend it")])]
    )
    text = output.getvalue()
    assert "\x1b[31mfailed   \x1b[0mRedis" in text
    assert "-> mend it" in [line.strip() for line in text.splitlines()]
    assert max(map(len, text.replace("\x1b[31m", "").replace("\x1b[0m", "").splitlines())) < 70


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_switched_off(monkeypatch, name, value):
    """As other programs do."""
    monkeypatch.setenv(name, value)
    output = Tty()
    TextReport(output).write("doctor", RESULTS)
    assert "\x1b" not in output.getvalue()


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([ok(""), warning("", "")], 0),
        ([ok(""), unreachable("", "")], 3),
        ([unreachable("", ""), wrong("", "")], 2),
    ],
)
def test_what_a_restart_does_not_help_decides_the_exit_code(findings: list[Finding], code):
    """Supervisors do not restart for ever what has to be mended."""
    output = io.StringIO()
    write_json(output, {"exchange": "bybit"}, [("each", [finding]) for finding in findings])
    assert json.loads(output.getvalue())["exit_code"] == code


def test_json_has_every_finding():
    """For programs: the same words."""
    output = io.StringIO()
    write_json(output, {"exchange": "bybit"}, RESULTS)
    found = json.loads(output.getvalue())
    assert found["exchange"] == "bybit"
    assert found["checks"][1] == {
        "check": "REST linear", "state": "failed", "text": "no answer within 5 s", "cure": "wait",
    }  # fmt: skip
    assert found["checks"][0]["cure"] is None
