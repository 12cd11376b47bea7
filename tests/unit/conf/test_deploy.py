"""The deployment files against the settings they run with."""

import re
from pathlib import Path

import pytest

from app.exits import Exit
from conf.declarations import ALL_NAMES
from conf.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
STOP_LIMITS = {
    "supervisord.conf": r"^stopwaitsecs=(\d+)$",
    "conf/deploy/supervisord-shards.conf": r"^stopwaitsecs=(\d+)$",
    "conf/deploy/bybit-collector.service": r"^TimeoutStopSec=(\d+)$",
    "conf/deploy/compose.yaml": r"^\s+stop_grace_period: (\d+)s$",
}


@pytest.mark.parametrize(("file", "pattern"), STOP_LIMITS.items())
def test_supervisors_wait_longer_than_our_own_deadline(file, pattern):
    """Nobody kills a collector that is still draining within its time."""
    limits = re.findall(pattern, (ROOT / file).read_text(), re.MULTILINE)
    assert limits
    assert all(float(seconds) > Settings().stop_timeout for seconds in limits)


def test_systemd_leaves_wrong_settings_alone():
    """The unit names the code that a restart cannot mend."""
    unit = (ROOT / "conf/deploy/bybit-collector.service").read_text()
    assert f"RestartPreventExitStatus={int(Exit.SETTINGS)}\n" in unit


def test_compose_sets_only_settings_there_are():
    """A renamed setting is not left behind in the compose file."""
    section = (ROOT / "conf/deploy/compose.yaml").read_text().partition("environment:")[2].partition("volumes:")[0]
    names = re.findall(r"^\s+([A-Z_]+):", section, re.MULTILINE)
    assert names
    assert set(names) <= ALL_NAMES


def test_shards_of_the_group_are_all_there():
    """As many processes as the settings of each name; the settings exist."""
    text = (ROOT / "conf/deploy/supervisord-shards.conf").read_text().partition("[program:bybit-relay]")[0]
    (count,) = re.findall(r"^numprocs=(\d+)$", text, re.MULTILINE)
    (environment,) = re.findall(r"^environment=(.*)$", text, re.MULTILINE)
    names = set(re.findall(r"([A-Z_]+)=", environment)) - {"PYTHONUNBUFFERED"}
    assert f'SHARD="%(process_num)d/{count}"' in environment
    assert names <= ALL_NAMES


@pytest.mark.parametrize("file", [".gitignore", ".dockerignore"])
def test_files_with_secrets_leave_no_checkout(file):
    """`.env.bybit` is what ENV_FILE may name; the example is none."""
    assert {".env", ".env.*", "!.env.example"} <= set((ROOT / file).read_text().splitlines())
