"""`python main.py watch` beside a collector, as a pipe and as a terminal show it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.acceptance.harness import MAIN, CollectorProcess
from tests.conftest import unused_port
from tests.support.simulator import SimulatorProcess
from tests.support.terminal import Terminal
from tests.support.waiting import wait_until

SIMULATED = ("--rate", 60, "--symbols", 3, "--illiquid", 0, "--true-seconds", "--categories", "linear")
CPU_LIMIT_S = 1.5  # until the first price: a second and a half of a core, so that it is there within three
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """What a living process has used of the CPU."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@pytest.fixture(scope="module")
def exchange():
    with SimulatorProcess(*SIMULATED) as sim:
        yield sim


@pytest.fixture(scope="module")
def settings(exchange):
    return {
        "SYMBOLS": "BTCUSDT,ETHUSDT",
        "REDIS_PORT": str(unused_port()),
        "KLINE_INTERVALS": "1s,5s",
        "BYBIT_WS_URL": exchange.ws_url(),
        "BYBIT_REST_URL": exchange.rest_url,
    }


def asked(tmp_path, settings, *words: object) -> list[str]:
    """The lines of a watch that ends by --count."""
    done = subprocess.run(
        [sys.executable, str(MAIN), "watch", *map(str, words)],
        env=os.environ | settings, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout.splitlines()


def test_a_watch_survives_restarts_of_redis_and_of_the_collector(tmp_path, settings):
    """One process sees prices all the while: it says once what it waits for, and goes on."""
    with CollectorProcess(tmp_path, **settings) as collector:
        collector.wait_for("embedded_server_started")
        with CollectorProcess(tmp_path, MAIN, "watch", "prices", "btc", **settings) as watch:
            wait_until(lambda: prices(watch))
            assert cpu_s(watch.process.pid) < CPU_LIMIT_S

            with redis.Redis(port=int(settings["REDIS_PORT"])) as client:
                os.kill(client.info("server")["process_id"], signal.SIGKILL)
            wait_until(lambda: any("is there again" in line for line in watch.output))
            wait_for_more(watch)

            collector.stop(signal.SIGKILL)
            wait_until(lambda: len(waits(watch)) >= 2)
            with CollectorProcess(tmp_path, **settings) as second:
                wait_for_more(watch)
                assert second.stop() == 0
            assert len(waits(watch)) in (2, 3), watch.output
            assert watch.stop(signal.SIGINT) == 0
        assert not [line for line in watch.output if "Traceback" in line]
    assert {line.split()[1] for line in prices(watch)} == {"BTCUSDT"}


def prices(watch: CollectorProcess) -> list[str]:
    return [line for line in watch.output if line.startswith("20")]


def waits(watch: CollectorProcess) -> list[str]:
    return [line for line in watch.output if line.startswith("Waiting for Redis at localhost:")]


def wait_for_more(watch: CollectorProcess) -> None:
    done = len(prices(watch))
    wait_until(lambda: len(prices(watch)) > done)


def test_each_view_shows_what_the_collector_publishes(tmp_path, settings):
    """Lines for people, JSON for programs, a table on a terminal."""
    with CollectorProcess(tmp_path, **settings) as collector:
        collector.wait_for("embedded_server_started")
        klines = asked(tmp_path, settings, "klines", "ETH", "--interval", "1s", "--count", 2)
        assert all(" ETHUSDT 1s O " in line for line in klines)
        (envelope,) = asked(tmp_path, settings, "klines", "--json", "--count", 1)
        assert json.loads(envelope)["data_type"] == "klines"
        (trade,) = asked(tmp_path, settings, "trades", "--count", 1)
        assert trade.split()[2] in ("buy", "sell")
        (raw,) = asked(tmp_path, settings, "raw", "orderbook", "eth", "--count", 1)
        assert json.loads(raw)["topic"] == "orderbook.50.ETHUSDT"

        with Terminal(sys.executable, MAIN, "watch", env=settings, cwd=tmp_path, columns=110, lines=24) as terminal:
            wait_until(lambda: "closed candles, newest first" in terminal.screen())
            wait_until(lambda: rows_of(terminal.screen()).keys() == {"BTCUSDT", "ETHUSDT"})
            screen = terminal.screen()
            assert "bybit linear   Redis at localhost:" in screen
            assert float(rows_of(screen)["BTCUSDT"][1]) > 0
            first = terminal.screen()
            wait_until(lambda: terminal.screen() != first)
            terminal.type("C-c")
            assert terminal.wait_for_end() == 0
            assert terminal.screen() == "", "the terminal is as it was"


def rows_of(screen: str) -> dict[str, list[str]]:
    """The words of each row of the table, by symbol."""
    return {line.split()[0]: line.split() for line in screen.splitlines() if "USDT  " in line}


def test_a_pipe_that_is_closed_ends_it(tmp_path, settings, valkey):
    """As in `watch | head -1`, also where nothing comes."""
    watch = subprocess.Popen(
        [sys.executable, str(MAIN), "watch", "klines"],
        env=os.environ | settings | {"REDIS_PORT": str(valkey.port)}, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watch.stdout is not None
    assert watch.stderr is not None
    with watch, watch.stderr:
        assert "Listening to stream:bybit_klines" in watch.stderr.readline()
        watch.stdout.close()
        assert watch.wait(20) == 0
        assert watch.stderr.read() == ""


def test_a_terminal_shows_why_there_is_nothing(tmp_path, settings, valkey, free_port):
    """No collector; no Redis; a password that is wrong or missing."""
    watch = (sys.executable, MAIN, "watch")
    here = settings | {"REDIS_PORT": str(valkey.port)}
    with Terminal(*watch, env=here, cwd=tmp_path) as terminal:
        shown = terminal.wait_for("Nothing is published on", "python main.py doctor")
        assert "is the collector running (python main.py), with the same settings?" in " ".join(shown.split())
    with Terminal(*watch, env=settings | {"REDIS_PORT": str(free_port)}, cwd=tmp_path) as terminal:
        terminal.wait_for(f"Waiting for Redis at localhost:{free_port}", "Connection refused")
    with valkey.client() as client:
        client.config_set("requirepass", "right")
        try:
            for password, cure in (("", "it asks for a password"), ("wrong", "the password or the user is wrong")):
                with Terminal(*watch, env=here | {"REDIS_PASSWORD": password}, cwd=tmp_path) as terminal:
                    assert terminal.wait_for_end() == 2
                    shown = " ".join(terminal.text().split())
                    assert f"Redis at localhost:{valkey.port} refuses" in shown
                    assert cure in shown
                    assert "Traceback" not in shown
        finally:
            client.execute_command("AUTH", "right")
            client.config_set("requirepass", "")
