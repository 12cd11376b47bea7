"""Checks of Python, and of the installed packages against the pins. Standard library alone: packages may be missing."""

import importlib.metadata
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from app import PYTHON_NEWEST, PYTHON_OLDEST
from app.doctor.findings import Finding, ok, warning, wrong

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;#]+)")
INCLUDED = "-r "
SHOWN = 6  # names in a line


def check_python() -> Finding:
    """Hold the running Python against those that are tested."""
    version, newest = sys.version_info[:2], _dotted(PYTHON_NEWEST)
    text = f"{_dotted(sys.version_info[:3])}, {sys.executable}"
    if version < PYTHON_OLDEST:
        return wrong(text, f"take Python {_dotted(PYTHON_OLDEST)} to {newest}")
    if version > PYTHON_NEWEST:
        return warning(
            f"{text}: newer than {newest}, the newest that was tested", f"take Python {newest} where it fails"
        )
    return ok(text)


def check_packages(*files: str, root: Path = ROOT) -> list[Finding]:
    """Hold what is installed against the pins of requirements files."""
    missing, other, count = [], [], 0
    for name, pinned in dict.fromkeys(pin for file in files for pin in pins(root / file)):
        count += 1
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(f"{name} {pinned}")
        else:
            if found != pinned:
                other.append(f"{name} {found}, pinned is {pinned}")
    findings = []
    if missing:
        findings.append(wrong(f"not installed: {_some(missing)}", install_command(files, root)))
    if other:
        findings.append(warning(f"another version: {_some(other, '; ')}", install_command(files, root)))
    return findings or [ok(f"{count} as pinned in {', '.join(files)}")]


def pins(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the names and versions that a requirements file pins, with those of files that it includes."""
    for line in path.read_text().splitlines():
        if line.startswith(INCLUDED):
            yield from pins(path.parent / line.removeprefix(INCLUDED).strip())
        elif found := PIN.match(line):
            yield found[1], found[2]


def install_command(files: Sequence[str], root: Path = ROOT) -> str:
    """What brings the pins: the checkout's own environment where there is one and it does not run, else pip."""
    own = root / ".venv" / "bin" / "python"
    if own.exists() and Path(sys.prefix).resolve() != (root / ".venv").resolve():
        return f"run it with {own}, or by `make run`"
    return f"{sys.executable} -m pip install {' '.join(f'-r {root / file}' for file in files)}"


def _some(names: Sequence[str], separator: str = ", ") -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return separator.join(names[:SHOWN]) + more


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
