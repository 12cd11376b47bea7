"""The command line of main.py."""

import tomllib
from pathlib import Path

import pytest

from app import VERSION, cli
from app.exits import Exit
from conf.settings import load_settings
from main import SUBSCRIBE
from tests.support.settings import settings_of

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def commands(monkeypatch):
    """What each command line runs, by name, and with which arguments."""
    ran = []
    for name in ("run", "relay", "watch", "dry_run", "audit", "schema"):
        monkeypatch.setattr(cli, name, lambda *given, name=name, **options: ran.append((name, given, options)) or 0)
    return ran


def test_a_command_line_names_the_file_of_its_settings(commands, monkeypatch, tmp_path):
    """As ENV_FILE does, and over it: several collectors run from one checkout."""
    monkeypatch.setenv("ENV_FILE", "none")
    (tmp_path / ".env.mine").write_text("SYMBOLS=SOLUSDT\n")
    assert cli.main(["--env-file", str(tmp_path / ".env.mine"), "relay"], [], {}) == 0
    assert load_settings().symbols == ("SOLUSDT",)


@pytest.mark.parametrize(
    ("arguments", "name", "options"),
    [
        ([], "run", {}),
        (["run"], "run", {}),
        (["relay"], "relay", {}),
        (["watch", "prices", "BTC"], "watch", {}),
        (["--dry-run"], "dry_run", {"is_offline": False}),
        (["--check-config"], "dry_run", {"is_offline": True}),
        (["audit", "--from", "2026-01-31"], "audit", {}),
        (["schema"], "schema", {}),
    ],
)
def test_each_command_line_runs_one_thing(commands, arguments, name, options):
    """`python main.py` alone is the whole service."""
    assert cli.main(arguments, [], {}) == 0
    ((ran, _, given),) = commands
    assert (ran, given) == (name, options)


def test_help_names_every_command_and_exit_code(capsys):
    """And ends with 0."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"], [], {})
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(
        word in text for word in ("--dry-run", "--check-config", "audit", "doctor", "schema", ".env.example", "STREAMS")
    )
    assert all(f"{int(code)} " in text for code in Exit)


@pytest.mark.parametrize("wrong", [["--dryrun-now"], ["rely"], ["audit"], ["audit", "--from", "never"]])
def test_a_wrong_argument_ends_with_2(commands, capsys, wrong):
    """A typing mistake must not start a run."""
    with pytest.raises(SystemExit) as ended:
        cli.main(wrong, [], {})
    assert ended.value.code == Exit.SETTINGS
    assert capsys.readouterr().err
    assert commands == []


def test_the_version_is_the_projects(capsys):
    """pyproject.toml has it for tools, app for the program."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
    with pytest.raises(SystemExit):
        cli.main(["--version"], [], {})
    assert capsys.readouterr().out.strip() == VERSION


def test_a_checked_configuration_opens_nothing(capsys):
    """0 where a start would get as far as the exchange, 2 and every mistake where it would not."""
    unreachable = load_settings(
        environ={"LOAD_ALL_SYMBOLS": "true", "BYBIT_REST_URL": "http://127.0.0.1:9"}, env_file=None
    )
    assert cli.dry_run([], SUBSCRIBE, unreachable, is_offline=True) == Exit.ASKED
    assert "are right" in capsys.readouterr().out
    assert cli.dry_run([{"name": "mine"}], SUBSCRIBE, unreachable, is_offline=True) == Exit.SETTINGS
    assert "STREAMS[0] 'mine'" in capsys.readouterr().err


def test_a_check_of_the_settings_makes_no_log_file(tmp_path):
    """It opens nothing; a run would make it, and its folder."""
    settings = settings_of(LOG_FILE=tmp_path / "logs" / "collector.log")
    assert cli.dry_run([], SUBSCRIBE, settings, is_offline=True) == Exit.ASKED
    assert list(tmp_path.iterdir()) == []
