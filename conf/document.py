"""Documents made of the declared settings: .env.example, the table of docs/SETTINGS.md, `python main.py --help`.

Pure; app/documents.py (make settings) writes them.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from conf.declarations import SETTINGS, Setting

WIDTH = 120
HELP_WIDTH = 100
BEGIN, END = "<!-- settings: made by `make settings` from conf/declarations.py -->", "<!-- end of settings -->"
HEADER = """\
# Every setting with its default. Copy to .env and change what you need; an environment variable wins over .env.
# An empty value means the default. The names of earlier systems (STREAMER_..., BYBIT_SYMBOLS, ...) are read too.
# .env is read from the working directory, else from beside main.py. The environment variable ENV_FILE names another
# file (ENV_FILE=.env.bybit python main.py), or none. ${NAME} is filled in, but in single quotes.
# Made by `make settings` from conf/declarations.py.
"""
CODE = re.compile(r"[^\s,;()]*(?:<|://)[^\s,;()]*|\b[A-Z_]+\b(?:=\w+)?")  # what the table shows as code: URLs, names


def env_example() -> str:
    """The text of .env.example."""
    sections = groupby(SETTINGS.values(), key=lambda setting: setting.section)
    parts = [HEADER]
    for section, settings in sections:
        lines = [f"# --- {section.title} ---", *_comment(section.note), *([""] if section.note else [])]
        for setting in settings:
            lines += [*_comment(_help_of(setting)), f"{setting.name}={_default_of(setting)}"]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def with_table(readme: str) -> str:
    """A text with its table of essential settings made anew; ValueError without the two markers."""
    return between(readme, BEGIN, END, ["| setting | default | |", "|---|---|---|", *map(_row, _essential())])


def between(text: str, begin: str, end: str, lines: Sequence[str]) -> str:
    """The text with these lines between two markers, for what stood there; ValueError where one is missing."""
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"the markers of the table are missing: {begin} and {end}")
    return "\n".join([before + begin, *lines, end]) + after


def help_list() -> str:
    """The essential settings with their defaults, for the end of --help."""
    lines = []
    for setting in _essential():
        lines.append(f"  {setting.name}={_default_of(setting)}")
        lines += textwrap.wrap(_help_of(setting), HELP_WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def _essential() -> Iterator[Setting]:
    return (setting for setting in SETTINGS.values() if setting.is_essential)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _help_of(setting: Setting) -> str:
    return setting.help_text + (f" ({', '.join(setting.allowed.choices)})" if setting.allowed.choices else "")


def _default_of(setting: Setting) -> str:
    """The default as it is written in a `.env`; empty for none."""
    default = setting.default
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float):
        return f"{default:g}"
    return ",".join(default) if isinstance(default, tuple) else str(default)


def _row(setting: Setting) -> str:
    default = _default_of(setting)
    text = CODE.sub(_as_code, _help_of(setting)).replace("|", r"\|")
    return f"| `{setting.name}` | {f'`{default}` ' if default else ''}| {text} |"


def _as_code(match: re.Match[str]) -> str:
    is_word = re.fullmatch(r"[A-Z_]+", match[0]) and match[0] not in SETTINGS
    return match[0] if is_word else f"`{match[0]}`"
