"""Log lines on their way out: a bounded queue and a thread per output, so that no thread waits for a pipe or a disk.

A line is formatted on the thread that logs, with its time and its traceback, and written on the thread `log-<output>`.
Beyond the bound lines are dropped and counted; the count is logged once the output works again.

logging.handlers.QueueListener is not used: its stop() joins without a limit, which a pipe that nobody reads would hold
up for ever, it cannot wait for what is queued so far, and its bound is queue.Queue's, whose lock a signal handler that
logs would wait for in vain.
"""

import logging
import logging.handlers
import os
import sys
import threading
import time
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from model.files import open_descriptor

MAX_LINES = 10_000  # per output; some 5 MB, and a second of logging at its fastest
FLUSH_S = 1.0  # for what is queued at the end; a pipe that takes nothing for so long is not read by anybody


class Output(Protocol):
    """A place for lines. `write` may block for ever, and raises OSError for a line that is lost."""

    def write(self, text: str) -> object: ...
    def close(self) -> object: ...


class QueuedHandler(logging.handlers.QueueHandler):
    """A handler for any thread, with a thread of its own that writes. `dropped_line(count)` is a line for the loss."""

    def __init__(
        self,
        name: str,
        output: Output,
        dropped_line: Callable[[int], str],
        *,
        max_lines: int = MAX_LINES,
        flush_s: float = FLUSH_S,
    ) -> None:
        # put() of SimpleQueue is reentrant: a signal handler that logs may interrupt one.
        self._lines: SimpleQueue[str | threading.Event | None] = SimpleQueue()
        super().__init__(self._lines)
        self.set_name(name)
        self._output, self._dropped_line, self._max_lines, self._flush_s = output, dropped_line, max_lines, flush_s
        self._dropped = self._lost = self._reported = (
            0  # by threads that log, by the writer; of both, in the log already
        )
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name=f"log-{name}", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line, or count it where there is no room."""
        if self._lines.qsize() < self._max_lines:
            super().emit(record)
        else:
            self._dropped += 1  # under the handler's lock

    def prepare(self, record: logging.LogRecord) -> Any:
        """Format the line on the thread that logs: later its fields may have changed, and its exception is gone."""
        return self.format(record) + "\n"

    def enqueue(self, line: Any) -> None:
        """Queue a line; in a forked child, which has no writer's thread, write it."""
        if os.getpid() == self._pid:
            self._lines.put(line)
        else:
            self._output.write(line)

    def drain(self, deadline_s: float) -> bool:
        """Wait until what is queued now was written; False where it was not by `deadline_s` (monotonic)."""
        written = threading.Event()
        self._lines.put(written)
        return not self._thread.is_alive() or written.wait(max(0.0, deadline_s - time.monotonic()))

    def close(self) -> None:
        """Write what is queued, within `flush_s`, and end; logging calls it at the end of the process."""
        self._lines.put(None)
        self._thread.join(self._flush_s)
        if not self._thread.is_alive():
            self._output.close()
        super().close()

    def _run(self) -> None:
        item: str | threading.Event | None = ""
        while item is not None:
            item = self._lines.get()
            if isinstance(item, str):
                self._lost += not self._has_written(item)
            if not isinstance(item, str) or self._lines.empty():
                self._report_dropped()
            if isinstance(item, threading.Event):
                item.set()

    def _has_written(self, line: str) -> bool:
        try:
            self._output.write(line)
        except (OSError, ValueError):  # no reader, a full disk, no UTF-8
            return False
        return True

    def _report_dropped(self) -> None:
        count = self._dropped + self._lost
        if count > self._reported and self._has_written(self._dropped_line(count - self._reported)):
            self._reported = count


class StandardError:
    """Stderr without Python's buffer, whose lock a stuck writer must not hold when the process ends."""

    def __init__(self) -> None:
        self._stream: Any = sys.stderr
        try:
            self._file: int | None = self._stream.fileno()
        except (OSError, ValueError):  # a substitute, of tests for example, has no file
            self._file = None

    def write(self, text: str) -> None:
        """Write all of the text; blocks while the other side does not read."""
        if self._file is None:
            self._stream.write(text)
            return
        data = text.encode(self._stream.encoding, self._stream.errors or "strict")
        while data:
            data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Leave stderr open: it is the process's."""


class WatchedFile(logging.handlers.WatchedFileHandler):
    """A log file that is opened anew where a log rotator has moved it, or its folder was removed.

    Raises OSError where it cannot be opened, and for what is no regular file, which could hold the writer up.
    """

    def _open(self) -> TextIOWrapper:
        """Override: open() in the standard library waits for a FIFO's reader, and makes no folder."""
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return open(self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=open_descriptor)  # type: ignore[return-value]

    def write(self, text: str) -> None:
        """Append the text."""
        self.reopenIfNeeded()
        self.stream = self.stream or self._open()  # it could not be opened the last time
        self.stream.write(text)
        self.flush()
