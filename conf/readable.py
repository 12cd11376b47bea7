"""Log lines for a person at a terminal: the time of this machine, a sentence, or an event with its fields.

A line that has the field `sentence` is that sentence; where lines are JSON it has none, for its fields say the same.
"""

from datetime import datetime
from typing import Any

from structlog.typing import EventDict, WrappedLogger

DIM, BOLD, RED, YELLOW, RESET = "\x1b[2m", "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[0m"
LEVEL_COLORS = {"warning": YELLOW, "error": RED, "critical": RED}
UNSAID = frozenset({"timestamp", "level", "event", "logger", "thread", "exception", "sentence", "remedy"})


class ReadableRenderer:
    """The last processor of lines for a person. Any thread; a line of a new day begins with its date."""

    def __init__(self, *, colors: bool) -> None:
        self._colors = colors
        self._day = datetime.now().astimezone().date()

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        """Return the line, and the traceback below it where there is one."""
        at = datetime.fromisoformat(event["timestamp"]).astimezone()
        time = f"{at:%H:%M:%S}" if at.date() == self._day else f"{at:%Y-%m-%d %H:%M:%S}"
        self._day = at.date()
        level = str(event.get("level", "info"))
        parts = [self._in(DIM, time), "" if level == "info" else self._in(LEVEL_COLORS.get(level, DIM), level)]
        sentence = event.get("sentence")
        line = "  ".join([*filter(None, parts), _printable(str(sentence)) if sentence else self._fields_of(event)])
        return f"{line}\n{event['exception']}" if event.get("exception") else line

    def _fields_of(self, event: EventDict) -> str:
        fields = {name: value for name, value in event.items() if name not in UNSAID and not _is_empty(name, value)}
        texts = [
            self._in(BOLD, _printable(str(event.get("event", "")))),
            *(f"{key}={_text(value)}" for key, value in fields.items()),
        ]
        remedy = event.get("remedy")
        return " ".join([*texts, *([f"-> {_printable(str(remedy))}"] if remedy else [])])

    def _in(self, color: str, text: str) -> str:
        return f"{color}{text}{RESET}" if self._colors else text


def without_sentence(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take the sentence off a line whose fields say the same; a structlog processor."""
    event.pop("sentence", None)
    return event


def _is_empty(name: str, value: Any) -> bool:
    return value is None or (name == "held_back" and value == 0)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = [f"{key}:{each}" for key, each in value.items()]
    text = _printable(",".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
    return text if text and " " not in text else repr(text)


def _printable(text: str) -> str:
    """Return a text with a space for each character that a terminal would obey: it may be an exchange's."""
    return text if text.isprintable() else "".join(each if each.isprintable() else " " for each in text)
