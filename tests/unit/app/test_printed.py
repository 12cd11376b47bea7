"""app.printed: what commands print, on a disk that is full or for a reader that is gone; in programs of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SENTENCE = "What was to be printed is not written whole: No space left on device.\n"
COMMANDS = ["main.py --help", "main.py --check-config", "main.py schema", "-m app.probe"]


def run(command, unbuffered, stdout):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    env |= {"ENV_FILE": "none", "ENABLE_WEB": "false", **({"PYTHONUNBUFFERED": "1"} if unbuffered else {})}
    return subprocess.run(
        [sys.executable, *command.split()],
        cwd=ROOT,
        env=env,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "unbuffered"), [*((each, True) for each in COMMANDS), ("main.py --version", False)]
)
def test_what_cannot_be_written_is_said_in_a_sentence(command, unbuffered):
    """A file that ends in the middle must not pass for a whole one."""
    with open("/dev/full", "w") as full:
        done = run(command, unbuffered, full)
    assert done.returncode == 3
    assert done.stderr.endswith(SENTENCE)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("unbuffered", [True, False])
def test_a_reader_that_wants_no_more_is_no_failure(unbuffered):
    """`main.py schema | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    done = run("main.py schema", unbuffered, writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
