"""Programs that are no Python packages, for tests that run them; tests/requirements-apt.txt has their packages."""

import os
import shutil

import pytest

REQUIRED = "TEST_PROGRAMS"  # set to "required" by .ci/run, which installs them
INSTALL = "sudo apt-get install --no-install-recommends $(grep -v '^#' tests/requirements-apt.txt)"


def program(*names: str) -> str:
    """Return the path of a program by the first of its names that is there.

    Where it is absent the test is skipped, but it fails where TEST_PROGRAMS=required.
    """
    if path := next(filter(None, map(shutil.which, names)), None):
        return path
    problem = f"{names[0]} is not installed: {INSTALL}"
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(problem)
    pytest.skip(problem)


def chromium() -> str:
    """Return the path of Chromium, or of Chrome."""
    return program("chromium", "google-chrome", "chromium-browser")
