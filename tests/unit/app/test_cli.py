"""The command line of main.py."""

import pytest

from app.cli import wants_dry_run
from app.exits import Exit


def test_without_arguments_it_runs():
    """`python main.py` is the whole service."""
    assert wants_dry_run([]) is False
    assert wants_dry_run(["--dry-run"]) is True


def test_help_names_every_command_and_exit_code(capsys):
    """And ends with 0."""
    with pytest.raises(SystemExit) as ended:
        wants_dry_run(["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(word in said for word in ("--dry-run", "main.py audit", ".env.example", "STREAMS"))
    assert all(f"{int(code)} " in said for code in Exit)


def test_what_is_not_understood_ends_with_2(capsys):
    """A typing mistake must not start a run."""
    with pytest.raises(SystemExit) as ended:
        wants_dry_run(["--dryrun-now"])
    assert ended.value.code == Exit.SETTINGS
    assert "--dryrun-now" in capsys.readouterr().err
