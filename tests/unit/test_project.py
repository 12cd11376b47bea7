"""The project's files agree with each other: pyproject.toml, the requirements files, the workflow, README, Makefile."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MINORS = ("3.11", "3.12", "3.13", "3.14")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(name: str) -> list[str]:
    """Every requirement of a file and of those that it includes, in their order."""
    found = []
    for line in (ROOT / name).read_text().splitlines():
        if line.startswith("-r "):
            found += pins(line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            found.append(line)
    return found


def test_dependencies_equal_the_requirements_files(project):
    """`uv run main.py` and `make run` install the same versions."""
    extras = project["project"]["optional-dependencies"]

    assert project["project"]["dependencies"] == pins("requirements.txt")
    assert extras == {name: pins(f"requirements-{name}.txt") for name in ("parquet", "client", "alerts")}


def test_every_pin_is_exact():
    """A machine set up in a year runs what is tested today."""
    required = [*pins("requirements.txt"), *pins("requirements-client.txt"), *pins("requirements-alerts.txt")]

    assert [pin for pin in required if not re.fullmatch(r"[A-Za-z0-9-]+==[0-9][0-9a-z.]*", pin)] == []


def test_nothing_of_ours_is_installed(project):
    """The project is an application: no build system, and no package for uv or setuptools."""
    assert "build-system" not in project
    assert project["tool"]["uv"]["package"] is False
    assert project["tool"]["setuptools"]["packages"] == []


def test_the_workflow_runs_every_python_that_is_promised(project):
    """The classifiers, the workflow's matrix and README name the same versions."""
    classifiers = [line.rpartition(" ")[2] for line in project["project"]["classifiers"] if ":: Python ::" in line]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()

    assert tuple(classifiers) == MINORS
    assert re.findall(r'"(3\.\d+)"', workflow) == list(MINORS)
    assert f"Python {MINORS[0]} to {MINORS[-1]}" in (ROOT / "README.md").read_text()


def test_every_make_target_is_listed_by_help():
    """`make help` reads the comments behind the targets; a target without one is not found."""
    makefile = (ROOT / "Makefile").read_text()
    targets = next(line for line in makefile.splitlines() if line.startswith(".PHONY:")).split()[1:]
    listed = re.findall(r"^([a-z-]+):.*  ## .+$", makefile, re.MULTILINE)

    assert sorted(listed) == sorted(targets)
