"""Structured logs of the whole process, ours and the libraries', in one format.

app/process.py calls `configure_logging` once, before any other thread starts. Lines go to stderr (stdout belongs to
the console consumer) and, with LOG_FILE, to a file, by threads of their own (conf.log_queue). Secrets are not printed:
fields named like one and passwords inside URLs are masked.
"""

import functools
import logging
import os
import re
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from conf.log_queue import FLUSH_S, Output, QueuedHandler, StandardError, WatchedFile
from conf.readable import ReadableRenderer, without_sentence
from model.clock import iso_ms

MASK = "***"
SECRET_FIELDS = re.compile(r"(^|_)(password|passwd|secret|token|auth_key|api_key|authorization)$", re.IGNORECASE)
URL_PASSWORD = re.compile(r"(://[^\s/@:]*):[^\s@]+@")  # the password of scheme://user:password@host
# These log too much below warning, or the data that they were handed.
QUIET_LIBRARIES = ("pybit", "websocket", "websockets", "redis", "valkey", "urllib3", "requests", "asyncio")
LEADING_FIELDS = ("timestamp", "level", "event", "logger", "thread")  # first in every line, in this order


def configure_logging(level: str = "info", fmt: str = "auto", file: Path | str | None = None) -> None:
    """Send every log line of the process to stderr and, where given, to `file`.

    `level` is a level's name; `fmt` is `json`, `console` (for a person), `auto` (console where stderr is a terminal,
    json elsewhere and in the file) or a %-format of the standard library. The file is reopened when a log rotator moves
    it. Calling it again replaces what was set. Raises OSError if `file` cannot be opened.
    """
    level_no = logging.getLevelNamesMapping()[level.upper()]
    handlers = _handlers(fmt, file)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        if isinstance(old, QueuedHandler):
            old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level_no)
    _quieten_libraries(level_no)
    structlog.configure(
        processors=[*_shared_processors(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level_no),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # loggers made before this call follow it; no hot path logs
    )
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _print_traceback


def flush_logs(limit_s: float = FLUSH_S) -> list[str]:
    """Wait until every line so far is written; returns the outputs where that takes longer than `limit_s` seconds."""
    deadline_s = time.monotonic() + limit_s
    ours = [handler for handler in logging.getLogger().handlers if isinstance(handler, QueuedHandler)]
    return [str(handler.name) for handler in ours if not handler.drain(deadline_s)]


def _print_traceback(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Print the exception that ends the main thread, after all lines; not into a stuck pipe, which would block."""
    if "stderr" not in flush_logs():
        sys.__excepthook__(kind, error, traceback)


def _handlers(fmt: str, file: Path | str | None) -> list[logging.Handler]:
    outputs: dict[str, Output] = {"stderr": StandardError()}
    if file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        outputs["file"] = WatchedFile(file, encoding="utf-8")
    handlers: list[logging.Handler] = []
    for name, output in outputs.items():
        is_terminal = name == "stderr" and sys.stderr.isatty()
        kind = ("console" if is_terminal else "json") if fmt.lower() == "auto" else fmt
        formatter = _formatter(kind, colors=is_terminal and not os.environ.get("NO_COLOR"))
        handlers.append(QueuedHandler(name, output, functools.partial(_dropped_line, formatter, name)))
        handlers[-1].setFormatter(formatter)
    return handlers


def _dropped_line(formatter: logging.Formatter, name: str, count: int) -> str:
    """The line in the place of `count` others; it does not pass the queue, which had no room for them."""
    logger = logging.getLogger(__name__)
    entry: Any = {"event": "log_lines_dropped", "output": name, "count": count}
    for processor in _shared_processors():
        entry = processor(logger, "warning", entry)
    from_structlog = {"_logger": logger, "_name": "warning"}
    record = logger.makeRecord(__name__, logging.WARNING, __file__, 0, entry, (), None, extra=from_structlog)
    return formatter.format(record) + "\n"


def _quieten_libraries(level_no: int) -> None:
    """Remove the libraries' own handlers; their warnings go through the root logger."""
    for name in QUIET_LIBRARIES:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(max(level_no, logging.WARNING))


def _shared_processors() -> list[Processor]:
    """The processors of every line, from structlog or from a library."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_time_and_thread,
        structlog.processors.StackInfoRenderer(),
    ]


def _formatter(fmt: str, *, colors: bool) -> logging.Formatter:
    kind = fmt.lower()
    if kind == "json":
        to_json = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
        last: list[Processor] = [without_sentence, _order, to_json]
    elif kind == "console":
        last = [ReadableRenderer(colors=colors)]
    else:  # `event field=value ...` as %(message)s inside the user's own format
        last = [without_sentence, _message_only]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared_processors(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _mask,
            *last,
        ],
        fmt="%(message)s" if kind in ("json", "console") else fmt,
    )
    formatter.formatTime = lambda record, datefmt=None: iso_ms(record.created * 1000)  # type: ignore[method-assign]  # noqa: ARG005
    return formatter


def _add_time_and_thread(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record: logging.LogRecord | None = event.get("_record")  # only lines of the standard library have one
    event["timestamp"] = iso_ms(1000 * (record.created if record else time.time()))
    event["thread"] = (record and record.threadName) or threading.current_thread().name
    return event


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if value is not None and SECRET_FIELDS.search(name):
            event[name] = MASK
        elif isinstance(value, str):
            event[name] = URL_PASSWORD.sub(rf"\1:{MASK}@", value)
    return event


def _order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    leading = {name: event.pop(name) for name in LEADING_FIELDS if name in event}
    return {**leading, **event}


def _message_only(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """The event and its own fields; time, level, logger and thread stand where the format has them."""
    traceback = event.pop("exception", None)
    fields = [f"{name}={value!r}" for name, value in event.items() if name not in LEADING_FIELDS]
    line = " ".join([str(event.get("event", "")), *fields])
    return f"{line}\n{traceback}" if traceback else line
