"""conf.logs on real pipes: one that nobody reads, and what stands on stderr when a process has ended."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 30.0  # for a process to start, log and end on a slow machine; a stuck one never ends
THREADS, LINES = 3, 4_000  # 12,000 lines of 200 bytes: more than the queue, and 40 times what a pipe holds

BEGIN = f"""
import signal, sys, threading
import structlog
from conf.logs import configure_logging
from app.signals import stop_on_signals
log = structlog.get_logger()
configure_logging("info", "json")
def logs_on():
    for number in range({LINES}):
        log.info("line", number=number)
def storm():
    threads = [threading.Thread(target=logs_on) for _ in range({THREADS})]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print("logged", flush=True)
"""


@pytest.fixture
def start():
    """Start BEGIN and a few lines more, with pipes; it is killed in the end where it has not ended."""
    processes = []

    def start(script):
        pipe = subprocess.PIPE
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}  # empty: buffered, as usual
        command = [sys.executable, "-c", BEGIN + script]
        processes.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def entries(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(("end", "code"), [("", 0), ("sys.exit(3)", 3), ("raise KeyError('x')", 1)])
def test_nobody_waits_for_a_pipe_that_is_never_read(start, end, code):
    """Threads log on and end, and so does the process, with its own code."""
    process = start(f"storm()\nlog.info('last')\n{end}")

    assert process.stdout.readline() == "logged\n"
    assert process.wait(LIMIT_S) == code


def test_when_the_pipe_is_read_again_the_dropped_are_reported(start):
    """Every line is there or counted, none is broken, and what is logged then is written."""
    process = start("storm()\ninput()\nlog.info('last')\n")
    assert process.stdout.readline() == "logged\n"
    _, errors = process.communicate("go on\n", timeout=LIMIT_S)
    lines = entries(errors)
    dropped = [line for line in lines if line["event"] == "log_lines_dropped"]
    reported = {(line["level"], line["output"], line["thread"]) for line in dropped}

    assert reported == {("warning", "stderr", "log-stderr")}
    assert len(lines) - len(dropped) + sum(line["count"] for line in dropped) == THREADS * LINES + 1


@pytest.mark.parametrize(("end", "code"), [("", 0), ("sys.exit(2)", 2)])
def test_no_last_line_is_lost(start, end, code):
    """However a process ends that can still write."""
    _, errors = (process := start(f"for n in range(500): log.info('line', number=n)\n{end}")).communicate(
        timeout=LIMIT_S
    )

    assert [line["number"] for line in entries(errors)] == list(range(500))
    assert process.returncode == code


def test_a_crash_is_written_after_the_lines_before_it(start):
    """The interpreter's own traceback, and its code."""
    process = start("for n in range(500): log.info('line', number=n)\nraise KeyError('gone')")
    _, errors = process.communicate(timeout=LIMIT_S)
    lines, begin, traceback = errors.partition("Traceback (most recent call last):")

    assert [line["number"] for line in entries(lines)] == list(range(500))
    assert begin
    assert traceback.rstrip().endswith("KeyError: 'gone'")
    assert process.returncode == 1


def test_sigterm_is_the_last_line_but_one(start):
    """The signal's own line, logged by its handler, and the line of the stop after it."""
    process = start(
        "with stop_on_signals() as stop:\n    print('up', flush=True)\n    stop.wait()\nlog.info('ended')\n"
    )
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=LIMIT_S)

    assert [line["event"] for line in entries(errors)] == ["stopping", "ended"]


def test_a_signal_handler_that_logs_may_interrupt_who_logs(start):
    """Thousands of times a second, in the middle of a line: none waits for itself."""
    process = start(
        "signal.signal(signal.SIGALRM, lambda *_: log.info('interrupted'))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)\n"
        "for n in range(3_000): log.info('line', number=n)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
    )
    _, errors = process.communicate(timeout=LIMIT_S)
    events = [line["event"] for line in entries(errors)]

    assert events.count("line") == 3_000
    assert events.count("interrupted") > 0
