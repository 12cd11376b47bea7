"""Python and packages against what the project pins."""

import importlib.metadata
import sys
import tomllib

import pytest

from app import PYTHON_NEWEST, PYTHON_OLDEST
from app.doctor.findings import State
from app.doctor.installation import ROOT, check_packages, check_python, pins


@pytest.mark.parametrize(
    ("version", "state"),
    [((3, 10, 9), State.FAILED), ((3, 11, 0), State.OK), ((3, 14, 1), State.OK), ((3, 15, 0), State.WARNING)],
)
def test_a_python_that_was_not_tested_is_named(monkeypatch, version, state):
    """With the ones that were."""
    monkeypatch.setattr(sys, "version_info", version)
    finding = check_python()
    assert finding.state is state
    assert ".".join(map(str, version)) in finding.text
    assert ("3.14" in finding.cure) is (state is not State.OK)


def test_the_pythons_are_those_of_the_project():
    """The oldest and the newest stand in code, for pyproject.toml may be absent in an image."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = [line.rpartition(" ")[2] for line in project["classifiers"] if ":: Python ::" in line]
    assert [tuple(map(int, version.split("."))) for version in (versions[0], versions[-1])] == [
        PYTHON_OLDEST,
        PYTHON_NEWEST,
    ]


def test_packages_are_held_against_their_pins(tmp_path):
    """What is missing fails, another version is a warning; each with what brings it."""
    (tmp_path / "requirements.txt").write_text("# ours\nredis==0.0.1\nno-such-package==1.2\n-r more.txt\n")
    (tmp_path / "more.txt").write_text(f"requests=={importlib.metadata.version('requests')}\n")
    missing, other = check_packages("requirements.txt", root=tmp_path)
    assert (missing.state, missing.text) == (State.FAILED, "not installed: no-such-package 1.2")
    assert other.state is State.WARNING
    assert other.text == f"another version: redis {importlib.metadata.version('redis')}, pinned is 0.0.1"
    assert f"-m pip install -r {tmp_path / 'requirements.txt'}" in missing.cure


def test_an_environment_of_the_checkout_is_to_be_used(tmp_path):
    """Who forgot it has all packages already."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    (tmp_path / "requirements.txt").write_text("no-such-package==1.2\n")
    (missing,) = check_packages("requirements.txt", root=tmp_path)
    assert missing.cure == f"run it with {tmp_path / '.venv' / 'bin' / 'python'}, or by `make run`"


def test_the_pins_of_the_project_are_read():
    """Every line of the file, not some."""
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert [f"{name}=={version}" for name, version in pins(ROOT / "requirements.txt")] == lines
