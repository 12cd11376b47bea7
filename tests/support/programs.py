"""Programs that are no Python packages, for tests that run them; tests/requirements-apt.txt has their packages."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRED = "TEST_PROGRAMS"  # set to "required" by .ci/run, which installs them
NODE_PACKAGES = Path(__file__).parent / "node" / "node_modules"
INSTALL = "sudo apt-get install --no-install-recommends $(grep -v '^#' tests/requirements-apt.txt)"


def program(*names: str, is_required: bool = True) -> str:
    """Return the path of a program by the first of its names that is there.

    Where it is absent the test is skipped, but it fails where TEST_PROGRAMS=required, unless not `is_required`.
    """
    if path := next(filter(None, map(shutil.which, names)), None):
        return path
    if not is_required:
        pytest.skip(f"{names[0]} is not installed")
    missing(f"{names[0]} is not installed: {INSTALL}")


def node_packages() -> Path:
    """Return the folder with packages of npm that package.json beside it names; where it is absent, as `program`."""
    if not NODE_PACKAGES.is_dir():
        missing("the packages of npm are not installed: cd tests/support/node && npm ci --ignore-scripts")
    return NODE_PACKAGES


def missing(problem: str) -> NoReturn:
    """Skip the test, or fail it where TEST_PROGRAMS=required."""
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(problem)
    pytest.skip(problem)


def chromium() -> str:
    """Return the path of Chromium, or of Chrome."""
    return program("chromium", "google-chrome", "chromium-browser")
