"""Log lines on their way out: a bounded queue and a thread per output, so that who logs waits for no pipe and no disk.

A line is made on the thread that logs, with its time and its traceback, and written on the thread `log-<output>`.
Beyond the bound lines are dropped and counted; the count is said once the output works again.
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

from model.regular_file import open_descriptor

LINES_MOST = 10_000  # per output; some 5 MB, and a second of logging at its fastest
FLUSH_S = 1.0  # for what is queued at the end; a pipe that takes nothing for so long is not read by anybody


class Output(Protocol):
    """Where lines go. `write` may block for ever, and raises OSError for a line that is lost."""

    def write(self, text: str) -> object: ...
    def close(self) -> object: ...


class QueuedHandler(logging.handlers.QueueHandler):
    """Any thread logs, its own thread writes; starts it at once. `dropped_line(count)` makes the line that says so."""

    def __init__(self, name: str, output: Output, dropped_line: Callable[[int], str]) -> None:
        # Its put may interrupt itself, as a signal handler that logs does; queue.Queue would wait for itself for ever.
        self._lines: SimpleQueue[str | threading.Event | None] = SimpleQueue()
        super().__init__(self._lines)
        self.set_name(name)
        self._output, self._dropped_line = output, dropped_line
        self._dropped = self._lost = self._told = 0  # by those who log, by the writer; how many of both were said
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name=f"log-{name}", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line, or count it where there is no room."""
        if self._lines.qsize() < LINES_MOST:
            super().emit(record)
        else:
            self._dropped += 1  # under the handler's lock

    def prepare(self, record: logging.LogRecord) -> Any:
        """Make the line here and now: later its fields may have changed, and its exception is not this thread's."""
        return self.format(record) + "\n"

    def enqueue(self, line: Any) -> None:
        """Hand over a line; in a forked child, which has no such thread, write it."""
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
        """Write what is queued, within FLUSH_S, and end; logging calls it at the end of the process."""
        self._lines.put(None)
        self._thread.join(FLUSH_S)
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
                self._tell_dropped()
            if isinstance(item, threading.Event):
                item.set()

    def _has_written(self, line: str) -> bool:
        try:
            self._output.write(line)
        except (OSError, ValueError):  # no reader, a full disk, no UTF-8: counted, and said where lines are taken again
            return False
        return True

    def _tell_dropped(self) -> None:
        count = self._dropped + self._lost
        if count > self._told and self._has_written(self._dropped_line(count - self._told)):
            self._told = count


class StandardError:
    """Stderr as it is now, past Python's buffer, whose lock a stuck writer must not hold when the process ends."""

    def __init__(self) -> None:
        self._stream: Any = sys.stderr
        try:
            self._file: int | None = self._stream.fileno()
        except (OSError, ValueError):  # what stands in for it, in tests for example, has no file
            self._file = None

    def write(self, text: str) -> None:
        """Write all of it; blocks while the other side does not read."""
        if self._file is None:
            self._stream.write(text)
            return
        data = text.encode(self._stream.encoding, self._stream.errors or "strict")
        while data:
            data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Leave it open: it is the process's."""


class WatchedFile(logging.handlers.WatchedFileHandler):
    """A file that is opened anew where a log rotator has moved it, or its folder was removed.

    Raises OSError where it cannot be opened, and for what is no regular file, which could hold the writer up.
    """

    def _open(self) -> TextIOWrapper:
        """Override: open() in the standard library waits for a FIFO's reader, and makes no folder."""
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return open(self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=open_descriptor)  # type: ignore[return-value]

    def write(self, text: str) -> None:
        """Append it."""
        self.reopenIfNeeded()
        self.stream = self.stream or self._open()  # it could not be opened the last time
        self.stream.write(text)
        self.flush()
