"""conf.log_queue: what waits, what is dropped, and the line about that."""

import logging
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from conf.log_queue import QueuedHandler, WatchedFile
from tests.support.waiting import wait_until


class Output:
    """Keeps lines; blocks while it is held, and raises while it is broken."""

    def __init__(self):
        self.lines = []
        self.free, self.reached, self.is_broken, self.is_closed = threading.Event(), threading.Event(), False, False
        self.free.set()

    def write(self, text):
        self.reached.set()
        self.free.wait(10)
        if self.is_broken:
            raise OSError("disk full")
        self.lines.append(text)

    def close(self):
        self.is_closed = True


@pytest.fixture
def output():
    return Output()


@pytest.fixture
def handler(request, output):
    """A handler with the limits of the test, if it has any."""
    limits = getattr(request, "param", {})
    handler = QueuedHandler("test", output, lambda count: f"{count} dropped\n", **limits)
    handler.setFormatter(logging.Formatter("%(message)s"))
    yield handler
    output.free.set()
    handler.close()


@pytest.fixture
def log(handler):
    """A logger of the handler alone."""
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger


def drained(handler):
    return handler.drain(time.monotonic() + 10)


def hold(output, log):
    """Have the writer stuck in a first line."""
    output.free.clear()
    output.reached.clear()
    log.info("stuck")
    assert output.reached.wait(10)


def test_lines_are_written_in_order_by_a_thread_of_its_own(handler, output, log):
    """Named for the output."""
    for number in range(5):
        log.info(number)
    assert drained(handler)
    assert output.lines == ["0\n", "1\n", "2\n", "3\n", "4\n"]
    assert "log-test" in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("handler", [{"max_lines": 3}], indirect=True)
def test_beyond_the_bound_lines_are_dropped_and_the_count_is_written_once(handler, output, log):
    """The oldest are kept; a thread that logs never waits; later lines are written as ever."""
    hold(output, log)
    for number in range(10):
        log.info(number)
    output.free.set()
    assert drained(handler)
    log.info("later")
    assert drained(handler)

    assert output.lines == ["stuck\n", "0\n", "1\n", "2\n", "7 dropped\n", "later\n"]


@pytest.mark.parametrize("handler", [{"max_lines": 1}], indirect=True)
def test_count_is_written_though_nothing_follows(handler, output, log):
    """As soon as the queue is empty."""
    hold(output, log)
    log.info("kept")
    log.info("dropped")
    output.free.set()

    wait_until(lambda: output.lines[-1:] == ["1 dropped\n"])


def test_a_line_is_made_when_it_is_logged(handler, output, log):
    """Whatever becomes of its fields, and of its exception, before it is written."""
    handler.setFormatter(logging.Formatter("%(created)f %(message)s"))
    hold(output, log)
    field = ["then"]
    log.error("%s", field, exc_info=KeyError("of then"))
    logged_s = time.time()
    field[0] = "now"
    output.free.set()
    assert drained(handler)

    line = output.lines[-1]
    assert float(line.split()[0]) <= logged_s
    assert "['then']" in line
    assert "KeyError: 'of then'" in line


def test_lines_an_output_fails_at_are_counted_and_reported_when_it_works_again(handler, output, log):
    """A disk that was full, a reader that went."""
    output.is_broken = True
    log.info("lost")
    log.info("lost")
    assert drained(handler)
    output.is_broken = False
    log.info("kept")
    assert drained(handler)

    assert output.lines == ["kept\n", "2 dropped\n"]


def test_a_line_no_encoding_has_is_counted_and_the_next_is_written(tmp_path):
    """A lone surrogate, out of somebody's message, must not end the thread that writes."""
    handler = QueuedHandler("test", WatchedFile(tmp_path / "log", encoding="utf-8"), lambda count: f"{count} dropped\n")
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.warning("\ud800")
    logger.warning("next")
    assert drained(handler)
    handler.close()

    assert sorted((tmp_path / "log").read_text().splitlines()) == ["1 dropped", "next"]


def test_draining_ends_at_its_deadline(handler, output, log):
    """An output that takes nothing is named, not waited for."""
    hold(output, log)
    assert not handler.drain(time.monotonic() + 0.02)
    output.free.set()
    assert drained(handler)


@pytest.mark.parametrize("handler", [{"max_lines": 1}], indirect=True)
def test_closing_writes_what_is_queued_and_counted(handler, output, log):
    """No last line is lost; the output is closed after it, and closing twice does nothing."""
    hold(output, log)
    log.info("last")
    log.info("dropped")
    output.free.set()
    handler.close()
    handler.close()

    assert output.lines == ["stuck\n", "last\n", "1 dropped\n"]
    assert output.is_closed


@pytest.mark.parametrize("handler", [{"flush_s": 0.02}], indirect=True)
def test_closing_leaves_a_stuck_output_at_its_deadline(handler, output, log):
    """It is not closed under the thread that writes to it."""
    hold(output, log)
    handler.close()

    assert not output.is_closed


def test_a_forked_child_writes_its_lines_itself(handler, output, log, monkeypatch):
    """A fork copies no other thread."""
    hold(output, log)
    output.free.set()
    assert drained(handler)
    monkeypatch.setattr("os.getpid", lambda: -1)
    log.info("child")

    assert output.lines[-1] == "child\n"


def test_file_whose_folder_went_is_begun_anew(tmp_path):
    """Folder and file: moved by a log rotator, or removed."""
    folder = tmp_path / "logs"
    folder.mkdir()
    file = WatchedFile(folder / "collector.log", encoding="utf-8")
    file.write("first\n")
    folder.rename(tmp_path / "old")
    file.write("second\n")
    shutil.rmtree(folder)
    file.write("third\n")
    file.close()

    assert (tmp_path / "old/collector.log").read_text() == "first\n"
    assert (folder / "collector.log").read_text() == "third\n"


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/null")])
def test_what_is_no_regular_file_is_not_written_to(tmp_path, make):
    """A FIFO that nobody reads would hold the writer up; once it is gone, lines are written again."""
    path = tmp_path / "collector.log"
    file = WatchedFile(path, encoding="utf-8")
    path.unlink()
    make(path)
    for _ in range(2):
        with pytest.raises(OSError, match="no regular file"):
            file.write("lost\n")
    path.rename(tmp_path / "away")
    file.write("kept\n")
    file.close()
    assert path.read_text() == "kept\n"
