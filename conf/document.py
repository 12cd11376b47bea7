"""Documents made of the declared settings: .env.example, the README's table, the settings of `python main.py --help`.

`python -m conf.document` (make settings) writes the two files; a unit test fails where one of them is stale.
"""

import re
import textwrap
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from conf.declarations import SETTINGS, Setting

ROOT = Path(__file__).resolve().parent.parent
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
CODE = re.compile(r"[^\s,;()]*(?:<|://)[^\s,;()]*|\b[A-Z_]+\b(?:=\w+)?")  # what README shows as code: URLs, names


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
    """The text of a README with its table of essential settings made anew; ValueError without the two markers."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the markers of the table are missing: {BEGIN} and {END}")
    rows = [_row(setting) for setting in _essential()]
    return "\n".join([before + BEGIN, "| setting | default | |", "|---|---|---|", *rows, END]) + after


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


def documents() -> dict[Path, Callable[[str], str]]:
    """The files, and how each is made of the text it has."""
    return {ROOT / ".env.example": lambda _: env_example(), ROOT / "README.md": with_table}


def main() -> None:
    """Write the files anew."""
    for path, made in documents().items():
        path.write_text(made(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
