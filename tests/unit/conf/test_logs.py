"""conf.logs."""

import json
import logging
import os
import re
import sys
import threading

import pytest
import structlog

from conf.logs import QUIET_LIBRARIES, configure_logging, flush_logs

UTC_MS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(autouse=True)
def restored_logging():
    """Logging is global: put back what was there."""
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, sys.excepthook
    yield
    sys.excepthook = hook
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
            handler.close()
    for handler in handlers:
        if handler not in root.handlers:
            root.addHandler(handler)
    root.setLevel(level)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()


@pytest.fixture
def printed(capsys):
    """The text on stderr so far."""

    def read():
        assert flush_logs(5) == []
        return capsys.readouterr().err

    return read


@pytest.fixture
def lines(printed):
    """The JSON lines printed so far."""
    return lambda: [json.loads(line) for line in printed().splitlines()]


def test_json_line_has_event_fields_thread_and_utc_time(lines):
    """One object per line, the leading fields first."""
    configure_logging("info", "json")
    structlog.get_logger().info("stream_up", stream="Trades", attempt=2)
    (line,) = lines()
    assert list(line)[:5] == ["timestamp", "level", "event", "logger", "thread"]
    assert UTC_MS.fullmatch(line["timestamp"])
    assert (line["level"], line["event"], line["thread"]) == ("info", "stream_up", "MainThread")
    assert (line["stream"], line["attempt"], line["logger"]) == ("Trades", 2, __name__)


def test_thread_is_the_one_that_logged(lines):
    """A line of a stream names the stream's thread."""
    configure_logging("info", "json")
    thread = threading.Thread(target=lambda: structlog.get_logger().info("x"), name="stream-A")
    thread.start()
    thread.join(5)
    assert lines()[0]["thread"] == "stream-A"


def test_stdout_stays_free(capsys):
    """Stdout belongs to the console consumer."""
    configure_logging("info", "json")
    structlog.get_logger().error("x")
    flush_logs()
    assert capsys.readouterr().out == ""


def test_below_the_level_nothing_is_printed(lines):
    """LOG_LEVEL holds for structlog and for the libraries."""
    configure_logging("warning", "json")
    structlog.get_logger().info("x")
    logging.getLogger("some.library").info("x")
    assert lines() == []


@pytest.mark.parametrize("name", ["pybit", "websocket", "websockets.client", "redis"])
def test_libraries_log_from_warning_on_and_in_our_format(lines, name):
    """Their info lines are too many; their warnings have our format."""
    configure_logging("debug", "json")
    logging.getLogger(name).info("chatter")
    logging.getLogger(name).warning("lost %s", "it")
    (line,) = lines()
    assert (line["event"], line["level"], line["logger"]) == ("lost it", "warning", name)


def test_console_format_is_readable(printed):
    """No JSON, no colour codes into a pipe."""
    configure_logging("info", "console")
    structlog.get_logger().info("stream_up", stream="Trades")
    line = printed()
    assert "stream_up" in line
    assert "stream=Trades" in line
    assert "\x1b" not in line


@pytest.mark.parametrize(("no_color", "has_colors"), [("", True), ("1", False)])
def test_auto_is_for_a_person_on_a_terminal_and_json_in_the_file(tmp_path, printed, monkeypatch, no_color, has_colors):
    """In colours, unless NO_COLOR is set."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", no_color)
    configure_logging("info", "auto", tmp_path / "log")
    structlog.get_logger().warning("lost", sentence="It is lost.", cause="x")
    line = printed()
    assert line.endswith("It is lost.\n")
    assert ("\x1b" in line) is has_colors
    entry = json.loads((tmp_path / "log").read_text())
    assert (entry["event"], entry["cause"], "sentence" in entry) == ("lost", "x", False)


def test_auto_is_json_where_no_terminal_is(lines):
    """A service's log is read by programs."""
    configure_logging("info")
    structlog.get_logger().info("x", sentence="It is.")
    assert [line["event"] for line in lines()] == ["x"]


def test_percent_format_of_a_legacy_system(printed):
    """LOG_FORMAT as in an earlier system's .env."""
    configure_logging("info", "%(asctime)s - %(name)s - %(levelname)s - %(message)s")
    structlog.get_logger().info("stream_up", stream="Trades")
    time, name, level, message = printed().strip().split(" - ")
    assert UTC_MS.fullmatch(time)
    assert (name, level, message) == (__name__, "INFO", "stream_up stream='Trades'")


@pytest.mark.parametrize("fmt", ["json", "console", "%(message)s"])
def test_no_secret_is_printed(printed, fmt):
    """Neither as a field, nor inside a URL, nor inside a traceback."""
    configure_logging("info", fmt)
    log = structlog.get_logger()
    log.info("x", password="hunter2", wss_auth_key="hunter2", url="redis://me:hunter2@host:6379/0")
    logging.getLogger("redis").warning("no route to redis://:hunter2@host")
    log.error("lost", exc_info=ConnectionError("redis://:hunter2@host refused"))
    text = printed()
    assert "hunter2" not in text
    assert "ConnectionError: redis://:***@host refused" in text


def test_file_gets_the_lines_too_and_follows_a_rotation(tmp_path, printed):
    """A log rotator may move the file: the next line opens a new one."""
    file = tmp_path / "logs" / "collector.log"
    configure_logging("info", "json", file)
    structlog.get_logger().info("first")
    assert flush_logs(5) == []
    os.rename(file, tmp_path / "old.log")
    structlog.get_logger().info("second")
    assert len(printed().splitlines()) == 2
    assert json.loads((tmp_path / "old.log").read_text())["event"] == "first"
    assert json.loads(file.read_text())["event"] == "second"


def test_configuring_again_replaces(lines):
    """No line twice."""
    configure_logging("info", "console")
    configure_logging("info", "json")
    structlog.get_logger().info("once")
    assert [line["event"] for line in lines()] == ["once"]
