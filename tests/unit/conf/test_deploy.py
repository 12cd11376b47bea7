"""The deployment files against the settings they run with."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.exits import Exit
from conf.declarations import ALL_NAMES
from conf.env_file import read_env_file
from conf.settings import Settings, load_settings
from conf.values import EXCHANGES

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ("bybit", "binance", "okx", "bitget", "gate", "kucoin", "bingx")  # what there is an env file for
STOP_LIMITS = {
    "supervisord.conf": r"^stopwaitsecs=(\d+)$",
    "conf/deploy/supervisord-shards.conf": r"^stopwaitsecs=(\d+)$",
    "conf/deploy/supervisord-exchanges.conf": r"^stopwaitsecs=(\d+)$",
    "conf/deploy/bybit-collector.service": r"^TimeoutStopSec=(\d+)$",
    "conf/deploy/compose.yaml": r"^\s+stop_grace_period: (\d+)s$",
    "conf/deploy/compose-exchanges.yaml": r"^\s+stop_grace_period: (\d+)s$",
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


def test_the_dockerfile_is_as_hadolint_wants_it():
    """Whose rules are Docker's own advice."""
    hadolint = Path(sys.executable).with_name("hadolint")  # of the Python package
    done = subprocess.run([hadolint, ROOT / "conf/deploy/Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


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


def test_each_exchange_has_a_program_like_the_one_of_supervisord_conf():
    """Started, stopped and started again alike; each reads the file of its own name, and none starts a server."""
    parsed = configparser.RawConfigParser()
    parsed.read([ROOT / "supervisord.conf", ROOT / "conf/deploy/supervisord-exchanges.conf"])
    single = dict(parsed["program:bybit-collector"])
    home = {"command": single["command"].replace("%(here)s", "%(here)s/../.."), "directory": "%(here)s/../.."}
    for name in EXAMPLES:
        environment = f'PYTHONUNBUFFERED="1",ENV_FILE=".env.{name}",REDIS_EMBEDDED="never"'
        assert dict(parsed[f"program:{name}"]) == {**single, **home, "environment": environment}
    assert parsed["group:collectors"]["programs"].split(",") == list(EXAMPLES)
    assert int(parsed["group:collectors"]["priority"]) > int(parsed["program:relay"]["priority"]), "stopped first"


@pytest.mark.parametrize("name", [*EXAMPLES, "relay"])
def test_example_files_have_no_mistake(name):
    """Names are those of settings; where the exchange is there, the whole file is valid."""
    path = ROOT / f"conf/deploy/env/{name}.env.example"
    found = read_env_file(path, {})
    assert not found.errors
    assert not found.warnings
    assert found.values.keys() <= ALL_NAMES
    wanted = {found.values.get("EXCHANGE"), *found.values.get("RELAY_EXCHANGES", "").split(",")} - {None, ""}
    assert wanted == ({name} if name in EXAMPLES else set(EXAMPLES))
    if wanted <= set(EXCHANGES):
        settings = load_settings({}, env_file=path)
        assert settings.warnings == ()
        assert settings.exchange == name or settings.relayed_exchanges == EXAMPLES


def test_example_files_share_no_port_file_or_folder():
    """What is not named after the exchange by itself."""
    values = [read_env_file(ROOT / f"conf/deploy/env/{n}.env.example", {}).values for n in (*EXAMPLES, "relay")]
    for name in ("WEBSOCKET_PORT", "LOG_FILE"):
        assert len({each[name] for each in values}) == len(values), name
    assert Settings().file_consumer_base_path != Path(values[-1]["FILE_CONSUMER_BASE_PATH"])


@pytest.mark.parametrize("file", [".gitignore", ".dockerignore"])
def test_files_with_secrets_leave_no_checkout(file):
    """`.env.bybit` is what ENV_FILE may name; the example is none."""
    assert {".env", ".env.*", "!.env.example"} <= set((ROOT / file).read_text().splitlines())
