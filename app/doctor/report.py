"""The findings as lines for a person, coloured on a terminal alone, or as JSON. Standard library alone."""

import contextlib
import json
import os
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from app.doctor.findings import Finding, State, exit_code

COLOURS: Mapping[State, str] = {State.OK: "32", State.WARNING: "33", State.FAILED: "31", State.SKIPPED: "2"}
ARROW = "->"
STATE_WIDTH, NAME_WIDTH = 9, 27
NARROWEST = 60  # columns; below it lines are not wrapped any further

Results = Iterable[tuple[str, Sequence[Finding]]]
"""The name of each check, and what it found."""


class TextReport:
    """Writes each finding when it is known: a line, or on a terminal as many as its width wants."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._is_terminal = output.isatty()
        self._has_colours = self._is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def write(self, title: str, results: Results) -> list[Finding]:
        """Write everything; returns the findings."""
        self._write([title, ""])
        found: list[Finding] = []
        for name, findings in results:
            for finding in findings:
                found.append(finding)
                self._write(self._lines(name, finding))
        counts = Counter(finding.state for finding in found)
        self._write(["", ", ".join(f"{counts[state]} {state}" for state in State if counts[state])])
        return found

    def _write(self, lines: Iterable[str]) -> None:
        with contextlib.suppress(BrokenPipeError):  # `doctor | head`: the exit code says the rest
            self._output.write("".join(f"{line}\n" for line in lines))
            self._output.flush()

    def _lines(self, name: str, finding: Finding) -> Iterator[str]:
        cure = f"{ARROW} {finding.cure}" if finding.cure else ""
        head = f"{finding.state:<{STATE_WIDTH}}{name:<{NAME_WIDTH - 1}} "
        if not self._is_terminal:
            yield f"{head}{finding.text} {cure}".rstrip()
            return
        indent = " " * len(f"{finding.state:<{STATE_WIDTH}}".ljust(STATE_WIDTH + NAME_WIDTH))
        width = max(NARROWEST, shutil.get_terminal_size().columns) - 1
        options: dict[str, Any] = {"width": width, "break_long_words": False, "break_on_hyphens": False}
        first, *others = textwrap.wrap(head + finding.text, subsequent_indent=indent, **options)
        if self._has_colours:
            first = f"\x1b[{COLOURS[finding.state]}m{first[:STATE_WIDTH]}\x1b[0m{first[STATE_WIDTH:]}"
        yield from (first, *others)
        yield from textwrap.wrap(cure, initial_indent=indent, subsequent_indent=f"{indent}   ", **options)


def write_json(output: TextIO, facts: Mapping[str, Any], results: Results) -> list[Finding]:
    """Write one object, with `facts`, the exit code and every finding; returns the findings."""
    lines = [(name, finding) for name, findings in results for finding in findings]
    found = [finding for _, finding in lines]
    rows = [
        {"check": name, "state": finding.state, "text": finding.text, "cure": finding.cure or None}
        for name, finding in lines
    ]
    with contextlib.suppress(BrokenPipeError):
        json.dump({**facts, "exit_code": int(exit_code(found)), "checks": rows}, output, indent=2)
        output.write("\n")
        output.flush()
    return found
