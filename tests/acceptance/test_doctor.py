"""`python main.py doctor` as a person runs it: on a terminal, and as a program that ends in time."""

import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.acceptance.harness import MAIN
from tests.support.servers import Server
from tests.support.simulator import SimulatorProcess
from tests.support.terminal import Terminal

ENV = {"ENV_FILE": "none", "COINS_FILE": "none", "PATH": "/usr/bin:/bin"}
ENDS_S = 15.0  # whatever hangs


@pytest.fixture(scope="module")
def sim():
    """A simulated exchange."""
    with SimulatorProcess("--rate", 100, "--symbols", 2) as process:
        yield process


@pytest.fixture
def on_terminal(tmp_path):
    """Run it on a terminal until it ends; returns what was shown, and the exit code."""

    def run(**settings: object) -> tuple[str, int]:
        env = {name: str(value) for name, value in settings.items()}
        with Terminal(sys.executable, MAIN, "doctor", env=env, cwd=tmp_path, columns=100) as terminal:
            code = terminal.wait_for_end()
            return terminal.text(), code

    return run


def test_without_network(on_terminal, free_port):
    """Names that nobody knows, and no Redis: a cure for each, and what depends on them is skipped."""
    text, code = on_terminal(
        WS_URL="wss://exchange.invalid",
        REST_URL="https://exchange.invalid",
        REDIS_PORT=free_port,
        REDIS_EMBEDDED="never",
    )
    assert code == 3
    lines = _folded(text)
    assert "failed   DNS exchange.invalid" in lines
    assert "-> see that" in lines
    for name in ("TLS exchange.invalid", "REST linear", "clock", "symbols", "stream linear orderbook"):
        assert f"skipped  {name:<26} DNS exchange.invalid failed" in lines
    assert f"nothing listens at localhost:{free_port}/0 -> start it, or set REDIS_URL" in lines
    assert "skipped  Redis buffers" in lines


def test_a_blocked_country(on_terminal, sim, valkey):
    """REST answers 451, the streams 403: each line says what that means."""
    sim.command("rest_fault", what="http", status=451, count=None)
    sim.command("ban", s=60)
    try:
        text, code = on_terminal(WS_URL=sim.ws_base, REST_URL=sim.rest_url, REDIS_PORT=valkey.port)
    finally:
        sim.command("rest_clear")
        sim.command("ban", s=0)
    assert code == 3
    lines = _folded(text)
    assert "failed   REST linear                127.0.0.1" in lines
    assert "may not serve the country of this address" in lines
    assert "failed   stream linear orderbook" in lines
    assert "HTTP 403" in lines
    assert "another exchange (EXCHANGE)" in lines
    assert "2 failed" in lines


def test_a_wrong_password(on_terminal, sim, valkey):
    """It is not shown; what is right is green."""
    with valkey.client() as client:
        client.config_set("requirepass", "right")
        try:
            text, code = on_terminal(
                WS_URL=sim.ws_base, REST_URL=sim.rest_url, REDIS_PORT=valkey.port, REDIS_PASSWORD="mistaken"
            )
        finally:
            client.config_set("requirepass", "")
    assert code == 2
    lines = _folded(text)
    place = f"localhost:{valkey.port}/0"
    assert f"failed   Redis                      {place} refuses the password of the default user" in lines
    assert "-> mend REDIS_PASSWORD and REDIS_USER, or REDIS_URL" in lines
    assert "mistaken" not in text
    assert "ok       stream linear orderbook    orderbook of BTCUSDT after" in lines


def test_all_is_right_in_json_and_nothing_stays(tmp_path, sim, valkey):
    """For programs: the same list; no file, nothing published, and no log lines."""
    with valkey.client() as client:
        client.config_resetstat()  # of the tests before this one
        code, found, errors = _json_of(tmp_path, WS_URL=sim.ws_base, REST_URL=sim.rest_url, REDIS_PORT=valkey.port)
        after = client.info("commandstats")
    assert (code, errors) == (0, "")
    assert found["exit_code"] == 0
    assert {check["state"] for check in found["checks"]} == {"ok"}, found
    assert list(tmp_path.iterdir()) == []
    assert not {"cmdstat_publish", "cmdstat_set"} & set(after)


def test_it_ends_in_time_where_everything_hangs(tmp_path):
    """The exchange and Redis accept, and say nothing."""
    over = threading.Event()
    with Server(lambda _sock: over.wait(60)) as hole:
        url = f"127.0.0.1:{hole.port}"
        begun_s = time.monotonic()
        code, found, _ = _json_of(
            tmp_path, WS_URL=f"ws://{url}", REST_URL=f"http://{url}", REDIS_PORT=hole.port, REDIS_EMBEDDED="never"
        )
        took_s = time.monotonic() - begun_s
        over.set()
    assert took_s < ENDS_S
    assert code == 3
    failed = {check["check"] for check in found["checks"] if check["state"] == "failed"}
    assert failed == {"REST linear", "stream linear orderbook", "Redis"}
    assert all(check["cure"] for check in found["checks"] if check["state"] == "failed")


def test_a_reader_that_has_gone_changes_no_code(tmp_path, free_port):
    """`doctor | head -1`."""
    command = f"{sys.executable} {MAIN} doctor | head -1; echo ${{PIPESTATUS[0]}}"
    env = {**ENV, "WS_URL": f"ws://127.0.0.1:{free_port}", "REST_URL": f"http://127.0.0.1:{free_port}"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "doctor: bybit linear; settings of the environment\n3\n"
    assert done.stderr == ""


def _json_of(cwd: Path, **settings: object):
    done = subprocess.run(
        [sys.executable, str(MAIN), "doctor", "--json"],
        cwd=cwd,
        env=ENV | {name: str(value) for name, value in settings.items()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, json.loads(done.stdout), done.stderr


def _folded(text: str) -> str:
    """The lines, each with those that continue it."""
    return re.sub(r"\n {36,}", " ", text)
